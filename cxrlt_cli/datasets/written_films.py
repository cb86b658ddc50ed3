"""Films that lie in arrays or tables, written out as files, for every command reads films from files."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.errors import DataError

Film = tuple[str, Callable[[], bytes]]  # path below the folder, and how its file is made


def folder_for(options: DataImportOptions) -> Path:
    """Where films are written, and below which their ids are paths: ``--image-dir``, or beside the CSV."""
    if options.image_dir is not None:
        return options.image_dir
    folder = (options.append or options.out).parent
    while "{split}" in str(folder):
        folder = folder.parent
    return folder


def write_films(folder: Path, films: Callable[[], Iterable[Film]], dry_run: bool) -> list[str]:
    """Write films that are not there yet, each whole or not at all: the paths of all.

    ``films`` is gone through twice: first, those that are there are compared. Raises DataError where one is another
    picture, or two have one path; nothing is written then.
    """
    names = []
    seen: set[str] = set()
    for name, make in films():
        if name.lower() in seen:  # a disk may not tell capitals apart
            raise DataError(f"Two films would be written to {folder / name}.")
        seen.add(name.lower())
        names.append(name)
        path = folder / name
        if path.exists() and not _is_same(path, make()):
            raise DataError(
                f"{path} is there already, and is another film than the set's.",
                "Write the CSV to another folder, or name another with --image-dir: films are written below it.",
            )
    for name, make in () if dry_run else films():
        path = folder / name
        if not path.exists():
            _write(path, make())
    return names


def _is_same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _write(path: Path, data: bytes) -> None:
    """Not as ``files.replacing`` does, which waits for the disk: there may be 100,000, and each can be made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def told(folder: Path, names: Sequence[str]) -> str:
    """A note on where films are."""
    return f"Films are files below {folder}: {len(names):,}."
