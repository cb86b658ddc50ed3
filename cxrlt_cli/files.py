"""Files that appear whole or not at all."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cxrlt_cli.errors import OptionError, explain


def cache_root() -> Path:
    """Where what can be made or fetched again is kept: below the user's cache folder.

    Raises OptionError where the user has no folder of his own.
    """
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "cxrlt"
    try:
        return Path.home() / ".cache" / "cxrlt"
    except RuntimeError as error:
        raise OptionError("This user has no home folder.", "Set XDG_CACHE_HOME to a folder that is kept.") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it is flushed and renamed over ``path`` when the block ends well.

    Raises OptionError where the disk is full or the path cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers make private files
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise explain(error) or OptionError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):  # where no file can be made, none needs to go
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def require_file(path: Path, flag: str, inputs: Iterable[Path | None] = ()) -> None:
    """Raise OptionError, before any work is done, where ``path`` cannot be written, or is a file that is read."""
    if path.is_dir():
        raise OptionError(f"{flag} {path} is a folder; it names a file.")
    for source in inputs:
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise OptionError(f"{flag} {path} is a file that this command reads.", "Pass another path.")
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
