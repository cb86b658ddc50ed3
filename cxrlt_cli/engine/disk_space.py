"""Whether a disk has room for what a command will write: told before the work, not after it."""

import shutil
from pathlib import Path

from cxrlt_cli.engine.locks import partial_paths
from cxrlt_cli.engine.reporter import size
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import is_stream, real

CELL = 10  # bytes of a probability in a CSV, at the least
ID = 8  # bytes of an id, at the least


def require_room(flag: str, path: Path, num_bytes: int, what: str) -> None:
    """Raise OptionError where the disk of ``path``, which need not be there yet, has fewer bytes left."""
    free = free_bytes(real(path))
    if free is not None and num_bytes > free:
        raise OptionError(
            f"{flag} {path}: {what} take about {size(num_bytes)}, and the disk has {size(free)} left.",
            f"Make room, or pass another {flag}.",
        )


def free_bytes(path: Path) -> int | None:
    """What the disk of the first folder of ``path`` that is there has left; None where it does not say."""
    for folder in (path, *path.parents):
        if folder.is_dir():
            usage = shutil.disk_usage(folder)
            return usage.free if usage.total else None
    return None


def require_room_for_rows(flag: str, path: Path, num_bytes: int, what: str) -> None:
    """For what grows beside ``path``; rows that a stop left there are part of it, or make room. Raises OptionError."""
    if is_stream(path):
        return
    rows, _ = partial_paths(path)
    there = rows.stat().st_size if rows.is_file() else 0
    require_room(flag, path, num_bytes - there, what)


def require_room_for_table(flag: str, path: Path | None, num_films: int, num_columns: int) -> None:
    """For a CSV of probabilities that grows; raises OptionError."""
    if path is not None:
        num_bytes = num_films * (ID + num_columns * CELL)
        require_room_for_rows(flag, path, num_bytes, f"predictions of {num_films:,} films")
