"""The parts of a set that its authors made: the column ``Split``, and the rows that ``--split`` takes by it."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.names import nearest, shown
from cxrlt_cli.tables.rows import read_rows

COLUMN = "Split"
TRAINING, VALIDATION = "train", "val"  # as ``data import`` calls them
Row = tuple[int, list[str]]


def num_rows(path: Path) -> Counter[str]:
    """How many rows of a table each part has; none where it has no column of parts."""
    rows = read_rows(path)
    _, header = next(rows)
    if COLUMN not in header:
        return Counter()
    place = header.index(COLUMN)
    return Counter(row[place] for _, row in rows)


def told(numbers: Mapping[str, int]) -> str:
    """``train 80, val 10, test 10``; rows without a part are called empty."""
    return listed([f"{name or '(empty)'} {number:,}" for name, number in Counter(numbers).most_common()], 10)


def rows_of(frame: pd.DataFrame, path: Path, parts: Sequence[str] | None) -> pd.DataFrame:
    """The rows of these parts; all where none are named. Raises DataError where there is no such column or part."""
    if parts is None:
        return frame
    if COLUMN not in frame.columns:
        raise _without_column(path, list(frame.columns))
    _require(parts, Counter(frame[COLUMN]), path)
    return frame[frame[COLUMN].isin(list(parts))]


def stream(rows: Iterable[Row], header: Sequence[str], path: Path, parts: Sequence[str] | None) -> Iterator[Row]:
    """As ``rows_of``, a row at a time; that there is no such part is told at the end."""
    if parts is None:
        yield from rows
        return
    if COLUMN not in header:
        raise _without_column(path, header)
    place, chosen = header.index(COLUMN), frozenset(parts)
    numbers: Counter[str] = Counter()
    for number, row in rows:
        numbers[row[place]] += 1
        if row[place] in chosen:
            yield number, row
    _require(parts, numbers, path)


def _require(parts: Collection[str], numbers: Counter[str], path: Path) -> None:
    absent = [part for part in parts if part not in numbers]
    if not absent or not numbers:  # without any row, that is what is told
        return
    near = nearest(absent[0], numbers)
    has = f"it has {told(numbers)}"
    raise DataError(
        f"--split: no row of {path} has {listed([shown(part) for part in absent])} in the column '{COLUMN}' ({has}).",
        f"Did you mean {near}?" if near else "Parts are compared letter for letter.",
    )


def _without_column(path: Path, columns: Sequence[str]) -> DataError:
    near = next((name for name in columns if name.lower() == COLUMN.lower()), None)
    way_out = f"Call the column {shown(near)} {COLUMN}." if near else "cxrlt data import writes it for sets that have."
    return DataError(
        f"{path} has no column '{COLUMN}', by which --split takes rows (it has {listed(columns, 8)}).",
        f"{way_out} Or leave --split out, and give each part a CSV of its own.",
    )
