"""Arrays of a folder of ``slots`` as they are read: each is held against its checksum; a damaged one is made again.

Letters: N arrays.
"""

import mmap
import os
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.data.slots import Array, Keys, Slots, checksum

MOST_TOLD = 3  # films that are named; of the others one line says that there are more


class KeptArrays:
    """Arrays by index, from a file that may be damaged, or cut short while it is read, without harm.

    ``places``, ``keys``: where each is in ``slots``, and what its film's file was known by. ``again`` makes the one of
    a path, a key and a place from that file; ``tell`` hears of it. How many were told of is known to all processes that
    are forked from this one.
    """

    _told: mmap.mmap  # one byte: of how many films; shared
    _opened: FileIO | None
    _owner: int

    def __init__(
        self,
        slots: Slots,
        places: NDArray[np.int64],
        shape: tuple[int, ...],
        dtype: str,
        keys: Keys,
        paths: Sequence[Path],
        again: Callable[[Path, bytes, int], Array],
        tell: Callable[[str], None],
    ) -> None:
        self._file, self._flag = slots.folder / slots.store.file, slots.store.flag
        self._places, self._digests, self._shape, self._dtype = places, slots.digests(places), shape, dtype
        self._keys, self._paths, self._again, self._tell = keys, paths, again, tell
        self._begin()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[Array, ...]:
        array = np.empty(self._shape, self._dtype)
        if not self._fill(array, index):
            array = self._again(self._paths[index], self._keys[index], int(self._places[index]))
            self._digests[index] = checksum(array)  # it may have been this that was damaged
            self._say(index)
        return (array,)

    def is_whole(self, index: int) -> bool:
        """Whether an array is what was kept."""
        return self._fill(np.empty(self._shape, self._dtype), index)

    def _fill(self, array: Array, index: int) -> bool:
        """Whether the array could be read, and is what was kept."""
        try:
            stream = self._stream()
            stream.seek(int(self._places[index]) * array.nbytes)
            whole = stream.readinto(array.data) == array.nbytes
        except OSError:
            return False
        return whole and checksum(array) == self._digests[index]

    def _stream(self) -> FileIO:
        """The file as this process opened it: two that share one would move each other's place in it."""
        if self._opened is None or self._owner != os.getpid():
            self._opened, self._owner = self._file.open("rb", buffering=0), os.getpid()
        return self._opened

    def _say(self, index: int) -> None:
        told = self._told[0]
        if told < MOST_TOLD:
            self._tell(f"{self._paths[index]} was damaged in {self._flag} {self._file.parent}, and was decoded again.")
        elif told == MOST_TOLD:
            self._tell(f"More films are damaged in {self._flag} {self._file.parent}; each is decoded again.")
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
