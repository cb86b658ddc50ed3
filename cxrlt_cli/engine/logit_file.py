"""Logits of many films on the disk, for what needs all of them at once; they are read a stretch at a time.

Letters: V views, N films, C findings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxrlt_cli.scores import Doubles
from cxrlt_cli.tta import merge

KIND = np.dtype("<f4")
STRETCH_BYTES = 2**24


@dataclass(frozen=True)
class LogitFile:
    """Film after film, and of each film model after model: ``[V, C]`` in float32, with nothing around them."""

    path: Path
    num_views: int
    num_findings: tuple[int, ...]  # of each model

    @property
    def film_bytes(self) -> int:
        return KIND.itemsize * self.num_views * sum(self.num_findings)

    def rows(self, logits: Sequence[Tensor]) -> bytes:
        """The bytes of some films, of which each model gives ``[V, n, C]``."""
        cells = [one.transpose(0, 1).flatten(1).numpy().astype(KIND) for one in logits]
        return np.concatenate(cells, axis=1).tobytes()

    def probabilities(self, mode: str, columns: Sequence[Sequence[int]]) -> list[Doubles]:
        """Some ``columns`` of each model with its views merged, ``[N, columns]``; the file is read once for all."""
        number, start = self.path.stat().st_size // self.film_bytes, 0
        out = [np.empty((number, len(mine))) for mine in columns]
        for stretch in self._stretches():
            stop = start + stretch[0].shape[1]
            for logits, mine, merged in zip(stretch, columns, out, strict=True):
                merged[start:stop] = merge(torch.from_numpy(logits[:, :, list(mine)]), mode).numpy()
            start = stop
        return out

    def _stretches(self) -> Iterator[list["np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]]:
        """The logits ``[V, n, C]`` of each model, some films at a time."""
        ends = self.num_views * np.cumsum((0, *self.num_findings))
        width, few = int(ends[-1]), max(1, STRETCH_BYTES // self.film_bytes)
        with self.path.open("rb") as file:
            while (cells := np.fromfile(file, KIND, few * width)).size:
                films = cells.reshape(-1, width)
                of_models = np.split(films, ends[1:-1], axis=1)
                yield [mine.reshape(len(films), self.num_views, -1).swapaxes(0, 1) for mine in of_models]
