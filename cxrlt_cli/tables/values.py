"""What the text of one cell plainly means: a label, a number, nothing, a patient; for CSV and Parquet alike.

Single letters mean nothing here: M and F, or Y and N, are told in words instead of guessed.
"""

import math
import re
from collections.abc import Iterable
from typing import Literal

Meaning = Literal["label", "missing", "uncertain", "other"]

MISSING = frozenset(
    ("", "nan", "na", "n/a", "n.a.", "#n/a", "null", "#null!", "none", "<na>", "nat", "<null>", "(null)")
)
DASHES = frozenset(("-", "--"))  # nobody; beside a label they may as well mean no
WORDS = {
    **dict.fromkeys(("true", "yes", "positive", "pos", "present"), 1.0),
    **dict.fromkeys(("false", "no", "negative", "neg", "absent"), 0.0),
}
LONGEST = 24  # characters of a cell that can be a label
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"0*(\d+)([.,]0{0,2})?", re.ASCII)  # three zeros may be thousands
_FLOAT = re.compile(r"[+-]?\d([.,]\d+)?e\+\d{2,3}", re.ASCII | re.IGNORECASE)
_PADDED = re.compile(r"\d{15}0{8,}([.,]0*)?", re.ASCII)
_LONG = re.compile(r"\d{20,}([.,]0*)?", re.ASCII)


def number_of(cell: str) -> float | None:
    """The number that a cell holds, with a decimal point or comma; None where it holds none."""
    number = float(cell.replace(",", ".")) if _NUMBER.fullmatch(cell) else math.inf
    return number if math.isfinite(number) else None


def label_of(cell: str) -> float | None:
    """1, 0, or NaN where the film is not labelled; None where the cell is no label."""
    if len(cell) > LONGEST:
        return None
    word = cell.lower()
    if word in MISSING:
        return math.nan
    value = WORDS.get(word, number_of(cell))
    return value if value in (0.0, 1.0) else None


def meaning_of(cell: str) -> Meaning:
    """``uncertain`` is the -1 of CheXpert and MIMIC-CXR."""
    value = label_of(cell)
    if value is None:
        return "uncertain" if len(cell) <= LONGEST and number_of(cell) == -1 else "other"
    return "missing" if math.isnan(value) else "label"


def patient_of(cell: str) -> str:
    """Whose film it is: ``150``, ``150.0`` and ``00000150`` are one patient; empty where the cell names none."""
    if cell.lower() in MISSING | DASHES:
        return ""
    whole = _WHOLE.fullmatch(cell)
    return whole[1] if whole else cell


def is_float(cell: str) -> bool:
    """Whether a cell is a long number as spreadsheets and pandas write floats, such as ``3.24e+38``."""
    return _FLOAT.fullmatch(cell) is not None


def lost_digits(cells: Iterable[str]) -> set[str]:
    """Those numbers whose last digits are gone: floats, and long numbers that all end in zeros after 15 digits."""
    known = set(cells)
    long = [cell for cell in known if _LONG.fullmatch(cell)]
    padded = [cell for cell in long if _PADDED.fullmatch(cell)]
    return {cell for cell in known if is_float(cell)} | (set(padded) if len(padded) == len(long) > 1 else set())
