"""Features of films, kept in a folder: encoded once, scored with any words.

Letters: N films, D features.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cxrlt_cli.errors import DataError
from cxrlt_cli.files import replacing, write_text

KEY = "key.json"
SHARD_FILMS, SHARD_SECONDS = 8192, 60.0  # a shard is written when it is full, or this old: what a stop can lose


class FeatureCache:
    """Features ``[N, D]`` of films by id, in float16, below ``folder`` in a folder that belongs to ``key``.

    ``key``: all that decides a film's features. A film whose file has changed, by its size or its time, is not found.
    Shards appear whole or not at all, so commands may be stopped, and may share a folder.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        text = json.dumps(dict(key), sort_keys=True, indent=2) + "\n"
        self._folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        if not (self._folder / KEY).exists():
            write_text(self._folder / KEY, text)
        self._places: dict[str, tuple[int, int, int, int]] = {}  # id: size, time, shard, row
        self._shards = sorted(self._folder.glob("*.safetensors"))
        self._pending: list[tuple[list[str], NDArray[np.int64], NDArray[np.float16]]] = []
        self._since = time.monotonic()
        for number, shard in enumerate(self._shards):
            ids, stamps = _index(shard)
            for row, (film, (size, changed)) in enumerate(zip(ids, stamps.tolist(), strict=True)):
                self._places[film] = size, changed, number, row

    def known(self, ids: Sequence[str], stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which films are here, ``[N]``, given the ``stamp`` of each."""
        none = (-1, -1, 0, 0)
        found = [self._places.get(film, none)[:2] for film in ids]
        return np.asarray((np.array(found, np.int64).reshape(-1, 2) == stamps).all(axis=1))

    def read(self, ids: Sequence[str], rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Any]]:
        """Rows of ``ids`` and their features in float32, a shard at a time."""
        places = np.array([self._places[ids[row]][2:] for row in rows], np.int64).reshape(-1, 2)
        for number in np.unique(places[:, 0]):
            here = places[:, 0] == number
            with safe_open(self._shards[number], "np") as file:
                yield rows[here], file.get_tensor("features")[places[here, 1]].astype(np.float32)

    def add(self, ids: Sequence[str], stamps: NDArray[np.int64], features: NDArray[Any]) -> NDArray[np.float32]:
        """Keep features, on disk before long; gives them as they will be read."""
        kept = features.astype(np.float16)
        self._pending.append((list(ids), stamps, kept))
        waiting = sum(len(films) for films, _, _ in self._pending)
        if waiting >= SHARD_FILMS or time.monotonic() - self._since > SHARD_SECONDS:
            self.flush()
        return kept.astype(np.float32)

    def flush(self) -> None:
        """Write what waits."""
        if self._pending:
            names = [name for films, _, _ in self._pending for name in films]
            content = {
                "ids": np.frombuffer(json.dumps(names).encode(), np.uint8),
                "stamps": np.concatenate([stamps for _, stamps, _ in self._pending]),
                "features": np.concatenate([features for _, _, features in self._pending]),
            }
            with replacing(self._folder / f"{time.time_ns()}-{os.getpid()}.safetensors") as temporary:
                save_file(content, temporary)
        self._pending, self._since = [], time.monotonic()


def stamps(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Size in bytes and time of the last change in ns of each file, ``[N, 2]``."""
    states = [path.stat() for path in paths]
    return np.array([(state.st_size, state.st_mtime_ns) for state in states], np.int64).reshape(-1, 2)


def _index(shard: Path) -> tuple[list[str], NDArray[np.int64]]:
    try:
        with safe_open(shard, "np") as file:
            return json.loads(file.get_tensor("ids").tobytes()), file.get_tensor("stamps")
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"--features: {shard} is damaged ({error}).", "Delete it; its films are encoded again."
        ) from error
