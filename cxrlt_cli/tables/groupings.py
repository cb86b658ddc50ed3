"""Films in groups by a column of their CSV: by its values, by decades of age, or by quantiles of its numbers.

Letters: N films.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, OptionError, missing_column
from cxrlt_cli.names import shown
from cxrlt_cli.tables.chosen import number_in
from cxrlt_cli.tables.columns import words_of
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tables.values import MISSING, number_of

FEW = 12  # values of a column of ages, up to which each is a group
OLDEST = 120  # years; above, an age is an error of the table
QUANTILES = range(2, 21)
_DECADE = re.compile(r"\d0-\d9|\d0 or older")
EMPTY = "(empty)"
ACQUISITION = frozenset(
    ("view", "position", "projection", "device", "manufacturer", "scanner", "detector", "station", "model", "portable",
     "modality", "exposure", "kvp", "spacing", "bits", "frontal", "lateral", "hospital", "site", "institution")
)  # fmt: skip
DEMOGRAPHY = frozenset(("age", "sex", "gender", "race", "ethnicity", "insurance", "language"))


@dataclass(frozen=True)
class Grouping:
    """The groups of a column in their order, and the group of each film, ``[N]``, as a place among them."""

    column: str
    names: tuple[str, ...]
    members: NDArray[np.int64]


@dataclass(frozen=True)
class By:
    """A column as ``--by`` names it, and into how many quantiles its numbers go, where that is asked for."""

    column: str
    num_quantiles: int | None = None

    @property
    def text(self) -> str:
        return self.column if self.num_quantiles is None else f"{self.column}:{self.num_quantiles}"


def read_by(texts: Sequence[str], path: Path, columns: Sequence[str]) -> list[By]:
    """``PatientSex`` or ``PatientAge:4`` as columns of ``path``: how a film was taken first, then whose it is.

    A difference between sexes or ages is often one of the views and devices that they were taken with: those part
    films first. Raises DataError where there is no such column, OptionError where a number of quantiles is none.
    """
    found = [_read_one(text, path, columns) for text in texts]
    names = [one.column for one in found]
    if len(set(names)) < len(names):
        raise OptionError(f"--by names a column twice ({', '.join(texts)}).", "Columns are crossed: name each once.")
    return sorted(found, key=lambda one: _turn(one.column))


def _read_one(text: str, path: Path, columns: Sequence[str]) -> By:
    if text in columns:
        return By(text)
    several = text.split(",")
    if len(several) > 1 and set(several) <= set(columns):
        raise OptionError(
            f"--by {text}: it takes one column.", f"Repeat it: {' '.join(f'--by {one}' for one in several)}"
        )
    column, colon, number = text.rpartition(":")
    if not colon or column not in columns:
        name = column if colon and number.isdecimal() else text
        raise missing_column(path, name, list(columns), "--by", "")
    if not number.isdecimal() or int(number) not in QUANTILES:
        raise OptionError(
            f"--by {text}: what follows the colon is no number from {QUANTILES[0]} to {QUANTILES[-1]}.",
            f"{column}:4 makes four groups of its numbers, of about as many films each.",
        )
    return By(column, int(number))


def _turn(column: str) -> int:
    words = words_of(column)
    return 0 if words & ACQUISITION else 2 if words & DEMOGRAPHY else 1


def grouped(by: By, cells: Texts, path: Path) -> Grouping:
    """The groups of films that have these ``cells [N]``.

    A column of ages with many values goes by decades: ages of DICOM, such as ``058Y``, are years. What is no age is a
    group of its own text, and what is empty is one group. Raises DataError where numbers are wanted and a cell is none.
    """
    texts = [EMPTY if cell.lower() in MISSING else str(cell) for cell in cells]
    if by.num_quantiles is not None:
        return _by_quantiles(by, texts, path)
    known = {text for text in texts if text != EMPTY}
    ages = {text: age for text in known if (age := years_of(text)) is not None}
    if "age" in words_of(by.column) and len(known) > FEW and 2 * len(ages) >= len(known):
        return _named(by.column, [_decade(ages[text]) if text in ages else text for text in texts], _first_number)
    return _named(by.column, texts, _first_number if len(ages) == len(known) else lambda _: 0.0)


def decades(groupings: Sequence[Grouping]) -> str | None:
    """The column of ages that went by decades; None where there is none."""
    return next((one.column for one in groupings if any(_DECADE.fullmatch(name) for name in one.names)), None)


def years_of(cell: str) -> float | None:
    """``58``, ``58.0`` and ``058Y`` are 58 years, ``018M`` is one and a half; None where a cell is no age."""
    number = number_in(cell)
    return float(number) if number is not None and number >= 0 else None


def _decade(age: float) -> str:
    if age > OLDEST:
        return f"above {OLDEST}"
    start = 10 * int(age // 10)
    return f"{start}-{start + 9}" if start < 90 else "90 or older"


def _by_quantiles(by: By, texts: Sequence[str], path: Path) -> Grouping:
    assert by.num_quantiles is not None, "asked for"
    values = np.array([np.nan if text == EMPTY else _number(by, text, path) for text in texts])
    known = np.flatnonzero(~np.isnan(values))
    shares = np.arange(1, by.num_quantiles) / by.num_quantiles
    edges = np.quantile(values[known], shares) if len(known) else values[known]
    places = np.searchsorted(edges, values[known], side="left")  # on an edge goes below it: equal values stay together
    names = np.full(len(values), EMPTY, object)
    for place in set(places.tolist()):
        films = known[places == place]
        names[films] = _span(values[films])
    return _named(by.column, names.tolist(), _first_number)


def _number(by: By, text: str, path: Path) -> float:
    value = years_of(text) if "age" in words_of(by.column) else number_of(text)
    if value is None:
        raise DataError(
            f"{path}: column '{by.column}' holds {shown(text)}, which is no number; --by {by.text} makes groups of "
            "numbers.",
            f"Empty that cell, or group by the values as they are: --by {by.column}.",
        )
    return value


def _span(values: NDArray[np.float64]) -> str:
    low, high = values.min(), values.max()
    return f"{low:.10g}" if low == high else f"{low:.10g} to {high:.10g}"


def _first_number(name: str) -> float:
    """By which groups are sorted; names without a number come last."""
    found = re.match(r"(above )?([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)", name)
    return np.inf if found is None else float(found[2]) + bool(found[1])


def _named(column: str, texts: Sequence[str], key: Callable[[str], float]) -> Grouping:
    names = sorted(set(texts), key=lambda name: (name == EMPTY, key(name), name))
    place = {name: index for index, name in enumerate(names)}
    return Grouping(column, tuple(names), np.array([place[text] for text in texts], np.int64))


def crossed(groupings: Sequence[Grouping]) -> list[tuple[tuple[str, ...], NDArray[np.int64]]]:
    """Every combination of groups that films are in, in order: a name of each column, and the rows of its films."""
    places = np.stack([one.members for one in groupings], axis=1)
    kinds, which = np.unique(places, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    ends = np.searchsorted(which.ravel()[order], np.arange(len(kinds) + 1))
    names = [tuple(one.names[place] for one, place in zip(groupings, kind, strict=True)) for kind in kinds]
    return [(name, order[first:last]) for name, (first, last) in zip(names, pairwise(ends.tolist()), strict=True)]
