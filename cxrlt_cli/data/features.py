"""Features of films, kept in a folder: encoded once, scored with any words.

They lie in shards, whose names end with a checksum of their bytes. Each film has a checksum besides: of a shard that is
damaged, the films that are not are kept, and the others are encoded again.

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
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cxrlt_cli.documents import parse_json
from cxrlt_cli.errors import DataError
from cxrlt_cli.files import remove_leftovers, replacing, write_text

KEY = "key.json"
FORMAT = 2  # 1, of cxrlt 0.1.0, has no checksums
SHARD_FILMS, SHARD_SECONDS = 8192, 60.0  # a shard is written when it is full, or this old: what a stop can lose


class FeatureCache:
    """Features ``[N, D]`` of films by id, in float16, below ``folder`` in a folder that belongs to ``key``.

    ``key``: all that decides a film's features. A film whose file has changed, by its size or its time, is not found.
    Shards appear whole or not at all, so commands may be stopped, and may share a folder. ``told``: what is to be said
    of the features that were found.

    Raises DataError where what says what they belong to is damaged.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.told: list[str] = []
        self._folder, text = _home(folder, {"format": FORMAT, **key})
        if not self._folder.exists() and (before := _home(folder, key)[0]).is_dir():
            self.told.append(f"{before} is of cxrlt 0.1.0, whose features carry no checksums: they are encoded again.")
        if not (self._folder / KEY).exists():
            write_text(self._folder / KEY, text)
        elif (self._folder / KEY).read_bytes() != text.encode():
            raise DataError(f"--features: {self._folder / KEY} is damaged, or of another format.", "Delete its folder.")
        remove_leftovers(self._folder)
        self._places: dict[str, tuple[int, int, int, int]] = {}  # id: size, time, shard, row
        self._pending: list[tuple[list[str], NDArray[np.int64], NDArray[np.float16]]] = []
        self._since = time.monotonic()
        self._shards: list[Path] = []
        for shard in sorted(self._folder.glob("*.safetensors")):
            data = _bytes(shard)
            if _is_whole(shard, data):
                self._enter(shard, *_content(data)[:2])
            else:
                self._rescue(shard, data)

    def _enter(self, shard: Path, ids: Sequence[str], stamps: NDArray[np.int64]) -> None:
        """Find the films of a shard from now on."""
        for row, (film, (size, changed)) in enumerate(zip(ids, stamps.tolist(), strict=True)):
            self._places[film] = size, changed, len(self._shards), row
        self._shards.append(shard)

    def _rescue(self, shard: Path, data: bytes) -> None:
        """Put the films of a damaged shard that are whole into another, and take it away."""
        ids, stamps, features = _sound(data)
        self.told.append(
            f"--features: {shard} is damaged: it has {len(ids):,} whole films, the others are encoded again."
        )
        if ids:
            self._pending.append((ids, stamps, features))
            self._enter(self._write(shard.stem.rpartition("-")[0]), ids, stamps)
        shard.unlink(missing_ok=True)

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
            data = _bytes(self._shards[number])
            if not _is_whole(self._shards[number], data):
                raise DataError(
                    f"--features: {self._shards[number]} was damaged while this command ran.",
                    "Run it again: what is damaged is encoded again.",
                )
            yield rows[here], _content(data)[2][places[here, 1]].astype(np.float32)

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
            self._write(f"{time.time_ns()}-{os.getpid()}")
        self._since = time.monotonic()

    def _write(self, place: str) -> Path:
        """A shard of what waits. ``place`` begins its name: what a later one says of a film, by its name, is so."""
        names = [name for films, _, _ in self._pending for name in films]
        stamps = np.concatenate([stamps for _, stamps, _ in self._pending])
        features = np.concatenate([features for _, _, features in self._pending])
        content = {
            "ids": np.frombuffer(json.dumps(names).encode(), np.uint8),
            "stamps": stamps,
            "features": features,
            "digests": _digests(names, stamps, features),
        }
        data = save(content)
        name = f"{place}-{xxhash.xxh3_64_hexdigest(data)}.safetensors"
        with replacing(self._folder / name) as temporary:
            temporary.write_bytes(data)
        self._pending, self._since = [], time.monotonic()
        return self._folder / name


def stamps(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Size in bytes and time of the last change in ns of each file, ``[N, 2]``."""
    states = [path.stat() for path in paths]
    return np.array([(state.st_size, state.st_mtime_ns) for state in states], np.int64).reshape(-1, 2)


def _home(folder: Path, key: Mapping[str, Any]) -> tuple[Path, str]:
    """Where the features of a key lie, and what stands there to say so."""
    text = json.dumps(dict(key), sort_keys=True, indent=2) + "\n"
    return folder / hashlib.sha256(text.encode()).hexdigest()[:16], text


def _bytes(shard: Path) -> bytes:
    try:
        return shard.read_bytes()
    except OSError as error:
        raise DataError(
            f"--features: {shard} cannot be read: {error.strerror}.",
            "Another command may have mended it: run it again.",
        ) from error


def _is_whole(shard: Path, data: bytes) -> bool:
    return shard.stem.rpartition("-")[2] == xxhash.xxh3_64_hexdigest(data)


def _content(data: bytes) -> tuple[list[str], NDArray[np.int64], NDArray[np.float16]]:
    """Ids, stamps and features of a shard."""
    content = load(data)
    return parse_json(content["ids"].tobytes()), content["stamps"], content["features"]


def _sound(data: bytes) -> tuple[list[str], NDArray[np.int64], NDArray[np.float16]]:
    """Those of a damaged shard that are what their checksums say; none where nothing can be told from it."""
    try:
        ids, stamps, features = _content(data)
        whole = _digests(ids, stamps, features) == load(data)["digests"]
        return [film for film, is_whole in zip(ids, whole, strict=True) if is_whole], stamps[whole], features[whole]
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError):
        return [], np.empty((0, 2), np.int64), np.empty((0, 0), np.float16)


def _digests(ids: Sequence[str], stamps: NDArray[np.int64], features: NDArray[np.float16]) -> NDArray[np.uint64]:
    """A checksum of each film: of its id, its stamp and its features. Raises ValueError where they are not as many."""
    rows = zip(ids, stamps, features, strict=True)
    return np.array(
        [xxhash.xxh3_64_intdigest(film.encode() + stamp.tobytes() + row.tobytes()) for film, stamp, row in rows],
        np.uint64,
    )
