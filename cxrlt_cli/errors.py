"""Everything that can go wrong on the user's side, each with the exit code that it ends the command with.

    CxrltError
    ├── OptionError       2   a flag, a YAML file or a combination of them
    ├── DataError         3   a CSV, a label, an id
    │   └── FilmError     3   one film that cannot be read
    ├── CheckpointError   4   a file of weights
    │   └── ModelError    4   a hub model that cannot be had
    ├── WorkerError       5   a training process that failed
    └── InstallError      2   a package or a system library that is missing

A message says what is wrong and where; the hint says what to do. Anything that is not a ``CxrltError`` is a bug in
cxrlt: exit code 1 and a traceback.
"""

import errno
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from cxrlt_cli.names import meant_path, nearest


class CxrltError(Exception):
    """An error with a way out."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class OptionError(CxrltError):
    exit_code = 2


class DataError(CxrltError):
    exit_code = 3


class FilmError(DataError):
    """One film that cannot be read: its path and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["FilmError"], tuple[Path, str]]:  # it comes home from worker processes
        return FilmError, (self.path, self.reason)


class CheckpointError(CxrltError):
    exit_code = 4


class ModelError(CheckpointError):
    pass


class WorkerError(CxrltError):
    exit_code = 5


class InstallError(CxrltError):
    exit_code = 2


def listed(items: Sequence[object], shown: int = 5) -> str:
    """``a, b, c`` for a message, cut after ``shown`` items with the number of the rest."""
    text = ", ".join(str(item) for item in items[:shown])
    return f"{text} and {len(items) - shown} more" if len(items) > shown else text


def missing_column(
    path: Path | str, column: str, columns: Sequence[str], flag: str = "--id-column", default: str = "ImageID"
) -> DataError:
    """That a file has no such column, with the nearest that it has.

    Where the user named the column already, it is the files of a command that call it differently.
    """
    near = nearest(column, columns)
    message = f"{path} has no column '{column}' (it has {listed(columns, 8)})."
    message += f" Did you mean {near}?" if near else ""
    if column == default:
        return DataError(message, f"Pass {flag} {shlex.quote(near)}." if near else f"Pass {flag} with its name.")
    passed = f"Pass {flag} {shlex.quote(near)}. " if near else ""
    return DataError(message, f"{passed}If the files of a command call it differently, rename the column in this one.")


def explain(error: BaseException) -> CxrltError | None:
    """The user's error behind an exception of the system or of a library, or None where it is not known."""
    if isinstance(error, CxrltError):
        return error
    if isinstance(error, ImportError) and "libGL" in str(error):
        return InstallError(
            f"OpenCV cannot be loaded: {error}.",
            "Install the system library (Debian and Ubuntu: apt-get install libgl1), or use the\n"
            "build without windows:\n"
            "  pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless",
        )
    if isinstance(error, OSError) and (known := _of_the_system(error)):
        return known
    if "Too many open files" in str(error) or "received 0 items of ancdata" in str(error):  # PyTorch's, of its readers
        return WorkerError("Too many files are open at once.", HINTS[errno.EMFILE])
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return WorkerError("The machine has too little memory.", HINTS[errno.ENOMEM])
    if "os error 28" in str(error) or "inline_container" in str(error):  # what safetensors and torch say of a full disk
        return OptionError("A file of weights could not be written whole: the disk is full.", "Pass another --out.")
    if type(error).__name__ == "OutOfMemoryError":  # torch's; it is not imported for a message
        return WorkerError(
            "The GPU has too little memory for this batch.",
            "Halve --batch-size. In training, --batch-size auto finds the largest that fits, and a step sees as many "
            "films.",
        )
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
        return WorkerError(
            "A process that reads films was ended from outside, most likely for lack of memory.",
            "Pass fewer --workers. In a container, give it more shared memory (docker run --shm-size).",
        )
    return None


PERMISSION = "Check its permissions, or pass another path."
HINTS = {
    errno.ENOSPC: "Make room, or write to another place.",
    errno.EDQUOT: "Make room, or write to another place.",
    errno.EACCES: PERMISSION,
    errno.EPERM: PERMISSION,
    errno.EROFS: "It is on a file system that can only be read: pass another path.",
    errno.EMFILE: "Pass fewer --workers, or raise the limit of this shell: ulimit -n 4096",
    errno.ENFILE: "Pass fewer --workers, or end other programs.",
    errno.ENOMEM: "Pass fewer --workers or a smaller --batch-size, or end other programs.",
    errno.EIO: "The disk or the network that it is on fails. What was written before is kept.",
    errno.ESTALE: "It was taken away on the server that it is on: run the command again.",
    errno.ENAMETOOLONG: "Pass a shorter path.",
    errno.ELOOP: "Its links lead in a circle: pass the file that is meant.",
    errno.EFBIG: "The file system, or a limit of this shell (ulimit -f), allows no larger file.",
}


def _of_the_system(error: OSError) -> CxrltError | None:
    """What the operating system refused, with the name of the file; None where that says nothing to a user."""
    number, name = error.errno, error.filename2 or error.filename
    if number in (errno.ENOSPC, errno.EDQUOT):
        return OptionError(f"No space left on the disk{f' while writing {name}' if name else ''}.", HINTS[number])
    if number in (errno.EMFILE, errno.ENFILE):
        return WorkerError(f"Too many files are open at once{f', at {name}' if name else ''}.", HINTS[number])
    if number == errno.ENOENT and not _has_folder():
        return OptionError("The folder that this command was started in is gone.", "Go to one that is there (cd).")
    if name is None or isinstance(name, int):
        text = f"A file cannot be read or written: {error.strerror}."
        return OptionError(text, HINTS[number]) if number in HINTS else None
    path = Path(os.fsdecode(name))
    if path.is_relative_to(Path(__file__).parent):  # of ours: a bug, or half an installation
        return None
    hint = HINTS.get(number or 0, "Pass another path.")
    if _is_cached(path):
        hint = "It is where cxrlt keeps what it can fetch or draw again: set XDG_CACHE_HOME to a folder of yours."
    if number == errno.ENOENT:
        return OptionError(f"{path} does not exist.{'' if _is_cached(path) else meant_path(path)}", hint)
    return OptionError(f"{path} cannot be used: {error.strerror}.", hint)


def _has_folder() -> bool:
    try:
        return bool(os.getcwd())  # noqa: PTH109 - Path.cwd() is the same, and this is its error
    except OSError:
        return False


def _is_cached(path: Path) -> bool:
    home = os.environ.get("HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(home or "/none") / ".cache")
    return path.is_relative_to(cache) or cache.is_relative_to(path)
