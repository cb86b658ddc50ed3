"""Which columns of a table are findings, what is wrong with them, and what the others hold; for all commands alike."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.labels import CXR_LT_2026, UNSEEN, plain_name
from cxrlt_cli.names import is_text, shown
from cxrlt_cli.tables.values import label_of, meaning_of, number_of

Kind = Literal["finding", "metadata", "lists", "empty", "nameless", "other"]

UNCERTAIN = (
    "CheXpert and MIMIC-CXR write -1 for uncertain: make it 1, 0 or empty, as cxrlt data import does (--uncertain). "
    "Or name the other findings, without this one: --findings."
)
LISTS = (
    "Findings are columns of 0 and 1: make a column of each name in the lists, as cxrlt data import table does "
    "(--list-column)."
)

# Names of findings in public sets, beside the challenge's; compared without regard to case and underscores.
OTHER_FINDINGS = (
    "no finding", "effusion", "infiltration", "consolidation", "edema", "fibrosis", "pneumonia", "lung opacity",
    "lung lesion", "enlarged cardiomediastinum", "pleural other", "airspace opacity", "nodule or mass", "nodule/mass",
    "tuberculosis", "copd", "ild", "covid", "covid-19", "calcification", "aortic enlargement", "pulmonary fibrosis",
    "pneumomediastinum", "pneumoperitoneum", "tortuous aorta", "lung tumor", "other lesion", "mediastinal shift",
    "enlarged pa", "vertebral compression", "vertebral anterior compression",
)  # fmt: skip
# Words of names that no finding has, and words that a finding may have, but metadata more often.
METADATA = frozenset(
    ("id", "ids", "uid", "uuid", "guid", "dicom", "sex", "gender", "age", "followup", "unnamed", "pixel", "pixels",
     "bits", "rescale", "manufacturer", "modality", "laterality", "photometric", "planar", "subject", "rad", "male",
     "female")
)  # fmt: skip
DOUBTFUL = frozenset(
    ("view", "year", "month", "date", "time", "width", "height", "spacing", "position", "split", "fold", "index", "row",
     "rows", "column", "columns", "path", "projection", "study", "series", "instance", "acquisition", "weight",
     "number", "num", "count", "visit", "patient", "frames", "samples", "train", "test", "val", "valid", "validation",
     "compression", "annotation", "orientation", "site", "hospital", "race", "ethnicity", "portable", "pediatric",
     "frontal", "lateral", "ap", "pa", "inpatient", "outpatient", "deceased", "smoker")
)  # fmt: skip
# Columns that cxrlt itself writes: whose film it is and how it was taken, never findings.
FILM_FACTS = ("PatientID", "StudyID", "ViewPosition", "PatientSex", "PatientAge", "Path")
WRITTEN = (*FILM_FACTS, "Split")
MARKS = tuple(map(frozenset, ("yn", "tf", "pn", "x", "+", "✓")))  # that may be labels, if a column has no others
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAMELESS = re.compile(r"\(column \d+\)")
_LIST = re.compile(r"\[.*\]", re.DOTALL)


@dataclass(frozen=True)
class Column:
    """What a column is, and why. ``strange``: values of a finding that are no labels, with their numbers of rows."""

    name: str
    kind: Kind
    holds: str  # a few of its values
    why: str = ""  # it is no finding, or may be none
    strange: tuple[tuple[str, int], ...] = ()
    is_binary: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({'; '.join(part for part in (self.why, self.holds) if part)})"


def judged_columns(
    frame: pd.DataFrame, apart: Collection[str], findings: Collection[str] | None = None
) -> list[Column]:
    """What each column is but those that stand ``apart``; where ``findings`` are named, they and no others are."""
    return [
        judged(frame[name], name, asked=None if findings is None else name in findings)
        for name in frame.columns
        if name not in apart or name in (findings or ())
    ]


def judged(cells: "pd.Series[Any]", name: str, asked: bool | None = None) -> Column:
    """What the column of this name is: as it was asked for, or by its cells and its name."""
    values = Counter(cells)
    meanings = {value: meaning_of(value) for value in values}
    numbers: Counter[str] = Counter()
    for value, number in values.items():
        numbers[meanings[value]] += number
    holds = _few(value for value, _ in values.most_common() if meanings[value] != "missing")
    labels, unsure, others = numbers["label"], numbers["uncertain"], numbers["other"]
    is_binary = labels > 0 and not unsure and not others
    strange = tuple((value, number) for value, number in values.items() if meanings[value] in ("uncertain", "other"))
    if asked:
        return Column(name, "finding", holds, "", strange, is_binary)
    if not labels + unsure + others:
        return Column(name, "empty", holds, "without any value")
    if asked is False:
        return Column(name, "other", holds)
    if is_nameless(name):
        return Column(name, "nameless", holds, "without a name", is_binary=is_binary)
    known = is_known(name)
    doubts = DOUBTFUL & words_of(name)
    if not known and (
        name in WRITTEN or _reads_like_metadata(name) or len(doubts) > 1 or (doubts and len(values) == 1)
    ):
        return Column(name, "metadata", holds, is_binary=is_binary)
    if others and (what := _lists(name, [value for value in values if meanings[value] == "other"])):
        return Column(name, "lists", holds, what)
    if not known and _are_counts([value for value in values if meanings[value] != "missing"]):
        return Column(name, "other", holds)
    marks = frozenset(value.lower() for value, meaning in meanings.items() if meaning != "missing")
    if doubts and others and not known:
        return Column(name, "other", holds)
    if known or not others or (labels and labels + unsure >= others) or marks in MARKS:
        why = "looks like metadata" if doubts and not known else ""
        return Column(name, "finding", holds, why, strange, is_binary)
    return Column(name, "other", holds)


def is_known(name: str) -> bool:
    """Whether a finding of a public set is called so."""
    return plain_name(name) in _KNOWN


def nameless(place: int) -> str:
    """What a column without a name is called; the first is at 0."""
    return f"(column {place + 1})"


def is_nameless(name: str) -> bool:
    return _NAMELESS.fullmatch(name) is not None


def targets_of(cells: "pd.Series[Any]") -> NDArray[np.float32]:
    """Labels ``[N]``: 1, 0, or NaN where there is none, or none that is known."""
    labels = {cell: label_of(cell) for cell in set(cells)}
    return np.array([math.nan if (label := labels[cell]) is None else label for cell in cells], np.float32)


def require_labels(frame: pd.DataFrame, findings: Sequence[Column], where: str) -> None:
    """Raise DataError with the first cell that is no label, how many there are, and the other columns with such."""
    faulty = [column for column in findings if column.strange]
    if not faulty:
        return
    first, *others = faulty
    cells = frame[first.name]
    values = [value for value, _ in first.strange]
    row = int(np.flatnonzero(cells.isin(values))[0])
    number = sum(times for _, times in first.strange)
    more = f" ({number:,} such rows)" if number > 1 else ""
    also = f" So do {listed([column.name for column in others], 20)}, or something else." if others else ""
    what = f"column '{first.name}' holds {shown(cells.iloc[row])}{more}; a label is 0, 1, or empty for not labelled."
    raise DataError(f"{where}, row {frame.index[row]}: {what}{also}", hint_on(values))


def hint_on(values: Iterable[str]) -> str:
    """The way out where a finding holds these."""
    unsure = any(meaning_of(value) == "uncertain" for value in values)
    return UNCERTAIN if unsure else "Mend the column, or name the columns that are findings with --findings."


def warnings_about_ignored(columns: Sequence[Column]) -> list[str]:
    """Warnings of columns that are passed over though they could be findings."""
    lines = []
    if binary := [column.name for column in columns if column.is_binary]:
        lines.append(
            f"Columns of 0 and 1 that are not read, for they have no name, or one like metadata: {listed(binary, 40)}. "
            "If they are findings, name all findings with --findings."
        )
    if lists := [f"{column.name} {column.why} ({column.holds})" for column in columns if column.kind == "lists"]:
        lines.append(f"Not read: {'; '.join(lists)}. {LISTS}")
    return lines


def words_of(name: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(name))


def _reads_like_metadata(name: str) -> bool:
    words = words_of(name)
    return name in WRITTEN or bool(METADATA & words) or {"follow", "up"} <= words


def _are_counts(values: Iterable[str]) -> bool:
    """Whether whole numbers from 0 on go beyond what a code of labels could be: to 4, or with three above 1."""
    numbers = [number_of(value) for value in values]
    if any(number is None or number < 0 or number != int(number) for number in numbers):
        return False
    above = {number for number in numbers if number is not None and number > 1}
    return len(above) > 2 or max(above, default=0) > 3


def _lists(name: str, values: Sequence[str]) -> str:
    """What cells hold that name findings instead of saying 0 or 1; empty where they do not."""
    values = values[:1000]
    if any(_LIST.fullmatch(value) for value in values):
        return "holds lists"
    is_of_labels = bool(words_of(name) & {"finding", "findings", "label", "labels", "disease", "diseases", "diagnosis",
                                          "pathology", "pathologies", "class", "classes"})  # fmt: skip
    for mark in "|;,":
        parts = [[part.strip() for part in value.split(mark)] for value in values]
        several = [part for cell in parts if len(cell) > 1 for part in cell]
        if not several or max(map(len, several)) > 40:
            continue
        if is_of_labels or any(is_known(part) for part in several):
            return f"holds lists, with '{mark}' between names"
    known = sum(is_known(value) for value in values)
    return "holds names of findings" if 2 * known >= len(values) else ""


def _few(values: Iterable[str], number: int = 3) -> str:
    """The first of them, cut short, as they can be shown anywhere."""
    texts: list[str] = []
    for value in values:
        if len(texts) == number:
            texts.append("...")
            break
        text = value if is_text(value) else repr(value)[1:-1]
        texts.append(text if len(text) <= 24 else f"{text[:21]}...")
    return ", ".join(texts)


_KNOWN = frozenset(map(plain_name, (*CXR_LT_2026, *UNSEEN, *OTHER_FINDINGS)))
