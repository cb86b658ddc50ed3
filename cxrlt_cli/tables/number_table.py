"""Tables of numbers beside ids, such as predictions: their text becomes numbers a piece at a time.

Letters: N films, C columns.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, missing_column
from cxrlt_cli.names import shown
from cxrlt_cli.tables.columns import is_nameless
from cxrlt_cli.tables.label_table import Texts, check_findings, check_id, read_pieces
from cxrlt_cli.tables.values import MISSING, number_of

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class NumberTable:
    """``ids [N]``, ``columns [C]`` and ``values [N, C]``, NaN where a cell is no number.

    ``strange``: row, column and text of the first such cell; ``decided``: whether every cell is 0, 1 or empty, and not
    all of them are empty.
    """

    path: Path
    ids: Texts
    columns: tuple[str, ...]
    values: Doubles
    strange: tuple[int, str, str] | None
    decided: bool

    def require_numbers(self) -> None:
        if self.strange is not None:
            row, column, text = self.strange
            raise DataError(
                f"{self.path}, row {row}: column '{column}' holds '{text}', which is no number.",
                "A prediction CSV has an id column and probabilities, nothing else.",
            )


def read_numbers(path: Path, id_column: str, aside: Collection[str] = ()) -> NumberTable:
    """A table of predictions; columns ``aside`` are not looked at.

    Raises DataError as ``tables.label_table.read_csv`` does, where there is no column of ids or none beside it, and of
    an id or a finding that ``names`` refuses.
    """
    ids: list[str] = []
    values: list[Doubles] = []
    strange: tuple[int, str, str] | None = None
    unlike, empty = False, True
    columns: tuple[str, ...] = ()
    for piece in read_pieces(path):
        cells = _columns_of_findings(piece, path, id_column, aside)
        columns = tuple(cells.columns)
        ids += _checked(piece[id_column], path, id_column)
        numbers = numbers_of(cells)
        bare = np.stack([cells[name].str.lower().isin(MISSING).to_numpy(bool) for name in columns], axis=1)
        if strange is None and (found := np.argwhere(np.isnan(numbers))).size:
            row, column = found[0]
            strange = int(piece.index[row]), columns[column], str(cells.iloc[row, column])
        unlike = unlike or not (np.isin(numbers, (0, 1)) | bare).all()
        empty = empty and bool(bare.all())
        values.append(numbers)
    return NumberTable(path, np.array(ids, object), columns, _joined(values), strange, not unlike and not empty)


def numbers_of(cells: pd.DataFrame) -> Doubles:
    """Text as numbers ``[N, C]``, with decimal points or, as a German Excel writes them, commas; NaN for other text."""
    numbers = np.empty(cells.shape)
    for place, (_, column) in enumerate(cells.items()):
        numbers[:, place] = pd.to_numeric(column, errors="coerce")
        known = ~np.isnan(numbers[:, place])  # to their last digit, which pandas before 3.1 loses
        numbers[known, place] = column.to_numpy(object)[known].astype(np.float64)
        for row in np.flatnonzero(~known).tolist():
            number = number_of(column.iloc[row])
            numbers[row, place] = math.nan if number is None else number
    return numbers


def _columns_of_findings(piece: pd.DataFrame, path: Path, id_column: str, aside: Collection[str]) -> pd.DataFrame:
    """The cells of all columns but the ids and what is left aside, and but those without a name and any text."""
    names = [name for name in piece.columns if not is_nameless(name)]
    if id_column not in names:
        raise missing_column(path, id_column, names)
    for name in filter(is_nameless, piece.columns):
        if text := next(filter(None, piece[name]), ""):
            raise DataError(
                f"{path} has a column without a name, {name}, which holds {shown(text)}, ...",
                "Remove it, or give it a finding's name. (Of pandas, to_csv writes an index unless index=False.)",
            )
    cells = piece[[name for name in names if name != id_column and name not in aside]]
    if cells.shape[1] == 0:
        raise DataError(
            f"{path} has no column beside '{id_column}'.", "It needs one column of probabilities a finding."
        )
    check_findings(cells.columns, path)
    return cells


def _checked(ids: "pd.Series[str]", path: Path, id_column: str) -> list[str]:
    for row, film in ids.items():
        check_id(film, path, int(str(row)), id_column)
    return list(ids)


def _joined(pieces: Sequence[Doubles]) -> Doubles:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
