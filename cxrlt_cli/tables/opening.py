"""The text of a table on the disk: plain, in gzip, in UTF-8 or UTF-16; other files are named for what they are."""

import codecs
import gzip
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from cxrlt_cli.errors import DataError
from cxrlt_cli.names import meant_path

GZIP = b"\x1f\x8b"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
ZIP = b"PK\x03\x04"
LOOK = 512  # bytes at the start, by which a file is known
FREE, RATIO = 2**26, 250  # bytes that any gzip may hold, and the most for each of its own beyond: text takes 5 to 100

_PIPES: set[tuple[Path, int, int]] = set()  # that were read

EXCEL = "Save it as 'CSV UTF-8'."
UNPACK = "Unpack it first; of packed files, .csv.gz is read as it is."
TABLE = "It is to be the table that names the films."
OTHERS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", EXCEL),
    (b"BZh", "a bzip2 file", UNPACK),
    (b"\xfd7zXZ\0", "an xz file", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"%PDF-", "a PDF", "Take the table out of it, as a CSV in UTF-8."),
    (b"\x89PNG", "a PNG picture", TABLE),
    (b"\xff\xd8\xff", "a JPEG picture", TABLE),
    (b"\x89HDF", "an HDF5 file", "Save the table as CSV or Parquet."),
    (b"\x93NUMPY", "an array of NumPy", "Save the table as CSV or Parquet."),
    (b"SQLite format 3\0", "an SQLite database", "Save the table as CSV or Parquet."),
    (b"ARROW1", "a Feather file", "Save the table as CSV or Parquet."),
    (b"\x80\x04\x95", "a pickle of Python", "Save the table as CSV or Parquet."),
    (b"<!doctype html", "a web page", "Was a page of login or of errors saved in place of the file?"),
    (b"<html", "a web page", "Was a page of login or of errors saved in place of the file?"),
    (b"<?xml", "XML", "Save the table as a CSV in UTF-8."),
    (b"{", "JSON", "Save the table as a CSV in UTF-8: a header, then one row a film."),
    (b"[{", "JSON", "Save the table as a CSV in UTF-8: a header, then one row a film."),
)


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The text of a table, its line ends as they are; what is read of a gzip is never all in memory.

    Raises DataError where the file is missing, is another kind of file, is damaged, inflates beyond measure or is not
    in UTF-8 or UTF-16.
    """
    _require_unread(path)
    try:
        with path.open("rb") as file:
            content: IO[bytes] = file
            start = file.peek(LOOK)
            if start.startswith(GZIP):
                content = io.BufferedReader(_Inflated(file, path))
                start = content.peek(LOOK)
            _refuse_others(path, start)
            encoding = "utf-16" if start.startswith(UTF_16) else "utf-8-sig"
            with io.TextIOWrapper(content, encoding=encoding, newline="") as text:
                yield text
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.{meant_path(path)}", "Check the path of the CSV.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a CSV.", f"{TABLE} Their folder goes with --image-dir.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}).", "Fetch it again.") from error
    except UnicodeDecodeError as error:
        is_utf_8 = error.encoding == "utf-8"
        what = f"is {'not UTF-8' if is_utf_8 else 'damaged UTF-16'} text"
        where = _place_of_undecodable(path) if is_utf_8 else ""
        raise DataError(f"{path} {what} ({error.reason}{where}).", "Is it a CSV? Then save it as UTF-8.") from error


def _require_unread(path: Path) -> None:
    """Raise DataError where a table comes through a pipe that this command has read already: it would look empty."""
    try:
        state = path.stat()
    except OSError:
        return
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        pipe = path, state.st_dev, state.st_ino
        if pipe in _PIPES:
            raise DataError(f"{path} is a pipe, and this command reads it twice.", "Save the table as a file.")
        _PIPES.add(pipe)


class _Inflated(io.RawIOBase):
    """What a gzip holds; raises DataError where that is far more than a table can be."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._gzip = gzip.GzipFile(fileobj=file)
        self._size = 0
        self._packed = path.stat().st_size if path.is_file() else 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        number = self._gzip.readinto(buffer)
        self._size += number
        if self._size > FREE + RATIO * self._packed:
            raise DataError(
                f"{self._path} is a gzip file that inflates to more than {self._size:,} bytes.",
                "No table is that repetitive. If it is one, unpack it first.",
            )
        return number


def _refuse_others(path: Path, start: bytes) -> None:
    if start.startswith(GZIP):
        raise DataError(f"{path} is a gzip file in a gzip file.", "Unpack it first.")
    if start.startswith(ZIP):
        kind, hint = _kind_of_zip(path)
        raise DataError(f"{path} is {kind}, not a CSV.", hint)
    if start[7:9] == b"\0{" and not start.startswith(UTF_16):  # the length of its header, and the header
        raise DataError(f"{path} is a checkpoint (safetensors), not a CSV.", TABLE)
    if start[128:132] == b"DICM":
        raise DataError(f"{path} is a DICOM file, not a CSV.", TABLE)
    lower = start.removeprefix(codecs.BOM_UTF8).lstrip()[:32].lower()
    for magic, kind, hint in OTHERS:
        if lower.startswith(magic.lower()):
            raise DataError(f"{path} is {kind}, not a CSV.", hint)


def _kind_of_zip(path: Path) -> tuple[str, str]:
    """And what to do."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return "an Excel workbook or another ZIP file", EXCEL
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook", EXCEL
    if any(name.endswith("/data.pkl") for name in names):
        return "a checkpoint (PyTorch)", TABLE
    return ("an OpenDocument table", EXCEL) if "content.xml" in names else ("a ZIP archive", UNPACK)


def _place_of_undecodable(path: Path) -> str:
    """The line of the first byte that is not UTF-8: a decoder that reads ahead does not know. A pipe is gone."""
    if not path.is_file():
        return ""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as file:
        content = io.BufferedReader(gzip.GzipFile(fileobj=file)) if file.peek(2).startswith(GZIP) else file
        while chunk := content.read(2**16):
            try:
                line += decoder.decode(chunk).count("\n")
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                break
    return f" in line {line}"
