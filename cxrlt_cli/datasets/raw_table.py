"""Label files as they are, as columns of text: CSV, TSV, gzip, Parquet, JSON and JSON lines."""

import gzip
import json
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, listed, missing_column
from cxrlt_cli.names import shown
from cxrlt_cli.tables import parquet
from cxrlt_cli.tables.columns import nameless
from cxrlt_cli.tables.opening import GZIP, open_text
from cxrlt_cli.tables.rows import Layout, layout, read_rows

Texts = NDArray[np.object_]
Bytes = NDArray[np.uint8]
QUOTES = "A cell that holds a separator must stand in quotes."
CUT = "Was the file cut short? Fetch it again."
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class RawTable:
    """A file of N rows: columns of text without the spaces around them; a missing cell is an empty one."""

    path: Path
    columns: dict[str, Texts]  # [N] each
    first_row: int = 2  # of a spreadsheet; 1 for lines without a header
    kept: NDArray[np.intp] | None = None  # the places that rows had in the file, where some were left out

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> Texts:
        """A column ``[N]``; raises DataError where there is none of this name."""
        if name not in self.columns:
            raise missing_column(self.path, name, list(self.columns), default="")
        return self.columns[name]

    @property
    def header(self) -> list[str]:
        return list(self.columns)

    def where(self, row: int) -> str:
        """File and row, for a message."""
        return f"{self.path}, row {self.first_row + int(row if self.kept is None else self.kept[row])}"

    def rows(self, keep: NDArray[Any]) -> "RawTable":
        places = np.arange(len(self)) if self.kept is None else self.kept
        return replace(self, columns={name: cells[keep] for name, cells in self.columns.items()}, kept=places[keep])


def read_raw(path: Path) -> RawTable:
    """A label file, whatever it is packed in.

    Raises DataError as ``tables.opening.open_text`` does, and where a row has more or fewer cells than the header, a
    column is doubled, or a JSON holds no records.
    """
    if path.name.lower().removesuffix(".gz").endswith(JSON_ENDINGS):
        return _from_json(path)
    if parquet.holds_parquet(path):
        rows = read_rows(path)
        _, header = next(rows)
        cells = [row for _, row in rows]
        return RawTable(path, dict(zip(header, _columns(cells, len(header)), strict=True)))
    return _from_csv(path)


def raw_header(path: Path) -> list[str]:
    """The names of a file's columns; of a JSON's first record."""
    if path.name.lower().removesuffix(".gz").endswith(JSON_ENDINGS):
        return _from_json(path).header
    if parquet.holds_parquet(path):
        return next(read_rows(path))[1]
    return layout(path).header


def distinct(cells: Texts) -> tuple[NDArray[np.intp], list[str]]:
    """Which of the values, in the order of their first rows, each cell holds ``[N]``; and the values."""
    codes, values = pd.factorize(cells)
    return codes, [str(value) for value in values]


def mapped(cells: Texts, meaning: dict[str, str]) -> Texts:
    """Cells ``[N]`` by a table of values; those that it lacks stay as they are."""
    codes, values = distinct(cells)
    return np.array([meaning.get(value, value) for value in values], object)[codes]


def _from_csv(path: Path) -> RawTable:
    plan = layout(path)
    try:
        columns = _read_fast(path, plan)
    except _UnusualError:
        rows = read_rows(path)
        next(rows)
        columns = _columns([row for _, row in rows], len(plan.header))
    named = {
        name or nameless(place): cells
        for place, (name, cells) in enumerate(zip(plan.header, columns, strict=True))
        if name or (cells != "").any()
    }
    return _without_blank_rows(RawTable(path, named))


def _without_blank_rows(table: RawTable) -> RawTable:
    """Without the rows that hold no text at all."""
    cells = iter(table.columns.values())
    blank = next(cells, texts([])) == ""
    for column in cells:
        if not blank.any():
            return table
        blank &= column == ""
    return table.rows(~blank)


class _UnusualError(Exception):
    """A quote within a cell that does not begin with one, or lines that CR alone ends: to be read by slower rules."""


def _read_fast(path: Path, plan: Layout) -> list[Texts]:
    width = len(plan.header)
    with open_text(path) as text, warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        for _ in range(plan.lines):
            text.readline()
        try:
            frame = pd.read_csv(
                _Rows(text, path, plan),  # type: ignore[call-overload]
                sep=plan.separator,
                header=None,
                names=range(width + 1),  # one more, which must be empty: without it, pandas would shift the rows
                index_col=False,
                dtype=object,
                keep_default_na=False,
                skip_blank_lines=False,
            )
        except pd.errors.ParserWarning as error:
            raise DataError(f"{path}: a row has more cells than the header, which has {width}.", QUOTES) from error
        except pd.errors.EmptyDataError:
            return [texts([]) for _ in plan.header]
        except pd.errors.ParserError as error:
            raise DataError(f"{path}: {str(error).removeprefix('Error tokenizing data. C error: ')}") from error
    beyond = np.flatnonzero(frame[width].to_numpy(object) != "")
    if len(beyond):
        raise DataError(f"{path}, row {beyond[0] + 2}: more cells than the header, which has {width}.", QUOTES)
    return [_stripped(frame[place].to_numpy(object)) for place in range(width)]


class _Rows:
    """Text on its way to pandas, which would fill up a row that has lost cells in silence: that is an error here.

    Cells are told by the parity of quotes, which holds where one stands at a cell's borders alone, or doubled.
    """

    def __init__(self, text: TextIO, path: Path, plan: Layout) -> None:
        self._text, self._path = text, path
        self._mark = ord(plan.separator)
        self._least = max(place for place, name in enumerate(plan.header) if name)  # marks in a row
        self._width = len(plan.header)
        self._row, self._marks, self._length = 1, 0, 0  # of what began and has not ended yet
        self._quotes, self._last = 0, ord("\n")  # all so far, and the character before

    def __iter__(self) -> Iterator[str]:
        return iter(self._text)

    def read(self, size: int = -1) -> str:
        """The next characters; raises DataError where a row that ends in them has too few cells."""
        content = self._text.read(size)
        last = b"\n" if self._length else b""  # the end of a last line that has none
        held = np.frombuffer(content.encode() or last, np.uint8)
        quotes = held == ord('"')
        previous = np.concatenate([np.array([self._last], np.uint8), held[:-1]]) if len(held) else held
        outside = np.ones(len(held), bool)
        if self._quotes or quotes.any():
            outside = (np.cumsum(quotes, dtype=np.int64) + self._quotes) % 2 == 0
        self._check_borders(held, previous, quotes, outside)
        marks = np.cumsum((held == self._mark) & outside, dtype=np.int64) + self._marks
        ends = np.flatnonzero((held == ord("\n")) & outside)
        number = np.diff(marks[ends], prepend=0)
        length = np.diff(ends, prepend=-1) - 1
        if len(ends):
            length[0] += self._length
            blank = (length == 0) | ((length == 1) & (previous[ends] == ord("\r")))
            short = np.flatnonzero((number < self._least) & ~blank)
            if len(short):
                row = self._row + int(short[0]) + 1
                cells = int(number[short[0]]) + 1
                raise DataError(f"{self._path}, row {row}: {cells} cells, but the header has {self._width}.", CUT)
        self._row += len(ends)
        self._quotes += int(quotes.sum())
        self._marks = int(marks[-1]) - int(marks[ends[-1]] if len(ends) else 0) if len(held) else self._marks
        self._length = len(held) - 1 - int(ends[-1]) if len(ends) else self._length + len(held)
        return content

    def _check_borders(
        self, held: Bytes, previous: Bytes, quotes: NDArray[np.bool_], outside: NDArray[np.bool_]
    ) -> None:
        """Raise where a quote does not open after a border, or close before one, or CR alone ends a line."""
        if not len(held):
            return
        was_outside = np.concatenate([[self._quotes % 2 == 0], outside[:-1]])
        lone = (previous == ord("\r")) & was_outside & (held != ord("\n"))
        opens = closes = quotes  # none, in most files
        if self._last == ord('"') or quotes.any():
            borders = np.zeros(256, bool)
            borders[[self._mark, ord("\n"), ord("\r"), ord('"')]] = True
            opens = quotes & ~outside & ~borders[previous]
            closes = (previous == ord('"')) & was_outside & ~borders[held]
        if (opens | closes | lone).any():
            raise _UnusualError
        self._last = int(held[-1])


def _from_json(path: Path) -> RawTable:
    """A list of records, or one record a line."""
    content = _text_of_json(path)
    try:
        whole = json.loads(content)
        records = whole if isinstance(whole, list) else [whole]
    except ValueError:
        try:
            records = [json.loads(line) for line in content.split("\n") if line.strip()]
        except ValueError as error:
            raise DataError(f"{path} is neither JSON nor JSON lines: {error}.") from error
    if not records or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path} holds no records, such as {{'file_name': 'a.png', ...}}.")
    names = list(dict.fromkeys(name for record in records for name in record))
    cells = [[_json_text(record.get(name)) for name in names] for record in records]
    return RawTable(path, dict(zip(names, _columns(cells, len(names)), strict=True)), first_row=1)


def _text_of_json(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data.startswith(GZIP):
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the path of the label file.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}).", "Fetch it again.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}).", "Save it as UTF-8.") from error


def _json_text(value: object) -> str:
    """A value of JSON as a cell: null is empty, a list stays one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _columns(rows: Sequence[Sequence[str]], width: int) -> list[Texts]:
    columns = zip(*rows, strict=True) if rows else ((),) * width
    return [_stripped(texts(cells)) for cells in columns]


def texts(cells: Iterable[str]) -> Texts:
    """Text as a column ``[N]``."""
    values = list(cells)
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _stripped(cells: Texts) -> Texts:
    codes, values = distinct(cells)
    if all(value == value.strip() for value in values):
        return cells
    return np.array([value.strip() for value in values], object)[codes]


def require_columns(table: RawTable, names: Iterable[str], kind: str) -> None:
    """Raise DataError where a file lacks columns that the label files of this kind have."""
    missing = [name for name in names if name not in table]
    if missing:
        raise DataError(
            f"{table.path} is no label file of {kind}: it has no column {listed([shown(name) for name in missing])} "
            f"(it has {listed(table.header, 8)}).",
            "Name another KIND, or table for a file of your own.",
        )
