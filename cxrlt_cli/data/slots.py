"""Arrays of one size by key, in a folder: each written once, whole, by whichever command comes first.

The folder belongs to one recipe: ``recipe.json``. Beside it lie a file of array after array, and ``index.u8``: for each
the 16 bytes of its key, and 8 of a checksum. An entry is written after its array is on the disk, so a stop leaves no
half array.

Letters: N arrays.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from filelock import FileLock
from numpy.typing import NDArray

from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import DataError, FilmError, OptionError, explain
from cxrlt_cli.files import write_text

RECIPE, INDEX, LOCK = "recipe.json", "index.u8", ".lock"
FORMAT = 2  # 1, of cxrlt 0.1.0, has no checksums
KEY = 16  # bytes
ENTRY = np.dtype([("key", f"S{KEY}"), ("digest", "<u8")])  # of an array in the index

Keys = NDArray[np.bytes_]  # [N], each KEY bytes
Array = NDArray[Any]


@dataclass(frozen=True)
class Store:
    """What a folder is for: the flag that names it, what it keeps, and the file that they lie in."""

    flag: str
    what: str
    file: str


class Slots:
    """The arrays of ``num_bytes`` each that ``folder`` keeps for a ``recipe``; one that is not there yet keeps none.

    Raises OptionError where the folder holds something else, or arrays of another recipe; DataError where it is
    damaged.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any], num_bytes: int, store: Store) -> None:
        self.store, self.folder = store, folder
        self._recipe, self._size = recipe, num_bytes
        require_recipe(folder, recipe, store)
        self._take(_read_entries(folder))
        file = folder / store.file
        if self.num_bytes and (not file.exists() or file.stat().st_size < self.num_bytes):
            raise self._cut_short()

    def _cut_short(self) -> DataError:
        return DataError(
            f"{self.store.flag} {self.folder} is damaged: {self.store.file} is cut short.", "Delete the folder."
        )

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def num_bytes(self) -> int:
        return len(self) * self._size

    def places(self, keys: Keys) -> NDArray[np.int64]:
        """Where the arrays of these keys are, ``[N]``; -1 where one is not here."""
        if not len(self):
            return np.full(len(keys), -1, np.int64)
        places = np.searchsorted(self._keys, keys).clip(max=len(self) - 1)
        return np.where(self._keys[places] == keys, self._order[places], -1)

    def digests(self, places: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The checksums of the arrays at these places, ``[N]``; 0 where there is none."""
        found, here = np.zeros(len(places), np.uint64), places >= 0
        found[here] = self._digests[places[here]]
        return found

    def news(self, keys: Keys) -> "News":
        """For ``append``: which of these keys, that are not here, come from now on."""
        return News(self.folder / INDEX, len(self), keys)

    def reread(self) -> None:
        """Know what the folder holds by now."""
        self._take(_read_entries(self.folder))

    def take_news(self, news: "News") -> None:
        """Know what has come, from whichever command."""
        if news.look() > len(self):
            self._take(_read_entries(self.folder))

    def append(self, arrays: Mapping[bytes, Array], news: "News") -> None:
        """Keep arrays by key, but for those that have come meanwhile; raises OptionError where the disk is at fault."""
        file = self.folder / self.store.file
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / LOCK):
                require_recipe(self.folder, self._recipe, self.store)  # another command may have come first
                if not (self.folder / RECIPE).exists():
                    write_text(self.folder / RECIPE, json.dumps(described(self._recipe), indent=2) + "\n")
                number = news.look()
                new = [key for key in arrays if not news.has(key)]
                with file.open("ab") as stream:
                    if stream.tell() < number * self._size:
                        raise self._cut_short()
                    stream.truncate(number * self._size)  # what a stop left behind the last whole array
                    for key in new:
                        stream.write(arrays[key].tobytes())
                    stream.flush()
                    os.fsync(stream.fileno())
                with (self.folder / INDEX).open("ab") as stream:
                    stream.truncate(number * ENTRY.itemsize)
                    stream.write(np.array([(key, checksum(arrays[key])) for key in new], ENTRY).tobytes())
        except OSError as error:
            flag = self.store.flag
            known = explain(error) or OptionError(f"{flag} {self.folder} cannot be written: {error.strerror}.")
            raise OptionError(known.message, f"Pass another {flag}, or make room; what is kept stays.") from error

    def _take(self, entries: NDArray[Any]) -> None:
        self._order = np.argsort(entries["key"])
        self._keys, self._digests = entries["key"][self._order], entries["digest"]


class News:
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


def rewrite(folder: Path, store: Store, place: int, key: bytes, array: Array) -> None:
    """Put an array that was damaged there anew; raises OSError where that cannot be written."""
    with FileLock(folder / LOCK):
        entry = np.array([(key, checksum(array))], ENTRY).tobytes()
        for file, size, data in ((store.file, array.nbytes, array.tobytes()), (INDEX, ENTRY.itemsize, entry)):
            with (folder / file).open("rb+") as stream:
                stream.seek(place * size)
                stream.write(data)


def checksum(array: Array) -> int:
    """Of the bytes of an array, which lie in one piece."""
    return xxhash.xxh3_64_intdigest(array.data)


def keys_of(paths: Sequence[Path], part: int | None = None) -> Keys:
    """What films, or a ``part`` of what is made of each, are known by: their files as they are now.

    Raises FilmError where one is missing.
    """
    return np.array([_key(path, part) for path in paths], f"S{KEY}")


def _key(path: Path, part: int | None) -> bytes:
    try:
        state = path.stat()
    except OSError as error:
        raise FilmError(path, f"cannot be read: {error.strerror}") from error
    told = [os.path.abspath(path), state.st_size, state.st_mtime_ns]  # noqa: PTH100 - links stay links
    text = json.dumps(told if part is None else [*told, part])
    return hashlib.blake2b(text.encode(), digest_size=KEY).digest()


def described(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in ``recipe.json``."""
    content = {"format": FORMAT, **recipe}
    return {"hash": _hash(content), "recipe": content}


def _hash(recipe: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def require_recipe(folder: Path, recipe: Mapping[str, Any], store: Store) -> None:
    """Raise OptionError where arrays of another recipe, or other files, are in ``folder``."""
    flag, what = store.flag, store.what
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{flag} {folder} is a file; {what} are kept in a folder.")
    if not (folder / RECIPE).is_file():
        if folder.is_dir() and any(path.name != LOCK and path.name[:1] != "." for path in folder.iterdir()):
            raise OptionError(f"{flag} {folder} holds other files and no {RECIPE}.", "Pass a folder of its own.")
        return
    wanted = described(recipe)
    try:
        there = read_json(folder / RECIPE)
        known = {**there["recipe"]}
        if known.get("format") != 1 and there["hash"] != _hash(known):
            raise ValueError("its hash is not its own")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{flag} {folder}: {RECIPE} is damaged.", "Delete the folder.") from error
    if known.get("format") == 1:
        raise OptionError(
            f"{flag} {folder} was filled by cxrlt 0.1.0, whose {what} carry no checksums.",
            "Delete the folder, and it is filled again; or pass another.",
        )
    if known.get("format") != FORMAT:
        raise OptionError(
            f"{flag} {folder} is of format {str(known.get('format'))[:40]}; this cxrlt reads {FORMAT}.",
            "Pass another folder, or use the cxrlt that filled it.",
        )
    if there != wanted:
        both = sorted({*known, *wanted["recipe"]})
        changed = [name for name in both if known.get(name) != wanted["recipe"].get(name)]
        told = "; ".join(f"{name} {str(known.get(name))[:80]}, not {wanted['recipe'].get(name)}" for name in changed)
        raise OptionError(
            f"{flag} {folder} keeps {what} of another recipe ({told}).",
            f"Pass another folder; each keeps the {what} of one recipe.",
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
