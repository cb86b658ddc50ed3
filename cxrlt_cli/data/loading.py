"""From files to batches, in worker processes.

Letters: B films of a batch, S side of a film. Films stay single-channel uint8 until they are on the device.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.image import Preprocessing, read_film
from cxrlt_cli.data.sampling import Stream
from cxrlt_cli.errors import FilmError

Draw = tuple[int, int]  # index of a film, seed of its augmentation


@dataclass(frozen=True)
class Batch:
    """Films that were read, and those that could not be."""

    indices: Tensor  # [B] int64, rows of the table
    films: Tensor  # [B, 1, S, S] uint8
    faults: tuple[FilmError, ...]

    def pin_memory(self) -> "Batch":
        return Batch(self.indices.pin_memory(), self.films.pin_memory(), self.faults)


class FilmDataset(Dataset["tuple[int, Tensor | FilmError]"]):
    """Films by draw: read, resized, augmented where that is wanted."""

    def __init__(
        self, paths: Sequence[Path], preprocessing: Preprocessing, augmentation: Augmentation | None, max_pixels: int
    ) -> None:
        self.paths = paths
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, draw: Draw) -> tuple[int, Tensor | FilmError]:
        index, seed = draw
        try:
            film = self.preprocessing(read_film(self.paths[index], max_pixels=self.max_pixels))
        except FilmError as error:
            return index, error
        if self.augmentation is not None:
            film = self.augmentation(film, seed)
        return index, torch.from_numpy(np.ascontiguousarray(film))[None]


class EpochDraws:
    """The batches of one epoch after another: a stream of indices, with a seed for each draw."""

    def __init__(self, stream: Stream, batch_size: int, seed: int) -> None:
        self._stream = stream
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0
        self._next = next(stream)

    def __len__(self) -> int:
        """Whole batches in the coming epoch; a last one that is not full is left out unless it is the only one."""
        return max(1, len(self._next) // self._batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        indices, batches, epoch = self._next, len(self), self._epoch
        self._next, self._epoch = next(self._stream), epoch + 1
        seeds = np.random.SeedSequence([self._seed, epoch]).generate_state(len(indices))
        draws = list(zip(indices, seeds.tolist(), strict=True))
        for batch in range(batches):
            yield draws[batch * self._batch_size : (batch + 1) * self._batch_size]


def training_loader(
    dataset: FilmDataset, stream: Stream, *, batch_size: int, seed: int, num_workers: int, pin: bool
) -> "DataLoader[Batch]":
    """An endless source of epochs: iterate it once an epoch."""
    return _loader(dataset, EpochDraws(stream, batch_size, seed), num_workers, pin)


def ordered_loader(dataset: FilmDataset, *, batch_size: int, num_workers: int, pin: bool) -> "DataLoader[Batch]":
    """Every film once, in order."""
    starts = range(0, len(dataset), batch_size)
    batches = [[(index, 0) for index in range(start, min(start + batch_size, len(dataset)))] for start in starts]
    return _loader(dataset, batches, num_workers, pin)


def _loader(dataset: FilmDataset, batches: object, num_workers: int, pin: bool) -> "DataLoader[Batch]":
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=num_workers,
        collate_fn=_collate,
        pin_memory=pin,
        persistent_workers=num_workers > 0,
        worker_init_fn=_one_thread,
        generator=torch.Generator(),  # its own: the global one would be drawn from more or less often with workers
    )


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)


def _collate(samples: list[tuple[int, Tensor | FilmError]]) -> Batch:
    read = [(index, film) for index, film in samples if isinstance(film, Tensor)]
    faults = tuple(film for _, film in samples if isinstance(film, FilmError))
    films = torch.stack([film for _, film in read]) if read else torch.zeros(0, 1, 1, 1, dtype=torch.uint8)
    return Batch(torch.tensor([index for index, _ in read], dtype=torch.int64), films, faults)
