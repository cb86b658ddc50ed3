"""Films decoded once: what a model sees, as it is.

A folder of ``slots`` for one recipe, with ``films.u8``, uint8 ``[N, H, W]``. A film is known by its file's path, size
and time, so one whose file has changed is not found. Films that are no more what their checksum says are decoded again.

Letters: N films, H x W pixels.
"""

import math
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cxrlt_cli.data.image import MAX_PIXELS, read_film
from cxrlt_cli.data.kept import KeptArrays
from cxrlt_cli.data.levels import Film
from cxrlt_cli.data.slots import Slots, Store, keys_of, rewrite
from cxrlt_cli.errors import FilmError

FILMS = Store("--cache", "films", "films.u8")
BLOCK = 128  # films that are decoded before they are written


class FilmTransform(Protocol):
    """From a film to what is kept of it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""

    @property
    def told(self) -> str:
        """The same in words."""

    def __call__(self, film: Film) -> Film: ...

    def to_json(self) -> dict[str, Any]:
        """All that decides the pixels."""


class FilmCache:
    """The films that ``folder`` keeps for a recipe; a folder that is not there yet keeps none.

    Raises OptionError where the folder holds something else, or films of another recipe; DataError where it is damaged.
    """

    def __init__(self, folder: Path, recipe: FilmTransform) -> None:
        self._folder, self._recipe = folder, recipe
        self._slots = Slots(folder, recipe.to_json(), math.prod(recipe.shape), FILMS)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def num_bytes(self) -> int:
        return self._slots.num_bytes

    def films(
        self, paths: Sequence[Path], *, max_pixels: int = MAX_PIXELS, tell: Callable[[str], None] = lambda _: None
    ) -> KeptArrays | None:
        """The films of these files; None where one is not here.

        ``tell`` hears of films that are damaged, in the process that reads them, and is picklable.
        """
        keys = keys_of(paths)
        places = self._slots.places(keys)
        if (places < 0).any():
            return None
        again = partial(_again, cache=self._folder, recipe=self._recipe, max_pixels=max_pixels)
        return KeptArrays(self._slots, places, self._recipe.shape, "uint8", keys, paths, again, tell)

    def fill(
        self, paths: Sequence[Path], *, max_pixels: int, num_threads: int, advance: Callable[[int], None]
    ) -> list[FilmError]:
        """Keep every film of these files that is not here yet; those that cannot be read, in the order of the files.

        Several commands may fill one folder at once: each writes whole blocks, in an order of its own, and passes over
        what the others have written. ``advance`` is told of films that are here already, too.
        """
        keys = keys_of(paths)
        missing = np.flatnonzero(self._slots.places(keys) < 0)
        advance(len(paths) - len(missing))
        news = self._slots.news(keys[missing])
        read = partial(_read, recipe=self._recipe, max_pixels=max_pixels)
        blocks = [missing[start : start + BLOCK] for start in range(0, len(missing), BLOCK)]
        random.Random(os.urandom(8)).shuffle(blocks)
        faults: dict[int, FilmError] = {}
        with ThreadPoolExecutor(max(1, num_threads)) as pool:
            for block in blocks:
                news.look()
                rows = [int(row) for row in block if not news.has(keys[row])]
                advance(len(block) - len(rows))
                films: dict[bytes, Film] = {}
                for row, film in zip(rows, pool.map(read, [paths[row] for row in rows]), strict=True):
                    advance(1)
                    if isinstance(film, FilmError):
                        faults[row] = film
                    else:
                        films[keys[row]] = film
                if films:
                    self._slots.append(films, news)
        self._slots.take_news(news)
        return [faults[row] for row in sorted(faults)]


def _again(path: Path, key: bytes, place: int, cache: Path, recipe: FilmTransform, max_pixels: int) -> Film:
    """A film that is damaged in ``cache``, from its file, and put there anew where that can be written.

    Raises FilmError where the file cannot be read, or has changed since it was kept.
    """
    if keys_of([path])[0] != key:
        raise FilmError(path, f"has changed while this command ran, and is damaged in {cache}")
    film = recipe(read_film(path, max_pixels=max_pixels))
    with suppress(OSError):
        rewrite(cache, FILMS, place, key, film)
    return film


def _read(path: Path, recipe: FilmTransform, max_pixels: int) -> Film | FilmError:
    try:
        return recipe(read_film(path, max_pixels=max_pixels))
    except FilmError as error:
        return error
