"""Films decoded once: the squares that a model sees, as they are.

A folder holds the films of one recipe: ``recipe.json``; ``films.u8``, uint8 ``[N, S, S]``; and ``index.u8``, for each
film the 16 bytes of a hash of its file's path, size and time, and 8 of a checksum of its pixels. An entry is written
after the pixels are on the disk, so a stop leaves no half film, and a film whose file has changed is not found. Films
that are no more what their checksum says are decoded again.

Letters: N films, S side of a film.
"""

import hashlib
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from cxrlt_cli.data.cached_films import KeptFilms, checksum
from cxrlt_cli.data.image import MAX_PIXELS, read_film
from cxrlt_cli.data.levels import Film
from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import DataError, FilmError, OptionError, explain
from cxrlt_cli.files import write_text

RECIPE, FILMS, INDEX, LOCK = "recipe.json", "films.u8", "index.u8", ".lock"
FORMAT = 2  # 1, of cxrlt 0.1.0, has no checksums
KEY = 16  # bytes
ENTRY = np.dtype([("key", f"S{KEY}"), ("digest", "<u8")])  # of a film in the index
BLOCK = 128  # films that are decoded before they are written

Keys = NDArray[np.bytes_]  # [N], each KEY bytes


class FilmTransform(Protocol):
    """From a film to the square that is kept."""

    @property
    def image_size(self) -> int: ...

    def __call__(self, film: Film) -> Film: ...

    def to_json(self) -> dict[str, Any]:
        """All that decides the pixels."""


class FilmCache:
    """The films that ``folder`` keeps for a recipe; a folder that is not there yet keeps none.

    Raises OptionError where the folder holds something else, or films of another recipe; DataError where it is damaged.
    """

    def __init__(self, folder: Path, recipe: FilmTransform) -> None:
        _require_recipe(folder, recipe)
        self._folder, self._recipe = folder, recipe
        self._take(_read_entries(folder))
        file = folder / FILMS
        if self.num_bytes and (not file.exists() or file.stat().st_size < self.num_bytes):
            raise self._cut_short()

    def _cut_short(self) -> DataError:
        return DataError(f"--cache {self._folder} is damaged: {FILMS} is cut short.", "Delete the folder.")

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def num_bytes(self) -> int:
        return len(self) * self._recipe.image_size**2

    def films(
        self, paths: Sequence[Path], *, max_pixels: int = MAX_PIXELS, tell: Callable[[str], None] = lambda _: None
    ) -> KeptFilms | None:
        """The films of these files; None where one is not here.

        ``tell`` hears of films that are damaged, in the process that reads them, and is picklable.
        """
        keys = _keys_of(paths)
        slots = self._slots(keys)
        if (slots < 0).any():
            return None
        again = partial(_again, cache=self._folder, recipe=self._recipe, max_pixels=max_pixels)
        digests = self._digests[slots]
        return KeptFilms(self._folder / FILMS, slots, digests, self._recipe.image_size, keys, paths, again, tell)

    def fill(
        self, paths: Sequence[Path], *, max_pixels: int, num_threads: int, advance: Callable[[int], None]
    ) -> list[FilmError]:
        """Keep every film of these files that is not here yet; those that cannot be read, in the order of the files.

        Several commands may fill one folder at once: each writes whole blocks, in an order of its own, and passes over
        what the others have written. ``advance`` is told of films that are here already, too.
        """
        keys = _keys_of(paths)
        missing = np.flatnonzero(self._slots(keys) < 0)
        advance(len(paths) - len(missing))
        news = _News(self._folder / INDEX, len(self), keys[missing])
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
                    self._append(films, news)
        if news.look() > len(self):
            self._take(_read_entries(self._folder))
        return [faults[row] for row in sorted(faults)]

    def _take(self, entries: NDArray[Any]) -> None:
        self._order = np.argsort(entries["key"])
        self._keys, self._digests = entries["key"][self._order], entries["digest"]

    def _slots(self, keys: Keys) -> NDArray[np.int64]:
        """Where the films of these keys are, ``[N]``; -1 where one is not here."""
        if not len(self):
            return np.full(len(keys), -1, np.int64)
        places = np.searchsorted(self._keys, keys).clip(max=len(self) - 1)
        return np.where(self._keys[places] == keys, self._order[places], -1)

    def _append(self, films: Mapping[bytes, Film], news: "_News") -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / LOCK):
                _require_recipe(self._folder, self._recipe)  # another command may have come first
                if not (self._folder / RECIPE).exists():
                    write_text(self._folder / RECIPE, json.dumps(_described(self._recipe), indent=2) + "\n")
                number = news.look()
                new = [key for key in films if not news.has(key)]
                with (self._folder / FILMS).open("ab") as file:
                    if file.tell() < number * self._recipe.image_size**2:
                        raise self._cut_short()
                    file.truncate(number * self._recipe.image_size**2)  # what a stop left behind the last whole film
                    for key in new:
                        file.write(films[key].tobytes())
                    file.flush()
                    os.fsync(file.fileno())
                with (self._folder / INDEX).open("ab") as file:
                    file.truncate(number * ENTRY.itemsize)
                    file.write(np.array([(key, checksum(films[key])) for key in new], ENTRY).tobytes())
        except OSError as error:
            known = explain(error) or OptionError(f"--cache {self._folder} cannot be written: {error.strerror}.")
            raise OptionError(known.message, "Pass another --cache, or make room; what is kept stays.") from error


class _News:
    """Which of some keys have come into an index since it had ``number``, by whichever command."""

    def __init__(self, index: Path, number: int, keys: Keys) -> None:
        self._index, self._number = index, number
        self._keys = np.sort(keys)
        self._here = np.zeros(len(keys), bool)

    def look(self) -> int:
        """Read what is new; how many the index has now."""
        new = _read_entries(self._index.parent, self._number)["key"]
        self._number += len(new)
        if not len(self._keys):
            return self._number
        places = np.searchsorted(self._keys, new).clip(max=len(self._keys) - 1)
        self._here[places[self._keys[places] == new]] = True
        return self._number

    def has(self, key: bytes) -> bool:
        return bool(self._here[np.searchsorted(self._keys, key)])


def _again(path: Path, key: bytes, slot: int, cache: Path, recipe: FilmTransform, max_pixels: int) -> Film:
    """A film that is damaged in ``cache``, from its file, and put there anew where that can be written.

    Raises FilmError where the file cannot be read, or has changed since it was kept.
    """
    if _keys_of([path])[0] != key:
        raise FilmError(path, f"has changed while this command ran, and is damaged in {cache}")
    film = recipe(read_film(path, max_pixels=max_pixels))
    with suppress(OSError), FileLock(cache / LOCK):
        for file, size, data in ((FILMS, film.nbytes, film.tobytes()), (INDEX, ENTRY.itemsize, _entry(key, film))):
            with (cache / file).open("rb+") as stream:
                stream.seek(slot * size)
                stream.write(data)
    return film


def _entry(key: bytes, film: Film) -> bytes:
    return np.array([(key, checksum(film))], ENTRY).tobytes()


def _described(recipe: FilmTransform) -> dict[str, Any]:
    content = {"format": FORMAT, **recipe.to_json()}
    return {"hash": _hash(content), "recipe": content}


def _hash(recipe: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def _require_recipe(folder: Path, recipe: FilmTransform) -> None:
    """Raise OptionError where films of another recipe, or other files, are in ``folder``."""
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"--cache {folder} is a file; films are kept in a folder.")
    if not (folder / RECIPE).is_file():
        if folder.is_dir() and any(path.name != LOCK and path.name[:1] != "." for path in folder.iterdir()):
            raise OptionError(f"--cache {folder} holds other files and no {RECIPE}.", "Pass a folder of its own.")
        return
    wanted = _described(recipe)
    try:
        there = read_json(folder / RECIPE)
        known = {**there["recipe"]}
        if known.get("format") != 1 and there["hash"] != _hash(known):
            raise ValueError("its hash is not its own")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"--cache {folder}: {RECIPE} is damaged.", "Delete the folder.") from error
    if known.get("format") == 1:
        raise OptionError(
            f"--cache {folder} was filled by cxrlt 0.1.0, whose films carry no checksums.",
            "Delete the folder, and it is filled again; or pass another.",
        )
    if known.get("format") != FORMAT:
        raise OptionError(
            f"--cache {folder} is of format {str(known.get('format'))[:40]}; this cxrlt reads {FORMAT}.",
            "Pass another folder, or use the cxrlt that filled it.",
        )
    if there != wanted:
        both = sorted({*known, *wanted["recipe"]})
        changed = [name for name in both if known.get(name) != wanted["recipe"].get(name)]
        told = "; ".join(f"{name} {str(known.get(name))[:80]}, not {wanted['recipe'].get(name)}" for name in changed)
        raise OptionError(
            f"--cache {folder} keeps films of another recipe ({told}).",
            "Pass another folder; each keeps the films of one recipe.",
        )


def _read_entries(folder: Path, first: int = 0) -> NDArray[Any]:
    """The entries of an index from the ``first`` on; one that was cut short is left aside."""
    try:
        with (folder / INDEX).open("rb") as file:
            file.seek(first * ENTRY.itemsize)
            data = file.read()
    except FileNotFoundError:
        data = b""
    return np.frombuffer(data[: len(data) // ENTRY.itemsize * ENTRY.itemsize], ENTRY)


def _keys_of(paths: Sequence[Path]) -> Keys:
    """What films are known by: their files as they are now. Raises FilmError where one is missing."""
    return np.array([_key(path) for path in paths], f"S{KEY}")


def _key(path: Path) -> bytes:
    try:
        state = path.stat()
    except OSError as error:
        raise FilmError(path, f"cannot be read: {error.strerror}") from error
    text = json.dumps([os.path.abspath(path), state.st_size, state.st_mtime_ns])  # noqa: PTH100 - links stay links
    return hashlib.blake2b(text.encode(), digest_size=KEY).digest()


def _read(path: Path, recipe: FilmTransform, max_pixels: int) -> Film | FilmError:
    try:
        return recipe(read_film(path, max_pixels=max_pixels))
    except FilmError as error:
        return error
