"""What a set says of its films before any rule is applied: who, which view, which part, and of each finding what."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.datasets.raw_table import RawTable, Texts, distinct
from cxrlt_cli.errors import DataError
from cxrlt_cli.names import shown
from cxrlt_cli.tables.values import label_of, meaning_of, patient_of

UNCERTAIN, BLANK, UNLABELLED = -1, -2, -3  # beside 1 and 0: -1 as written; nothing written; not asked of this film
States = NDArray[np.int8]

PARTS = {
    "training": "train",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
}
OFFICIAL = ("train", "val", "test")
VIEWS = {
    **dict.fromkeys(("pa", "posteroanterior", "postero-anterior"), "PA"),
    **dict.fromkeys(("ap", "anteroposterior", "antero-posterior", "ap axial", "ap_horizontal", "ap lld"), "AP"),
    **dict.fromkeys(("l", "ll", "rl", "lat", "lateral", "left lateral", "right lateral", "xtable lateral"), "L"),
}
OTHER_VIEW = "other"
FROM_NIH = "The films are NIH ChestX-ray14's: never train on one and test on the other."
FRONTAL = ("PA", "AP")
ABOUT = ("patients", "studies", "views", "parts", "sexes", "ages")  # columns of ``Records`` that a set may lack


@dataclass(frozen=True)
class Records:
    """N films and C findings. ``None`` where a set does not say: then it is no column of the output."""

    films: Texts  # [N], as the set calls them: a path, or a name
    findings: tuple[str, ...]
    states: States  # [N, C]
    patients: Texts | None = None  # [N]; None: not known, so that each film is a patient of its own
    studies: Texts | None = None
    views: Texts | None = None  # PA, AP, L or other
    parts: Texts | None = None  # train, val, test, or empty
    sexes: Texts | None = None
    ages: Texts | None = None
    rows_read: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)  # reason: rows
    notes: tuple[str, ...] = ()  # on what was chosen, for the user
    is_official: bool = True  # whether the parts are the set's own
    knows_patients: bool = True  # else ``patients`` are names of films
    rules: Mapping[str, str] = field(default_factory=dict)  # which labels were read, where there are several
    namespace: str = ""  # whose numbers of patients these are, where they are not the kind's own
    films_below: Path | None = None  # where the reader wrote them out, instead of the image folder

    def __len__(self) -> int:
        return len(self.films)

    @property
    def is_by_film(self) -> bool:
        """Whether nobody knows whose films they are."""
        return self.patients is None or not self.knows_patients

    @property
    def owners(self) -> Texts:
        """Whose films they are, ``[N]``; each its own where nobody knows."""
        return self.films if self.patients is None else self.patients

    def rows(self, keep: NDArray[Any], reason: str = "") -> "Records":
        """The films of a mask ``[N]`` or of indices; those that are gone are counted under ``reason``."""
        held = {name: getattr(self, name) for name in ("films", "states", *ABOUT)}
        chosen: dict[str, Any] = {name: column[keep] for name, column in held.items() if column is not None}
        gone = len(self) - len(chosen["films"]) if reason else 0
        left_out = {**self.left_out, **({reason: self.left_out.get(reason, 0) + gone} if gone else {})}
        return replace(self, **chosen, left_out=left_out)

    def select(self, findings: Sequence[str]) -> "Records":
        """These findings, in this order."""
        places = [self.findings.index(name) for name in findings]
        return replace(self, findings=tuple(findings), states=self.states[:, places])


def states_of(table: RawTable, findings: Sequence[str]) -> States:
    """Cells of findings ``[N, C]``: 1, 0, -1 and blank, in any spelling that ``tables.values`` knows.

    Raises DataError with file, row and cell where one is anything else.
    """
    states = np.empty((len(table), len(findings)), np.int8)
    for place, name in enumerate(findings):
        codes, values = distinct(table[name])
        known = np.array([_state(value) for value in values], np.int8)
        strange = [number for number, state in enumerate(known) if state == _STRANGE]
        if strange:
            row = int(np.flatnonzero(codes == strange[0])[0])
            number = int(np.isin(codes, strange).sum())
            more = f" ({number:,} such rows)" if number > 1 else ""
            raise DataError(
                f"{table.where(row)}: column '{name}' holds {shown(values[strange[0]])}{more}; "
                "a label is 1, 0, -1 for uncertain, or blank.",
                "Mend the cell; nothing is guessed.",
            )
        states[:, place] = known[codes]
    return states


_STRANGE = -9


def _state(cell: str) -> int:
    meaning = meaning_of(cell)
    if meaning == "uncertain":
        return UNCERTAIN
    if meaning == "missing":
        return BLANK
    return int(label_of(cell) or 0) if meaning == "label" else _STRANGE


def states_of_lists(lists: Sequence[Sequence[str]], codes: NDArray[np.intp], findings: Sequence[str]) -> States:
    """States ``[N, C]`` of cells that list what a film shows, 0 where it is absent. ``codes``: which list, ``[N]``."""
    place = {name: number for number, name in enumerate(findings)}
    states = np.zeros((len(lists), len(findings)), np.int8)
    for number, names in enumerate(lists):
        states[number, [place[name] for name in names]] = 1
    return states[codes]


def parts_of(cells: Texts) -> Texts:
    """Names of official parts as train, val and test."""
    codes, values = distinct(cells)
    names = [PARTS.get(value.lower(), value.lower()) for value in values]
    return np.array(names, object)[codes]


def views_of(cells: Texts, *others: Texts) -> Texts:
    """Views as PA, AP, L and other; where a cell is empty, the next column says."""
    for more in others:
        cells = np.where(_is_empty(cells), more, cells)
    codes, values = distinct(cells)
    return np.array([VIEWS.get(value.lower(), OTHER_VIEW) for value in values], object)[codes]


def _is_empty(cells: Texts) -> NDArray[np.bool_]:
    codes, values = distinct(cells)
    return np.array([meaning_of(value) == "missing" for value in values], bool)[codes]


def sexes_of(cells: Texts) -> Texts:
    """M and F, of whichever spelling; empty where it is not known; other codes as they are."""
    codes, values = distinct(cells)
    words = {"female": "F", "male": "M", "f": "F", "m": "M", "unknown": "", "u": ""}
    return np.array([words.get(value.lower(), "" if _nothing(value) else value) for value in values], object)[codes]


def ages_of(cells: Texts) -> Texts:
    """Ages in years without zeros before and decimals after; what is none of that, such as a range, as it is."""
    codes, values = distinct(cells)
    return np.array(["" if _nothing(value) else _years(value) for value in values], object)[codes]


def _years(age: str) -> str:
    found = re.fullmatch(r"0*(\d+)(?:\.0*)?[yY]?", age)
    return found[1] if found else age


def _nothing(cell: str) -> bool:
    return meaning_of(cell) == "missing"


def patients_of(cells: Texts) -> Texts:
    """Numbers of patients without the zeros before and ``.0`` after: ``1`` and ``00000001`` are one patient."""
    codes, values = distinct(cells)
    return np.array([patient_of(value) for value in values], object)[codes]


TELL = {"views": views_of, "parts": parts_of, "sexes": sexes_of, "ages": ages_of}  # what to make of such columns


def part_of(word: str) -> str:
    """The part that a folder, or a word of a file's name, is called after: train, val, test; empty where it is none."""
    part = PARTS.get(word.lower(), word.lower())
    return part if part in OFFICIAL else ""


def part_of_file(path: Path) -> str:
    """The part that a file is called after, by the words of its name."""
    return next((part for word in re.split(r"[^a-z]+", path.name.lower()) if (part := part_of(word))), "")


def first_rows(cells: Texts) -> tuple[list[str], NDArray[np.intp]]:
    """The values of a column in the order of their first rows, and those rows."""
    codes, values = distinct(cells)
    return values, np.unique(codes, return_index=True)[1]


def joined(parts: Sequence[Records]) -> Records:
    """Records of several files as one: a finding that a file lacks is unlabelled there."""
    if len(parts) == 1:
        return parts[0]
    findings = tuple(dict.fromkeys(name for part in parts for name in part.findings))
    states = []
    for part in parts:
        wide = np.full((len(part), len(findings)), UNLABELLED, np.int8)
        wide[:, [findings.index(name) for name in part.findings]] = part.states
        states.append(wide)
    columns: dict[str, Any] = {}
    for name in ABOUT:
        held = [getattr(part, name) for part in parts]
        if any(column is not None for column in held):
            columns[name] = np.concatenate(
                [_filled(part, name) if column is None else column for part, column in zip(parts, held, strict=True)]
            )
    left_out: dict[str, int] = {}
    for part in parts:
        for reason, number in part.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + number
    return Records(
        np.concatenate([part.films for part in parts]),
        findings,
        np.concatenate(states),
        **columns,
        rows_read=sum(part.rows_read for part in parts),
        left_out=left_out,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        is_official=all(part.is_official for part in parts),
        knows_patients=all(part.knows_patients for part in parts),
        rules=dict(parts[0].rules),
        namespace=parts[0].namespace,
        films_below=parts[0].films_below,
    )


def _filled(part: Records, column: str) -> Texts:
    if column == "patients":
        return part.films
    return np.full(len(part), OTHER_VIEW if column == "views" else "", object)
