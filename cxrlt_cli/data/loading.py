"""From files to batches, in worker processes.

Letters: B films of a batch, S side of a film. Films stay single-channel uint8 until they are on the device.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.image import Preprocessing, read_film
from cxrlt_cli.data.sampling import Order
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
    """The batches of one epoch after another, of one process among several: indices, with a seed for each draw.

    A batch of all processes is a stretch of the order, dealt out film by film: together they draw just what one process
    with a batch of that size would. Epochs are of one length; a last batch that is not full is left out unless it is
    the only one.
    """

    def __init__(self, order: Order, batch_size: int, seed: int, *, rank: int = 0, num_processes: int = 1) -> None:
        self._order = order
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._num_processes = num_processes
        self._position = 0, 0  # epoch, batch
        self._length = len(order(0))

    def __len__(self) -> int:
        """Batches of an epoch."""
        return max(1, self._length // (self._batch_size * self._num_processes))

    def state_dict(self) -> dict[str, int]:
        """The batch that comes next."""
        return {"epoch": self._position[0], "batch": self._position[1]}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on with this batch."""
        self._position = state["epoch"], state["batch"]

    def __iter__(self) -> Iterator[list[Draw]]:
        """The rest of the epoch."""
        epoch, first = self._position
        indices = self._order(epoch)
        seeds = np.random.SeedSequence([self._seed, epoch]).generate_state(len(indices))
        size = self._batch_size * self._num_processes
        for batch in range(first, len(self)):
            last = batch + 1 == len(self)
            self._position = (epoch + 1, 0) if last else (epoch, batch + 1)
            mine = slice(batch * size + self._rank, (batch + 1) * size, self._num_processes)
            yield list(zip(indices[mine].tolist(), seeds[mine].tolist(), strict=True))


def training_loader(
    dataset: FilmDataset, order: Order, *, batch_size: int, seed: int, num_workers: int, pin: bool
) -> "DataLoader[Batch]":
    """An endless source of epochs: iterate it once an epoch."""
    return _loader(dataset, EpochDraws(order, batch_size, seed), num_workers, pin)


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
