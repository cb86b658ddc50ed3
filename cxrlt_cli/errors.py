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
from collections.abc import Sequence
from pathlib import Path


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
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OptionError(
            f"No space left on the disk while writing {error.filename or 'a file'}.", "Pass another --out."
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OptionError(f"{error.filename}: {error.strerror}.", "Check its permissions, or pass another path.")
    if "os error 28" in str(error) or "inline_container" in str(error):  # what safetensors and torch say of a full disk
        return OptionError("A file of weights could not be written whole: the disk is full.", "Pass another --out.")
    if isinstance(error, IsADirectoryError | NotADirectoryError | FileExistsError):
        return OptionError(f"{error.filename2 or error.filename}: {error.strerror}.", "Pass another path.")
    if type(error).__name__ == "OutOfMemoryError":  # torch's; it is not imported for a message
        return WorkerError(
            "The GPU has too little memory for this batch.",
            "Halve --batch-size and double --accumulate: a step then sees as many films. Or lower --image-size.",
        )
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
        return WorkerError(
            "A process that reads films was ended from outside, most likely for lack of memory.",
            "Pass fewer --workers. In a container, give it more shared memory (docker run --shm-size).",
        )
    return None
