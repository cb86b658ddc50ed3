"""What a frozen backbone gives for films, kept in a folder: computed once, learned from as often as is wanted.

A folder of ``slots`` for one backbone, with ``features.f16``: for each view of each film a map ``[D, H, W]``, or its
mean ``[D, 1, 1]``. View 0 is the film as it is; the others are augmented, each by a seed of the film and the view.

Letters: N films, V views, D features, H x W map.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.kept import KeptArrays
from cxrlt_cli.data.loading import Draw, FilmSource, Sample
from cxrlt_cli.data.slots import Array, Slots, Store, keys_of, rewrite
from cxrlt_cli.errors import FilmError

FEATURES = Store("--features", "features", "features.f16")
NUM_VIEWS = 4
DTYPE = "float16"

Rows = NDArray[np.int64]


class FeatureMaps:
    """The features that ``folder`` keeps; ``recipe``: all that decides them but the film and the number of its view.

    Raises as ``Slots`` does.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any], shape: tuple[int, int, int]) -> None:
        self.folder, self._shape = folder, shape
        self._size = math.prod(shape) * np.dtype(DTYPE).itemsize
        self._slots = Slots(folder, {**recipe, "shape": list(shape)}, self._size, FEATURES)
        self._news = self._slots.news(keys_of([]))
        self._damaged: dict[bytes, int] = {}

    @property
    def bytes_of_film(self) -> int:
        return self._size * NUM_VIEWS

    def missing(self, paths: Sequence[Path]) -> Rows:
        """The films of which a view is not here, or no more what was kept; ``add`` takes them from now on."""
        keys = [keys_of(paths, view) for view in range(NUM_VIEWS)]
        gone = np.zeros(len(paths), bool)
        for mine in keys:
            places = self._slots.places(mine)
            kept = self._kept(mine, places, paths)
            for row in np.flatnonzero(places >= 0).tolist():
                if not kept.is_whole(row):
                    self._damaged[mine[row]] = int(places[row])
                    gone[row] = True
            gone |= places < 0
        rows = np.flatnonzero(gone)
        wanted = np.concatenate([mine[rows] for mine in keys])
        self._news = self._slots.news(wanted[self._slots.places(wanted) < 0])
        return rows

    @property
    def num_damaged(self) -> int:
        """Views that ``missing`` found damaged."""
        return len(self._damaged)

    def add(self, paths: Sequence[Path], features: Sequence[Array]) -> None:
        """Keep what films ``[N]`` look like in each view: ``[N, D, H, W]`` of float16."""
        new: dict[bytes, Array] = {}
        for view, arrays in enumerate(features):
            for key, array in zip(keys_of(paths, view), arrays, strict=True):
                if key in self._damaged:
                    rewrite(self.folder, FEATURES, self._damaged.pop(key), key, array)
                elif self._slots.places(np.array([key]))[0] < 0:
                    new[key] = array
        self._slots.append(new, self._news)

    def views(self, paths: Sequence[Path]) -> tuple[KeptArrays, ...]:
        """The features of these films, which are all here, for each view."""
        self._slots.take_news(self._news)
        return tuple(self._kept(keys := keys_of(paths, view), self._slots.places(keys), paths)
                     for view in range(NUM_VIEWS))  # fmt: skip

    def _kept(self, keys: NDArray[np.bytes_], places: Rows, paths: Sequence[Path]) -> KeptArrays:
        return KeptArrays(self._slots, places, self._shape, DTYPE, keys, paths, _refuse, lambda _: None)


def _refuse(path: Path, key: bytes, place: int) -> NoReturn:
    raise FilmError(path, "has features that were damaged while this command ran: run it again")


class FilmViews(Dataset[Sample]):
    """Every film in all of its views, each uint8 ``[1, S, S]``."""

    def __init__(self, source: FilmSource, paths: Sequence[Path]) -> None:
        self._source, self._paths, self._augmentation = source, paths, Augmentation()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, draw: Draw) -> Sample:
        index, _ = draw
        try:
            (film,) = self._source[index]
        except FilmError as error:
            return index, error
        path = self._paths[index]
        others = [self._augmentation(film, seed_of(path, view)) for view in range(1, NUM_VIEWS)]
        return index, tuple(torch.from_numpy(np.ascontiguousarray(view))[None] for view in (film, *others))


class KeptFeatures(Dataset[Sample]):
    """Features by draw: the seed of a draw chooses among the views."""

    def __init__(self, views: Sequence[KeptArrays]) -> None:
        self._views = views

    def __len__(self) -> int:
        return len(self._views[0])

    def __getitem__(self, draw: Draw) -> Sample:
        index, seed = draw
        try:
            (features,) = self._views[seed % len(self._views)][index]
        except FilmError as error:
            return index, error
        return index, (torch.from_numpy(features),)


def seed_of(path: Path, view: int) -> int:
    """The seed of a view's augmentation: of the film's name and the view, wherever the film lies."""
    return int.from_bytes(hashlib.blake2b(f"{path.name}\0{view}".encode(), digest_size=4).digest(), "big")
