"""Which films a film resembles, by the cosine of their features.

Letters: N films, D features, M films to look among.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.tables.embeddings import Embeddings
from cxrlt_cli.tables.label_table import Texts

NUM_NEAREST = 5
COLUMNS = ("rank", "neighbour", "cosine")
DIGITS = 6  # of a cosine
BLOCK = 2**24  # cosines in memory at a time


@dataclass(frozen=True)
class Neighbours:
    """Of each of N films, those that it resembles most, ``[K]`` each, K at most ``NUM_NEAREST``; the nearest first."""

    ids: Texts  # [N]
    films: tuple[tuple[str, ...], ...]
    cosines: tuple[tuple[float, ...], ...]

    def to_csv(self, id_column: str, *, header: bool) -> str:
        """A row for each film and neighbour."""
        rows = [
            (film, rank, name, cosine)
            for film, names, cosines in zip(self.ids, self.films, self.cosines, strict=True)
            for rank, (name, cosine) in enumerate(zip(names, cosines, strict=True), 1)
        ]
        frame = pd.DataFrame(rows, columns=pd.Index([id_column, *COLUMNS]))
        return frame.to_csv(index=False, header=header, lineterminator="\n", float_format=f"%.{DIGITS}f")


class Known:
    """Films to look among."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._ids = embeddings.ids
        self._place = {film: place for place, film in enumerate(embeddings.ids)}
        self._features = _of_length_1(embeddings.features)

    def __contains__(self, film: str) -> bool:
        return film in self._place

    def nearest(self, ids: Texts, features: NDArray[np.float32]) -> Neighbours:
        """The nearest to films with these features ``[N, D]``; no film is a neighbour of the same id.

        Cosines are rounded to ``DIGITS``, and of equal ones the first in the file comes first: whatever the blocks of
        the product, and the machine, the result is the same. So the product in float32 only says which may be among
        the nearest, to within its error, and the cosines of these are computed in float64.
        """
        seen = _of_length_1(features)
        found: list[list[tuple[str, float]]] = []
        size = max(1, BLOCK // len(self._ids))
        for start in range(0, len(ids), size):
            block = seen[start : start + size]
            for film, row, cosines in zip(ids[start : start + size], block, block @ self._features.T, strict=True):
                if film in self._place:
                    cosines[self._place[film]] = -np.inf
                found.append(self._best(row, cosines))
        films = tuple(tuple(name for name, _ in one) for one in found)
        return Neighbours(ids, films, tuple(tuple(cosine for _, cosine in one) for one in found))

    def _best(self, row: NDArray[np.float32], cosines: NDArray[np.float32]) -> list[tuple[str, float]]:
        number = min(NUM_NEAREST, len(cosines))
        least = np.partition(cosines, -number)[-number]
        error = len(row) * float(np.finfo(np.float32).eps) + 10.0**-DIGITS
        places = np.flatnonzero((cosines >= least - error) & (cosines > -np.inf))
        others, mine = (_of_length_1(one.astype(np.float64)) for one in (self._features[places], row))
        exact = np.round((others * mine).sum(axis=1), DIGITS) + 0.0  # no -0
        order = np.argsort(-exact, kind="stable")[:number]
        return [(str(self._ids[places[one]]), float(exact[one])) for one in order]


def _of_length_1(features: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12))
