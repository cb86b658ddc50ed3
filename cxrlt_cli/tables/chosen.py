"""Which rows of a table are taken: those of the parts of ``--split``, and those that ``--where`` is true of."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pandas as pd

from cxrlt_cli.config.conditions import Comparison, Condition, Not, Value, columns_of, parse, tests_of
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.names import nearest, shown
from cxrlt_cli.tables import parts as of_split
from cxrlt_cli.tables.rows import read_rows
from cxrlt_cli.tables.values import MISSING

Row = tuple[int, list[str]]
Cells = Mapping[str, str]

EQUAL = ("==", "!=", "in", "not in")
SHOWN_VALUES = 8  # of a column, in an error
MOST_VALUES = 1000  # of a column, that are counted to be shown
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)", re.ASCII)
_DICOM_AGE = re.compile(r"(\d{3})([YMWD])", re.ASCII)
_IN_A_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}


@dataclass(frozen=True)
class Chosen:
    """``parts``: of the column ``Split``; ``where``: a condition on columns of the table; None takes all.

    ``without``: ids that are not taken, where what decides that does not stand in the table.
    """

    parts: tuple[str, ...] | None = None
    where: str | None = None
    without: frozenset[str] = frozenset()
    id_column: str = "ImageID"

    def rows_of(self, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
        """The rows that are taken. Raises DataError where a column is missing, or a cell is no number that must be."""
        frame = of_split.rows_of(frame, path, self.parts)
        if self.without and self.id_column in frame.columns:
            frame = frame[~frame[self.id_column].isin(list(self.without))]
        if self.where is None:
            return frame
        condition = parse(self.where)
        columns = require_columns(condition, path, list(frame.columns))
        cells = (dict(zip(columns, row, strict=True)) for row in frame[columns].itertuples(index=False))
        return frame[[holds(condition, row, path, at) is True for at, row in zip(frame.index, cells, strict=True)]]

    def stream(self, rows: Iterable[Row], header: Sequence[str], path: Path) -> Iterator[Row]:
        """As ``rows_of``, a row at a time."""
        rows = of_split.stream(rows, header, path, self.parts)
        if self.without and self.id_column in header:
            place = list(header).index(self.id_column)
            rows = ((number, row) for number, row in rows if row[place] not in self.without)
        if self.where is None:
            yield from rows
            return
        condition = parse(self.where)
        places = {name: header.index(name) for name in require_columns(condition, path, header)}
        for number, row in rows:
            if holds(condition, {name: row[place] for name, place in places.items()}, path, number):
                yield number, row

    def to_json(self) -> dict[str, object]:
        """What decides which rows are taken."""
        named = None if self.parts is None else sorted(self.parts)
        without = hashlib.sha256("\0".join(sorted(self.without)).encode(errors="surrogatepass")).hexdigest()
        return {"parts": named, "where": self.where, "without": without}


EVERY = Chosen()


def require_columns(condition: Condition, path: Path, header: Sequence[str]) -> list[str]:
    """The columns of a condition; raises DataError where a table lacks one."""
    columns = columns_of(condition)
    for name in columns:
        if name not in header:
            near = nearest(name, header)
            raise DataError(
                f"--where: {path} has no column '{name}' (it has {listed(list(header), 8)}).",
                f"Did you mean {near}?" if near else "A name with spaces needs quotes: \"'Patient Age' >= 18\".",
            )
    return list(columns)


def holds(condition: Condition, cells: Cells, path: Path, row: int) -> bool | None:
    """Whether a condition is true of a row; None where that hangs on a cell that is empty (Kleene's logic).

    Raises DataError where a cell is compared with a number and is none.
    """
    if isinstance(condition, Comparison):
        return _test(condition, cells[condition.column], path, row)
    if isinstance(condition, Not):
        value = holds(condition.part, cells, path, row)
        return None if value is None else not value
    decides, unknown = condition.word == "or", False
    for part in condition.parts:
        value = holds(part, cells, path, row)
        if value is decides:  # so that "Age != unknown and Age >= 18" compares no word with a number
            return decides
        unknown = unknown or value is None
    return None if unknown else not decides


def _test(test: Comparison, cell: str, path: Path, row: int) -> bool | None:
    if cell.lower() in MISSING:
        asked = [value.text.lower() for value in test.values]
        return test.operator in ("==", "in") if test.operator in EQUAL and "" in asked else None
    if test.operator in EQUAL:
        return any(_is(cell, value) for value in test.values) == (test.operator in ("==", "in"))
    (value,) = test.values
    assert value.number is not None, "the condition was parsed"
    number = number_in(cell)
    if number is None:
        raise DataError(
            f"{path}, row {row}: column '{test.column}' holds {shown(cell)}, which --where compares with {value}.",
            f"Leave such rows out: --where \"{test.column} != '{cell}' and ...\".",
        )
    return _COMPARED[test.operator](number, value.number)


def _is(cell: str, value: Value) -> bool:
    return cell == value.text or (value.number is not None and number_in(cell) == value.number)


_COMPARED: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def number_in(cell: str) -> Decimal | None:
    """The number that a cell holds, exactly, with a decimal point or comma; of an age as DICOM has it, in years."""
    if _NUMBER.fullmatch(cell):
        return Decimal(cell.replace(",", "."))
    age = _DICOM_AGE.fullmatch(cell)
    return None if age is None else Decimal(int(age[1])) / _IN_A_YEAR[age[2]]


@dataclass(frozen=True)
class Taken:
    """How many rows a condition takes of ``total``; of ``unknown`` ones it cannot be told, for a cell is empty."""

    number: int
    total: int
    unknown: int
    never: tuple[str, ...]  # values of the condition that no row has
    alike: tuple[str, ...]  # cells that differ from a value of the condition in upper and lower case alone
    what: str = "rows"

    def __str__(self) -> str:
        unknown = f" (left out: {self.unknown:,} with an empty cell that decides)" if self.unknown else ""
        return f"{self.number:,} of {self.total:,} {self.what}{unknown}"


def count(condition: Condition, rows: Iterable[tuple[int, Cells]], path: Path, what: str = "rows") -> Taken:
    """What a condition takes of rows; raises DataError where that is none, with what its columns hold."""
    numbers: Counter[bool | None] = Counter()
    values: dict[str, Counter[str]] = {name: Counter() for name in columns_of(condition)}
    missing = [
        (test.column, value)
        for test in tests_of(condition)
        for value in test.values
        if test.operator in EQUAL and value.text
    ]
    for row, cells in rows:
        numbers[holds(condition, cells, path, row)] += 1
        for name, known in values.items():
            if len(known) < MOST_VALUES or cells[name] in known:
                known[cells[name]] += 1
        missing = [(name, value) for name, value in missing if not _is(cells[name], value)]
    if not numbers[True]:
        has = "; ".join(f"{name} is {_told(known)}" for name, known in values.items())
        raise DataError(f"--where takes none of the {what} of {path} ({has}).", _way_out(missing, values))
    never = tuple(f"{name} {value}" for name, value in missing)
    return Taken(numbers[True], numbers.total(), numbers[None], never, _alike(condition, values), what)


def _told(values: Counter[str]) -> str:
    return listed([f"{value or '(empty)'} {number:,}" for value, number in values.most_common()], SHOWN_VALUES)


def _way_out(missing: Sequence[tuple[str, Value]], values: Mapping[str, Counter[str]]) -> str:
    for name, value in missing:
        if near := nearest(str(value), values[name]):
            return f"Did you mean {name} {near}?"
    return "Values are compared letter for letter." if missing else ""


def _alike(condition: Condition, values: Mapping[str, Counter[str]]) -> tuple[str, ...]:
    named = {(test.column, value.text) for test in tests_of(condition) for value in test.values}
    folded = {(column, text.casefold()): text for column, text in named}
    return tuple(
        f"{column} {cell} ({number:,} rows) beside {folded[column, cell.casefold()]}"
        for column, cells in values.items()
        for cell, number in cells.items()
        if (column, cell) not in named and (column, cell.casefold()) in folded
    )


def rows_with_cells(path: Path, chosen: Chosen) -> Iterator[tuple[int, Cells]]:
    """The rows of a table that are taken, each with all its cells by column."""
    rows = read_rows(path)
    _, header = next(rows)
    for number, row in chosen.stream(rows, header, path):
        yield number, dict(zip(header, row, strict=True))
