"""From files to batches, in worker processes.

Letters: B films of a batch, S side of a film. Films stay single-channel uint8 until they are on the device.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.image import read_film
from cxrlt_cli.data.levels import Film
from cxrlt_cli.data.sampling import Order
from cxrlt_cli.errors import FilmError
from cxrlt_cli.machine import end_helpers, end_with_parent, signals

# Forked, workers are there at once. In a process that was spawned itself, as launched ones are, Python would spawn them
# too, and each would import PyTorch first.
START = "fork" if sys.platform == "linux" else None
Draw = tuple[int, int]  # index of a film, seed of its augmentation


@dataclass(frozen=True)
class Batch:
    """Films that were read, and those that could not be."""

    indices: Tensor  # [B] int64, rows of the table
    films: tuple[Tensor, ...]  # [B, 1, S, S] uint8, for each preprocessing
    faults: tuple[FilmError, ...]

    def pin_memory(self) -> "Batch":
        return Batch(self.indices.pin_memory(), tuple(films.pin_memory() for films in self.films), self.faults)


Sample = tuple[int, "tuple[Tensor, ...] | FilmError"]  # index of a film, and what was read


class FilmSource(Protocol):
    """Where films come from: their files, or a cache."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Film, ...]:
        """A film, ``[S, S]`` in each of the ways that are wanted; raises FilmError where it cannot be read."""


@dataclass(frozen=True)
class FilmFiles:
    """Films as they lie on the disk: read once, resized in each way."""

    paths: Sequence[Path]
    preprocessings: Sequence[Callable[[Film], Film]]
    max_pixels: int

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Film, ...]:
        film = read_film(self.paths[index], max_pixels=self.max_pixels)
        return tuple(preprocessing(film) for preprocessing in self.preprocessings)


class Samples(Protocol):
    """What batches are made of."""

    def __len__(self) -> int: ...

    def __getitem__(self, draw: Draw) -> Sample: ...


class FilmDataset(Dataset[Sample]):
    """Films by draw, augmented where that is wanted."""

    def __init__(self, source: FilmSource, augmentation: Augmentation | None = None) -> None:
        self.source = source
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: Draw) -> Sample:
        index, seed = draw
        try:
            films = list(self.source[index])
        except FilmError as error:
            return index, error
        if self.augmentation is not None:
            films = [self.augmentation(film, seed) for film in films]
        return index, tuple(torch.from_numpy(np.ascontiguousarray(film))[None] for film in films)


class EpochDraws:
    """The batches of one epoch after another, of one process among several: indices, with a seed for each draw.

    A batch of all processes is a stretch of the order, dealt out film by film: together they draw just what one process
    with a batch of that size would. Epochs are of one length, so the number of batches that were learned from says
    where a run stands. A last batch that is not full is left out; an only one is filled up from its start, so that
    every process has as much.
    """

    def __init__(self, order: Order, batch_size: int, seed: int, *, rank: int = 0, num_processes: int = 1) -> None:
        self._order = order
        self._size = batch_size * num_processes
        self._seed = seed
        self._mine = slice(rank, None, num_processes)
        self._num_processes = num_processes
        self._next = 0
        self._length = len(order(0))

    def __len__(self) -> int:
        """Batches of an epoch."""
        return max(1, self._length // self._size)

    def enter(self, num_batches: int) -> None:
        """Go on after this many batches of the run; loaders read ahead, so only who learns from them can count them."""
        self._next = num_batches

    def __iter__(self) -> Iterator[list[Draw]]:
        """The rest of the epoch."""
        epoch, first = divmod(self._next, len(self))
        self._next = (epoch + 1) * len(self)
        indices = self._order(epoch)
        if len(indices) < self._size:
            indices = np.resize(indices, -(-len(indices) // self._num_processes) * self._num_processes)
        seeds = np.random.SeedSequence([self._seed, epoch]).generate_state(len(indices))
        for batch in range(first, len(self)):
            stretch = slice(batch * self._size, (batch + 1) * self._size)
            films, numbers = indices[stretch][self._mine], seeds[stretch][self._mine]
            yield list(zip(films.tolist(), numbers.tolist(), strict=True))


def training_loader(dataset: Samples, draws: EpochDraws, *, num_workers: int, pin: bool) -> "DataLoader[Batch]":
    """An endless source of epochs: iterate it once an epoch."""
    return _loader(dataset, draws, num_workers, pin)


def ordered_loader(
    dataset: Samples, *, batch_size: int, num_workers: int, pin: bool, rank: int = 0, num_processes: int = 1
) -> "DataLoader[Batch]":
    """Every film once, in order; of several processes, each has every ``num_processes``-th, from its ``rank`` on.

    So that each has as many, the last film may come again at the end of a share.
    """
    last, number = len(dataset) - 1, -(-len(dataset) // num_processes)
    mine = [min(index, last) for index in range(rank, rank + number * num_processes, num_processes)]
    batches = [[(index, 0) for index in mine[start : start + batch_size]] for start in range(0, len(mine), batch_size)]
    return _loader(dataset, batches, num_workers, pin)


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """These batches with their films on ``device``; to a GPU, the next one is copied while one is computed with."""
    if device.type != "cuda":
        yield from batches
        return
    copies = _copying(device)
    ready: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(copies):
            films = tuple(each.to(device, non_blocking=True) for each in batch.films)
            copied = copies.record_event()
        if ready is not None:
            yield _after(*ready, device)
        ready = replace(batch, films=films), copied
    if ready is not None:
        yield _after(*ready, device)


@cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    """The stream that copies films to a device."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _after(batch: Batch, copied: torch.cuda.Event, device: torch.device) -> Batch:
    """A batch whose films the current stream may use from now on; the host does not wait."""
    current = torch.cuda.current_stream(device)
    current.wait_event(copied)
    for films in batch.films:
        films.record_stream(current)
    return batch


def _loader(dataset: Samples, batches: object, num_workers: int, pin: bool) -> "DataLoader[Batch]":
    if num_workers:
        _ends_its_workers(os.getpid())
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=num_workers,
        collate_fn=_collate,
        pin_memory=pin,
        persistent_workers=num_workers > 0,
        multiprocessing_context=START if num_workers else None,
        worker_init_fn=_begin_worker,
        generator=torch.Generator(),  # its own: the global one would be drawn from more or less often with workers
    )


@cache
def _ends_its_workers(process: int) -> None:
    """Once in this ``process``: the error that ends it holds its loaders until Python waits for workers without end."""
    Finalize(None, end_helpers, exitpriority=0)


def _begin_worker(_: int) -> None:
    """On one core; and as long as the process that it reads for, which may be keeping its state after such a signal."""
    end_with_parent()
    cv2.setNumThreads(0)
    for number in signals("SIGTERM", "SIGINT", "SIGUSR1"):
        signal.signal(number, signal.SIG_IGN)


def _collate(samples: list[Sample]) -> Batch:
    read = [(index, films) for index, films in samples if not isinstance(films, FilmError)]
    faults = tuple(fault for _, fault in samples if isinstance(fault, FilmError))
    stacks = tuple(torch.stack(films) for films in zip(*(films for _, films in read), strict=True))
    return Batch(torch.tensor([index for index, _ in read], dtype=torch.int64), stacks, faults)
