"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrlt_cli.errors import OptionError, explain


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it is flushed and renamed over ``path`` when the block ends well.

    Raises OptionError where the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        known = explain(error)
        if known is None:
            raise
        raise known from error
    finally:
        temporary.unlink(missing_ok=True)


def require_file(path: Path, flag: str) -> None:
    """Raise OptionError, before any work is done, where no file can be written at ``path``."""
    if path.is_dir():
        raise OptionError(f"{flag} {path} is a folder; it names a file.")
    for folder in path.parents:
        if folder.exists():
            if not folder.is_dir():
                raise OptionError(f"{flag} {path}: {folder} is a file, not a folder.")
            if not os.access(folder, os.W_OK):
                raise OptionError(f"{flag} {path}: {folder} cannot be written to.", "Pass another path.")
            return


def write_text(path: Path, text: str) -> None:
    """``text`` in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
