"""What a frozen backbone gives for films, kept in a folder: computed once, learned from as often as is wanted.

A folder of ``slots`` for one backbone, with ``features.f16``: for each view of each film a map ``[D, H, W]``, or its
mean ``[D, 1, 1]``. View 0 is the film as it is; the others are augmented, each by a seed of the film and the view.

Letters: N films, V views, D features, H x W map.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.kept import KeptArrays
from cxrlt_cli.data.loading import Draw, FilmSource, Sample
from cxrlt_cli.data.slots import Array, Keys, Slots, Store, keys_of, rewrite
from cxrlt_cli.errors import DataError, FilmError

FEATURES = Store("--features", "features", "features.f16")
NUM_VIEWS = 4
VIEWS_VERSION = 1  # of the augmentation and its seeds: another where they change
DTYPE = "float16"

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Missing:
    """Films of which a view is not kept, or no more what was kept."""

    rows: Rows  # [n], of the films that were asked for
    keys: Sequence[Keys]  # [n] of each view, as the files were then
    damaged: Mapping[bytes, int]  # key and place of what is there, and damaged


class FeatureMaps:
    """The features that ``folder`` keeps; ``recipe``: all that decides them but the film and the number of its view.

    Raises as ``Slots`` does.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any], shape: tuple[int, int, int]) -> None:
        self.folder, self._shape = folder, shape
        self._size = math.prod(shape) * np.dtype(DTYPE).itemsize
        described = {**recipe, "views": VIEWS_VERSION, "shape": list(shape)}
        self._slots = Slots(folder, described, self._size, FEATURES)

    @property
    def bytes_of_film(self) -> int:
        return self._size * NUM_VIEWS

    def missing(self, paths: Sequence[Path]) -> Missing:
        """What is wanted of these films; everything that is here is read, and held against its checksum."""
        every = [keys_of(paths, view) for view in range(NUM_VIEWS)]
        gone, damaged = np.zeros(len(paths), bool), {}
        for keys in every:
            places = self._slots.places(keys)
            kept = self._kept(keys, places, paths)
            for row in np.flatnonzero(places >= 0).tolist():
                if not kept.is_whole(row):
                    damaged[keys[row]] = int(places[row])
                    gone[row] = True
            gone |= places < 0
        rows = np.flatnonzero(gone)
        return Missing(rows, [keys[rows] for keys in every], damaged)

    def adding(self, missing: Missing) -> Callable[[Sequence[int], Sequence[Array]], None]:
        """What keeps the features of some of the missing films, ``[n, D, H, W]`` of float16 in each view.

        They are named by their places among those. What another command has kept meanwhile is not kept twice.
        """
        wanted = np.concatenate([*missing.keys, keys_of([])])
        news = self._slots.news(wanted)

        def add(films: Sequence[int], features: Sequence[Array]) -> None:
            new: dict[bytes, Array] = {}
            for keys, arrays in zip(missing.keys, features, strict=True):
                for film, array in zip(films, arrays, strict=True):
                    key = keys[film]
                    if (place := missing.damaged.get(key)) is not None:
                        rewrite(self.folder, FEATURES, place, key, array)
                    elif self._slots.places(np.array([key]))[0] < 0:
                        new[key] = array
            self._slots.append(new, news)

        return add

    def views(self, paths: Sequence[Path]) -> tuple[KeptArrays, ...]:
        """The features of these films, which are all here, for each view; raises DataError where one is not."""
        self._slots.reread()
        every = [keys_of(paths, view) for view in range(NUM_VIEWS)]
        places = [self._slots.places(keys) for keys in every]
        if any((some < 0).any() for some in places):
            raise DataError("Films changed while this command read them.", "Run it again when they stay as they are.")
        return tuple(self._kept(keys, some, paths) for keys, some in zip(every, places, strict=True))

    def _kept(self, keys: Keys, places: Rows, paths: Sequence[Path]) -> KeptArrays:
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
    """The seed of a view's augmentation: of the view, and of the film's name and two folders, wherever they lie.

    In CheXpert, every film of a kind has one name, in folders of its patient and study.
    """
    name = "/".join(path.parts[-3:])
    return int.from_bytes(hashlib.blake2b(f"{name}\0{view}".encode(), digest_size=4).digest(), "big")
