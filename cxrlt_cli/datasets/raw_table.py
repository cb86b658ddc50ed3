"""Label files as they are, as columns of text: CSV, TSV, gzip, Parquet, JSON and JSON lines."""

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, listed, missing_column
from cxrlt_cli.names import shown
from cxrlt_cli.tables import parquet
from cxrlt_cli.tables.columns import nameless
from cxrlt_cli.tables.opening import open_text
from cxrlt_cli.tables.rows import Layout, layout, read_rows

Texts = NDArray[np.object_]
QUOTES = "A cell that holds a separator must stand in quotes."
CUT = "Was the file cut short? Fetch it again."
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class RawTable:
    """A file of N rows: columns of text without the spaces around them; a missing cell is an empty one."""

    path: Path
    columns: dict[str, Texts]  # [N] each
    first_row: int = 2  # of a spreadsheet; 1 for lines without a header

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
        return f"{self.path}, row {row + self.first_row}"

    def rows(self, keep: NDArray[Any]) -> "RawTable":
        return RawTable(self.path, {name: cells[keep] for name, cells in self.columns.items()}, self.first_row)


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
    width = len(plan.header)
    with open_text(path) as text, warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)
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
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise DataError(f"{path}: {str(error).removeprefix('Error tokenizing data. C error: ')}") from error
    beyond = np.flatnonzero(frame[width].to_numpy(object) != "")
    if len(beyond):
        raise DataError(f"{path}, row {beyond[0] + 2}: more cells than the header, which has {width}.", QUOTES)
    columns = {}
    for place, name in enumerate(plan.header):
        cells = _stripped(frame[place].to_numpy(object))
        if name or (cells != "").any():
            columns[name or nameless(place)] = cells
    return RawTable(path, columns)


class _Rows:
    """Text on its way to pandas, which would fill up a row that has lost cells in silence: that is an error here."""

    def __init__(self, text: TextIO, path: Path, plan: Layout) -> None:
        self._text, self._path = text, path
        self._mark = ord(plan.separator)
        self._least = max(place for place, name in enumerate(plan.header) if name)  # marks in a row
        self._width = len(plan.header)
        self._row, self._marks, self._length, self._quotes = 1, 0, 0, 0  # of what began and has not ended yet

    def __iter__(self) -> Iterator[str]:
        return iter(self._text)

    def read(self, size: int = -1) -> str:
        """The next characters; raises DataError where a row that ends in them has too few cells."""
        content = self._text.read(size)
        last = b"\n" if self._length else b""  # the end of a last line that has none
        held = np.frombuffer(content.encode() or last, np.uint8)
        outside = (np.cumsum(held == ord('"'), dtype=np.int64) + self._quotes) % 2 == 0
        marks = np.cumsum((held == self._mark) & outside, dtype=np.int64) + self._marks
        ends = np.flatnonzero((held == ord("\n")) & outside)
        number = np.diff(marks[ends], prepend=0)
        length = np.diff(ends, prepend=-1) - 1
        if len(ends):
            length[0] += self._length
            short = np.flatnonzero((number < self._least) & (length > 1))  # a line end alone, or two, is no row
            if len(short):
                row = self._row + int(short[0]) + 1
                cells = int(number[short[0]]) + 1
                raise DataError(f"{self._path}, row {row}: {cells} cells, but the header has {self._width}.", CUT)
        self._row += len(ends)
        self._quotes = (self._quotes + int((held == ord('"')).sum())) % 2
        self._marks = int(marks[-1]) - int(marks[ends[-1]] if len(ends) else 0) if len(held) else self._marks
        self._length = len(held) - 1 - int(ends[-1]) if len(ends) else self._length + len(held)
        return content


def _from_json(path: Path) -> RawTable:
    """A list of records, or one record a line."""
    with _open_json(path) as text:
        content = text.read()
    try:
        whole = json.loads(content)
        records = whole if isinstance(whole, list) else [whole]
    except ValueError:
        try:
            records = [json.loads(line) for line in content.splitlines() if line.strip()]
        except ValueError as error:
            raise DataError(f"{path} is neither JSON nor JSON lines: {error}.") from error
    if not records or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path} holds no records, such as {{'file_name': 'a.png', ...}}.")
    names = list(dict.fromkeys(name for record in records for name in record))
    cells = [[_json_text(record.get(name)) for name in names] for record in records]
    return RawTable(path, dict(zip(names, _columns(cells, len(names)), strict=True)), first_row=1)


def _open_json(path: Path) -> Any:
    import gzip  # late: few label files are JSON, fewer of them packed

    if not path.exists():
        raise DataError(f"{path} does not exist.", "Check the path of the label file.")
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _json_text(value: object) -> str:
    """A value of JSON as a cell: null is empty, a list stays one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _columns(rows: Sequence[Sequence[str]], width: int) -> list[Texts]:
    if not rows:
        return [np.array([], object) for _ in range(width)]
    columns = []
    for cells in zip(*rows, strict=True):
        column = np.empty(len(rows), object)
        column[:] = cells
        columns.append(_stripped(column))
    return columns


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
