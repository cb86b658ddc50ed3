"""Files that appear whole or not at all, wherever a path leads: to a file, by links, or into a pipe."""

import hashlib
import io
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from cxrlt_cli.errors import OptionError, explain

TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".gz", ".parquet")

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_LEFT = re.compile(r"\.(?P<name>.+)\.(?P<process>\d{1,10})(-(?P<machine>[0-9a-f]{8}))?\.tmp", re.DOTALL)
_STALE = 24 * 3600  # seconds without a change, after which nobody on another machine is writing any more


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
    """A temporary path to write to; when the block ends well, ``path`` has what was written, and not before.

    A file is written beside ``path`` and renamed over it; where ``path`` is a link, over what it leads to. What is
    written to a stream (``is_stream``) passes through it: nothing is ever renamed over a pipe or a device.

    Raises OptionError where the disk is full or the path cannot be written.
    """
    try:
        with _through(path) if is_stream(path) else _beside(real(path)) as temporary:
            yield temporary
    except OSError as error:
        raise explain(error) or OptionError(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    _require_ordinary(path, "")
    temporary = working_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers make private files
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):  # where no file can be made, none needs to go
            temporary.unlink(missing_ok=True)


@contextmanager
def _through(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cxrlt-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        with temporary.open("rb") as file, _open_stream(path) as stream:
            shutil.copyfileobj(file, stream)


def is_stream(path: Path) -> bool:
    """Whether what is written to ``path`` passes through: a pipe, a terminal, ``/dev/null``, ``/dev/stdout``."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _descriptor(path: Path) -> int | None:
    """The number of an open file of this process that a path stands for; ``/dev/stdout`` may well be a plain file."""
    text = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow it to what is open there
    found = _DESCRIPTOR.fullmatch(text)
    return int(found[1]) if found else _STANDARD.get(text)


def _open_stream(path: Path) -> BinaryIO:
    number = _descriptor(path)
    if number is None:
        return path.open("wb")
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return os.fdopen(os.dup(number), "wb")


def real(path: Path) -> Path:
    """Where a path leads, by way of links, whether or not anything is there yet."""
    return Path(os.path.realpath(path))


def working_path(path: Path) -> Path:
    """Where this process makes what ``path`` becomes when it is whole; what killed ones left there is removed."""
    remove_leftovers(path.parent, path.name)
    return path.with_name(f".{path.name}.{os.getpid()}-{_machine()}.tmp")


@cache  # once a path is enough: what is left there later belongs to processes that lived when this one began
def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove files and folders in which killed commands made ``name`` (None: anything), of living ones none."""
    with suppress(OSError):  # what cannot be looked at, or removed, does no harm
        for left in list(folder.iterdir()):
            found = _LEFT.fullmatch(left.name)
            if found and name in (None, found["name"]) and not _lives(left, int(found["process"]), found["machine"]):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)


def _lives(left: Path, process: int, machine: str | None) -> bool:
    """Whether whoever made a temporary file may still be at it. Of another machine, its last change alone tells."""
    if machine not in (None, _machine()) or sys.platform == "win32":  # where asking for a process can end it
        return time.time() - left.lstat().st_mtime < _STALE
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@cache
def _machine() -> str:
    """Tells apart machines whose processes may have the same numbers: containers too, and after a restart."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=4).hexdigest()


def open_standard_streams() -> None:
    """Have something behind stdin, stdout and stderr where whoever started this process closed them.

    Or the next file that is opened, of results, would get the number of stdout and what is printed to that. For before
    anything is opened. Stdout then writes out what its encoding lacks, as stderr does: a pipe on Windows has cp1252.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)  # gets the first number that is free: mostly this very one
            if nothing != number and not _is_open(number):
                os.dup2(nothing, number)
                os.close(nothing)
                nothing = number
            os.set_inheritable(nothing, True)  # for the processes that this one starts
            setattr(sys, name, os.fdopen(nothing, mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def require_no_labels(predictions: Iterable[Path], csv: Path | None) -> None:
    """Raise OptionError where a file is named as predictions and as the labels that these are held against."""
    for path in predictions:
        if csv is not None and real(path) == real(csv):
            raise OptionError(f"{path} is named as predictions and as --csv.", "Pass what a model predicted.")


def require_file(path: Path, flag: str, inputs: Iterable[Path | None] = ()) -> None:
    """Raise OptionError, before any work is done, where ``path`` cannot be written, or is a file that is read."""
    if path.is_dir():
        raise OptionError(f"{flag} {path} is a folder; it names a file.")
    if is_stream(path):
        number = _descriptor(path)
        if not (os.access(path, os.W_OK) if number is None else _is_open(number)):
            raise OptionError(f"{flag} {path} cannot be written to.", "Pass another path.")
        return
    target = real(path)
    if target.is_symlink():
        raise OptionError(f"{flag} {path} is a link that leads back to itself.", "Pass another path.")
    _require_ordinary(target, f"{flag} ")
    for source in inputs:
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise OptionError(f"{flag} {path} is a file that this command reads.", "Pass another path.")
    for folder in target.parents:
        if folder.exists():
            if not folder.is_dir():
                raise OptionError(f"{flag} {path}: {folder} is a file, not a folder.")
            if not os.access(folder, os.W_OK):
                raise OptionError(f"{flag} {path}: {folder} cannot be written to.", "Pass another path.")
            return


def _require_ordinary(path: Path, flag: str) -> None:
    """Raise OptionError where a path is something that neither is a file nor lets pass what is written to it."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kinds = {stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a disk", stat.S_IFLNK: "a link that leads nowhere"}
        kind = kinds.get(stat.S_IFMT(mode), "no file")
        raise OptionError(f"{flag}{path} is {kind}, which cannot be written as a file.", "Pass another path.")


def write_text(path: Path, text: str) -> None:
    """``text`` in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def finish(grown: Path, path: Path) -> None:
    """Give a file that grew, on the disk of ``path``, its name; it is gone then."""
    if is_stream(path):
        with replacing(path) as temporary:
            shutil.copyfile(grown, temporary)
        grown.unlink()
    else:
        target = real(path)
        _require_ordinary(target, "")
        grown.replace(target)
