"""Films of a cache as they are read: each is held against its checksum; a damaged one is decoded again.

Letters: N films, S side of a film.
"""

import mmap
import os
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from cxrlt_cli.data.levels import Film

MOST_TOLD = 3  # films that are named; of the others one line says that there are more


def checksum(film: Film) -> int:
    """Of the levels of a film, which lie in one piece."""
    return xxhash.xxh3_64_intdigest(film.data)


class KeptFilms:
    """Films by index, from a file that may be damaged, or cut short while it is read, without harm.

    ``slots``, ``digests``, ``keys``: where each film is, its checksum, and what its file was known by. ``again``
    decodes the film of a path, a key and a slot from its own file; ``tell`` hears of it. How many were told of is known
    to all processes that are forked from this one.
    """

    _told: mmap.mmap  # one byte: of how many films; shared
    _opened: FileIO | None
    _owner: int

    def __init__(
        self,
        file: Path,
        slots: NDArray[np.int64],
        digests: NDArray[np.uint64],
        image_size: int,
        keys: NDArray[np.bytes_],
        paths: Sequence[Path],
        again: Callable[[Path, bytes, int], Film],
        tell: Callable[[str], None],
    ) -> None:
        self._file, self._slots, self._digests, self._side = file, slots, digests, image_size
        self._keys, self._paths, self._again, self._tell = keys, paths, again, tell
        self._begin()

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, index: int) -> tuple[Film, ...]:
        film = np.empty((self._side, self._side), np.uint8)
        if not self._fill(film, index):
            film = self._again(self._paths[index], self._keys[index], int(self._slots[index]))
            self._digests[index] = checksum(film)  # it may have been this that was damaged
            self._say(index)
        return (film,)

    def _fill(self, film: Film, index: int) -> bool:
        """Whether the film could be read, and is what was kept."""
        try:
            stream = self._stream()
            stream.seek(int(self._slots[index]) * film.nbytes)
            whole = stream.readinto(film.data) == film.nbytes
        except OSError:
            return False
        return whole and checksum(film) == self._digests[index]

    def _stream(self) -> FileIO:
        """The file as this process opened it: two that share one would move each other's place in it."""
        if self._opened is None or self._owner != os.getpid():
            self._opened, self._owner = self._file.open("rb", buffering=0), os.getpid()
        return self._opened

    def _say(self, index: int) -> None:
        told = self._told[0]
        if told < MOST_TOLD:
            self._tell(f"{self._paths[index]} was damaged in --cache {self._file.parent}, and was decoded again.")
        elif told == MOST_TOLD:
            self._tell(f"More films are damaged in --cache {self._file.parent}; each is decoded again.")
        self._told[0] = min(told + 1, MOST_TOLD + 1)

    def _begin(self) -> None:
        self._told = mmap.mmap(-1, 1)
        self._opened, self._owner = None, 0

    def __del__(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_told", "_opened", "_owner")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()
