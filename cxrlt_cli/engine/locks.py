"""One command at a time writes to a file or a folder: of two that are started together, the second is told so."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import is_stream, real


@contextmanager
def lock_outputs(*outputs: tuple[str, Path | None]) -> Iterator[None]:
    """As long as this lasts, no other command writes to these files, each given with its flag.

    When it ends well, what a killed command left of its rows beside them goes: they belong to what was replaced.
    Raises OptionError where another command is writing there.
    """
    files = [(flag, path) for flag, path in outputs if path is not None and not is_stream(path)]
    with ExitStack() as stack:
        for flag, path in files:
            target = real(path)
            stack.callback(_remove_empty, [folder for folder in target.parents if not folder.exists()])
            target.parent.mkdir(parents=True, exist_ok=True)
            told = f"{flag} {path}: another command is writing there."
            stack.enter_context(held(target.with_name(f".{target.name}.lock"), told))
        yield
        for _, path in files:
            for rows in partial_paths(path):
                rows.unlink(missing_ok=True)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Those that were made for a file that never came, the innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def partial_paths(path: Path) -> tuple[Path, Path]:
    """Beside a table that grows: its rows, and what is known of them."""
    target = real(path)
    return target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.partial.json")


@contextmanager
def held(file: Path, told: str) -> Iterator[None]:
    """A lock on ``file``, which is gone afterwards; one that a killed command left is free.

    Raises OptionError with ``told`` where another process has it. Where the disk knows no locks, there is none.
    """
    try:
        lock = _lock(file)
    except Timeout as error:
        raise OptionError(told, "Wait for its end, or pass another path.") from error
    except NotImplementedError:
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            with suppress(OSError):  # Windows: somebody is just asking for it
                file.unlink()  # before it is free: who gets it now notices
            lock.release()


def _lock(file: Path) -> FileLock:
    """The lock on the file that has this name now: whoever had it may have removed the one that was opened."""
    while True:
        with file.open("ab") as there:
            lock = FileLock(file)
            lock.acquire(timeout=0)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(there.fileno()), file.stat()):
                    return lock
            lock.release()
