"""Rows of text, from a CSV or a Parquet file, one at a time."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.files import TABLE_ENDINGS
from cxrlt_cli.names import shown
from cxrlt_cli.tables import parquet
from cxrlt_cli.tables.opening import open_text

FIRST_ROW = 2  # the header is row 1
MAX_ROW = 1_000_000  # characters of one row, which is held in memory
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_QUOTED = re.compile(r'"[^"]*"')


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The header, as row 1, then the rows that hold any text, with their numbers in a spreadsheet.

    Cells come without the spaces around them. Raises DataError as ``tables.label_table.read_csv`` says.
    """
    rows = enumerate(parquet.read_rows(path), 1) if parquet.holds_parquet(path) else _csv_rows(path)
    number, header = next(rows)
    names = [name.strip() for name in header]
    require_single(names, path)
    yield number, names
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield number, cells


class Layout(NamedTuple):
    """How a CSV is written: what stands between its cells, its header, and the lines down to its first row."""

    separator: str
    header: list[str]
    lines: int


def layout(path: Path) -> Layout:
    """The layout of a CSV, for readers of whole columns. Raises DataError as ``read_rows`` does for the header."""
    with open_text(path) as file:
        lines = _Lines(file, path)
        separator = _separator(lines, path)
        try:
            header = [name.strip() for name in next(csv.reader(lines, strict=True, delimiter=separator), [])]
        except csv.Error as error:
            raise _damaged(path, lines, separator, error) from error
    if not any(header):
        raise DataError(f"{path} has no header.", "It needs a header and one row a film.")
    require_single(header, path)
    return Layout(separator, header, lines.number)


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name, or Parquet by its first bytes."""
    return path.suffix.lower() in TABLE_ENDINGS or parquet.holds_parquet(path)


def require_single(names: Iterable[str], path: Path) -> None:
    """Raise DataError where two columns of a table have the same name."""
    doubled = [name for name, times in Counter(names).items() if times > 1 and name]
    if doubled:
        raise DataError(f"{path} has more than one column '{doubled[0]}'.", "Rename or remove the others.")


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The same as they stand in a CSV, with empty rows; rows are as wide as the header, for empty cells are no more."""
    with open_text(path) as file:
        lines = _Lines(file, path)
        separator = _separator(lines, path)
        reader = csv.reader(lines, strict=True, delimiter=separator)
        try:
            header = next(reader, [])
            lines.begin_row()
            if not any(name.strip() for name in header):
                what = "begins with a line without names" if lines.number else "is empty"
                raise DataError(f"{path} {what}.", "It needs a header and one row a film.")
            named = max(index for index, name in enumerate(header, 1) if name.strip())
            yield 1, header
            for number, row in enumerate(reader, FIRST_ROW):
                lines.begin_row()
                if len(row) != len(header):
                    row = _fitted(row, len(header), named, f"{path}, line {lines.number}", separator)
                yield number, row
        except csv.Error as error:
            raise _damaged(path, lines, separator, error) from error


def _damaged(path: Path, lines: "_Lines", separator: str, error: csv.Error) -> DataError:
    hint = f"Is it a CSV with {SEPARATORS[separator]} and closed quotes?"
    return DataError(f"{path}, line {lines.number}: {error}.", hint)


def _fitted(row: list[str], width: int, named: int, where: str, separator: str) -> list[str]:
    """A row in the header's width: cells without text may be missing below columns without a name, or be too many."""
    cells = [cell.strip() for cell in row]
    if not any(cells) or (len(row) > width and not any(cells[width:])) or named <= len(row) < width:
        return [*row[:width], *[""] * (width - len(row))]
    what = SEPARATORS[separator].removesuffix("s")
    raise DataError(
        f"{where}: {len(row)} cells, but the header has {width}.", f"A cell that holds a {what} must stand in quotes."
    )


def _separator(lines: "_Lines", path: Path) -> str:
    """What stands between the cells: as Excel's line ``sep=;`` says, which is no row, or as the header shows.

    Where the header has several such marks, the first row of films must fit one of them alone.
    """
    first = lines.look()
    said = first.rstrip("\r\n").strip('"')
    if said[:4].lower() == "sep=":
        mark = said[4:5]
        if mark not in SEPARATORS or said[5:].strip(" ,;\t"):
            raise DataError(f"{path} begins with {shown(said)}, which names no separator.", "Remove that line.")
        lines.skip()
        return mark
    bare = _QUOTED.sub("", first)
    possible = [mark for mark in SEPARATORS if mark in bare]
    if len(possible) < 2:
        return next(iter(possible), ",")
    row = _QUOTED.sub("", lines.look(1))
    fitting = [mark for mark in possible if row.count(mark) == bare.count(mark)]
    if len(fitting) == 1:
        return fitting[0]
    kinds = [SEPARATORS[mark] for mark in fitting or possible]
    raise DataError(
        f"{path}: {listed(kinds)} could all be what separates its columns.",
        f"Say which in a line above the header, such as 'sep={(fitting or possible)[0]}', or rename a column.",
    )


class _Lines(Iterator[str]):
    """Lines for ``csv.reader``, which would take a row of any length into memory: a line, or a cell that never ends."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file, self._path = file, path
        self._ahead: list[str] = []
        self.number = 0  # of the last line that was given, in the file
        self.begin_row()

    def begin_row(self) -> None:
        self._left = MAX_ROW

    def look(self, ahead: int = 0) -> str:
        """A line that has not been given yet; empty after the end."""
        while len(self._ahead) <= ahead:
            self._ahead.append(self._file.readline(MAX_ROW + 1))
        return self._ahead[ahead]

    def skip(self) -> None:
        """Pass over a line that is no row."""
        self._ahead.pop(0)
        self.number += 1

    def __next__(self) -> str:
        text = self._ahead.pop(0) if self._ahead else self._file.readline(self._left + 1)
        if not text:
            raise StopIteration
        self.number += 1
        self._left -= len(text)
        if self._left < 0:
            raise DataError(
                f"{self._path}, line {self.number}: the row has more than {MAX_ROW:,} characters.",
                "Is it a CSV, with one film a line? A quote that is not closed makes one row of many lines.",
            )
        if "\0" in text:
            raise DataError(
                f"{self._path}, line {self.number} holds a NUL, which no text does.",
                "Is it a CSV? If it is UTF-16 ('Unicode text'), save it as UTF-8.",
            )
        return text
