"""Rows of text, from a CSV or a Parquet file."""

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from cxrlt_cli.data import parquet
from cxrlt_cli.errors import DataError

FIRST_ROW = 2  # the header is row 1
MAX_ROW = 1_000_000  # characters of one row, which is held in memory


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The header, as row 1, then the rows that hold any text, with their numbers in a spreadsheet.

    Cells come without the spaces around them. Raises DataError as ``data.table.read_csv`` says.
    """
    rows = enumerate(parquet.read_rows(path), 1) if parquet.holds_parquet(path) else _csv_rows(path)
    number, header = next(rows)
    names = [name.strip() for name in header]
    doubled = [name for name, times in Counter(names).items() if times > 1 and name]
    if doubled:
        raise DataError(f"{path} has more than one column '{doubled[0]}'.", "Rename or remove the others.")
    yield number, names
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield number, cells


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The same as they stand in a CSV, with empty rows of any length."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _Lines(file, path)
            reader = csv.reader(lines, strict=True)
            header = next(reader, [])
            lines.begin_row()
            if not header:
                raise DataError(f"{path} is empty.", "It needs a header and one row a film.")
            if len(header) == 1 and (separator := next((mark for mark in ";\t" if mark in header[0]), None)):
                kind = "semicolons" if separator == ";" else "tabs"
                raise DataError(f"{path} is separated by {kind}, not by commas.", "Save it as a CSV with commas.")
            yield 1, header
            for number, row in enumerate(reader, FIRST_ROW):
                lines.begin_row()
                if len(row) != len(header) and any(cell.strip() for cell in row):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} cells, but the header has {len(header)}.",
                        "A cell that holds a comma must stand in quotes.",
                    )
                yield number, row
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the path of the CSV.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a CSV.") from error
    except UnicodeDecodeError as error:
        if error.object.startswith(b"PK\x03\x04"):
            raise DataError(f"{path} is an Excel workbook, not a CSV.", "Save it as 'CSV UTF-8'.") from error
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason} in line {_undecodable_line(path)}).",
            "Is it a CSV? Then save it as UTF-8.",
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}.", "Is it a CSV with commas and closed quotes?"
        ) from error


class _Lines(Iterator[str]):
    """Lines for ``csv.reader``, which would take a row of any length into memory: a line, or a cell that never ends."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file, self._path = file, path
        self._number = 0
        self.begin_row()

    def begin_row(self) -> None:
        self._left = MAX_ROW

    def __next__(self) -> str:
        text = self._file.readline(self._left + 1)
        if not text:
            raise StopIteration
        self._number += 1
        self._left -= len(text)
        if self._left < 0:
            raise DataError(
                f"{self._path}, line {self._number}: the row has more than {MAX_ROW:,} characters.",
                "Is it a CSV, with one film a line? A quote that is not closed makes one row of many lines.",
            )
        if "\0" in text:
            raise DataError(
                f"{self._path}, line {self._number} holds a NUL, which no text does.",
                "Is it a CSV? If it is UTF-16 ('Unicode text'), save it as UTF-8.",
            )
        return text


def _undecodable_line(path: Path) -> int:
    """The line of the first byte that is not UTF-8: a decoder that reads ahead does not know."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as file:
        while chunk := file.read(2**16):
            try:
                line += decoder.decode(chunk).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
    return line
