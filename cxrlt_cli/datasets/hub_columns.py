"""Which columns of a set from a hub are findings, and what the others tell: anybody may call them anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cxrlt_cli.datasets.any_table import MAX_FINDINGS, mark_of, names_in
from cxrlt_cli.datasets.raw_table import RawTable, Texts, distinct, mapped
from cxrlt_cli.datasets.records import (
    BLANK,
    TELL,
    UNLABELLED,
    Records,
    States,
    joined,
    states_of,
    states_of_lists,
)
from cxrlt_cli.documents import parse_json
from cxrlt_cli.errors import DataError, listed, missing_column
from cxrlt_cli.names import shown
from cxrlt_cli.tables.columns import is_known, judged, words_of
from cxrlt_cli.tables.values import label_of, meaning_of, number_of

ABOUT = {
    "patients": ("patient", "patientid", "subjectid"),
    "studies": ("study", "studyid"),
    "views": ("view", "viewposition", "projection"),
    "parts": ("split",),
    "sexes": ("sex", "gender", "patientsex", "patientgender"),
    "ages": ("age", "patientage"),
}
LISTS = frozenset(("label", "labels", "class", "classes", "finding", "findings", "disease", "diseases", "diagnosis",
                   "pathology", "pathologies", "target", "targets"))  # fmt: skip


@dataclass(frozen=True)
class Labelled:
    """A table of N rows, their films, and the names of the classes that stand as numbers in its columns."""

    table: RawTable
    films: Texts  # [N]
    parts: Texts | None
    classes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Roles:
    """What the columns of all tables are: one lists findings, some are a finding each."""

    lists: str | None
    classes: tuple[str, ...]  # in that list
    binary: tuple[str, ...]
    unread: tuple[str, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.classes, *self.binary)))


def told_by(parts: Sequence[Labelled], apart: str, patient_column: str | None, list_column: str | None) -> Records:
    """The records of all tables, of which a column ``apart`` names the films."""
    parts = [Labelled(_named(part), part.films, part.parts, part.classes) for part in parts]
    about = _about([part.table for part in parts], patient_column)
    roles = _roles(parts, {apart, *about.values()}, list_column)
    return joined([_records(part, about, roles) for part in parts])


def _records(part: Labelled, about: Mapping[str, str], roles: Roles) -> Records:
    table = part.table
    held = {field: table[name] for field, name in about.items() if name in table}
    columns: dict[str, Any] = {field: TELL[field](cells) if field in TELL else cells for field, cells in held.items()}
    columns.setdefault("parts", part.parts)
    notes = (f"Not read: {listed(roles.unread, 12)}.",) if roles.unread else ()
    states = _states(table, roles)
    return Records(
        part.films, roles.findings, states, **columns, rows_read=len(table), notes=notes, is_official=False
    )  # anybody may have made the parts


def _about(tables: Sequence[RawTable], patient_column: str | None) -> dict[str, str]:
    """The columns that tell of a film what is no finding."""
    header = dict.fromkeys(name for table in tables for name in table.header)
    if patient_column is not None and patient_column not in header:
        raise missing_column(tables[0].path, patient_column, list(header), "--patient-column", "PatientID")
    plain = {name.lower().replace("_", "").replace(" ", ""): name for name in header}
    found = {field: next((plain[name] for name in names if name in plain), None) for field, names in ABOUT.items()}
    found["patients"] = patient_column or found["patients"]
    return {field: name for field, name in found.items() if name is not None}


def _roles(parts: Sequence[Labelled], apart: set[str], list_column: str | None) -> Roles:
    tables = [part.table for part in parts]
    roles: dict[str, list[str]] = {"lists": [], "binary": [], "unread": []}
    for name in dict.fromkeys(name for table in tables for name in table.header):
        if name not in apart:
            named = next((part.classes[name] for part in parts if name in part.classes), None)
            roles[_role(tables, name, named)].append(name)
    if list_column is not None and list_column not in roles["lists"]:
        raise missing_column(tables[0].path, list_column, roles["lists"], "--list-column", "")
    if len(roles["lists"]) > 1 and list_column is None:
        raise DataError(
            f"{tables[0].path}: more than one column names findings: {listed(roles['lists'])}.",
            "Say which with --list-column.",
        )
    lists = list_column or next(iter(roles["lists"]), None)
    unread = [*roles["unread"], *(name for name in roles["lists"] if name != lists)]
    classes = _classes(parts, lists) if lists else ()
    if not (classes or roles["binary"]):
        raise DataError(
            f"{tables[0].path}: no column of 0 and 1, and none that names findings (it has {listed(unread, 12)}).",
            "Make a column of each finding, or one that lists them.",
        )
    return Roles(lists, classes, tuple(roles["binary"]), tuple(unread))


def _role(tables: Sequence[RawTable], name: str, classes: Sequence[str] | None) -> str:
    cells = np.concatenate([table[name] for table in tables if name in table])
    kind = judged(pd.Series(cells, dtype=object), name).kind
    by_name = bool(words_of(name) & LISTS) and not is_known(name)
    if classes is not None:
        return "binary" if kind == "finding" else "lists" if by_name or kind == "lists" else "unread"
    values = [value for value in distinct(cells)[1] if meaning_of(value) != "missing"]
    if by_name and values and all(number_of(value) is not None for value in values):
        raise DataError(
            f"{tables[0].path}: column '{name}' holds numbers, such as {values[0]}, and nothing says of which classes.",
            "Write names for numbers; or call a column of 0 and 1 as its finding is called.",
        )
    if kind == "finding":
        return "binary"
    return "lists" if kind == "lists" or (by_name and kind == "other") else "unread"


def _named(part: Labelled) -> RawTable:
    """The table with the names of classes for their numbers; words for yes and no stay alone, for they are labels."""
    columns = dict(part.table.columns)
    for name, classes in part.classes.items():
        if name in columns:
            cells = {cell: _class_names(cell, classes, part.table, name) for cell in distinct(columns[name])[1]}
            columns[name] = mapped(columns[name], cells)
    return RawTable(part.table.path, columns, part.table.first_row)


def _class_names(cell: str, classes: Sequence[str], table: RawTable, column: str) -> str:
    try:
        held = parse_json(cell) if cell.startswith("[") else [] if cell in ("", "-1") else [cell]
        names = [classes[number] for number in map(int, held) if number >= 0]
    except (ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{table.path}: column '{column}' holds {shown(cell)}, which is no number of its {len(classes)} classes."
        ) from error
    if not cell.startswith("["):
        is_label = all(label_of(name) in (0.0, 1.0) for name in classes)
        return "" if not names else names[0] if is_label else _list_of(names)
    return _list_of(names)


def _list_of(names: Sequence[str]) -> str:
    return repr(list(names))


def _classes(parts: Sequence[Labelled], lists: str) -> tuple[str, ...]:
    """The names in all lists: in the order of the classes, or of the alphabet."""
    ordered = [name for part in parts for name in part.classes.get(lists, ())]
    found = {
        name
        for part in parts
        if lists in part.table
        for cell in distinct(part.table[lists])[1]
        for name in _names(cell, part.table, lists)
    }
    names = tuple(dict.fromkeys([*ordered, *sorted(found, key=lambda name: (name.lower(), name))]))
    if len(names) > MAX_FINDINGS:
        raise DataError(f"{parts[0].table.path}: column '{lists}' lists {len(names):,} names: is it text?")
    return names


def _names(cell: str, table: RawTable, column: str) -> list[str]:
    if meaning_of(cell) == "missing":
        return []
    try:
        held = parse_json(cell) if cell.startswith("[") else None
    except ValueError:  # of Python, in which names stand in other quotes
        held = None
    if not isinstance(held, list):
        return names_in(cell, mark_of(distinct(table[column])[1]))
    names: list[str] = [one for one in held if one is not None]
    if not all(isinstance(one, str) for one in names):
        raise DataError(
            f"{table.path}: column '{column}' lists {shown(cell)}, and nothing says of which classes the numbers are.",
            "Write names for numbers.",
        )
    return list(dict.fromkeys(one.strip() for one in names if one.strip()))


def _states(table: RawTable, roles: Roles) -> States:
    """States ``[N, C]``: of a finding that both a list and a column tell, the column says, if it says anything."""
    states = np.full((len(table), len(roles.findings)), UNLABELLED, np.int8)
    if roles.lists is not None and roles.lists in table:
        codes, cells = distinct(table[roles.lists])
        held = states_of_lists([_names(cell, table, roles.lists) for cell in cells], codes, roles.classes)
        blank = np.array([meaning_of(cell) == "missing" for cell in cells], bool)[codes]
        held[blank] = BLANK
        states[:, : len(roles.classes)] = held
    for name in roles.binary:
        if name in table:
            place = roles.findings.index(name)
            states[:, place] = _agreed(states[:, place], states_of(table, [name])[:, 0], table, name)
    return states


def _agreed(listed_: States, own: States, table: RawTable, name: str) -> States:
    clash = np.flatnonzero((listed_ >= 0) & (own >= 0) & (listed_ != own))
    if len(clash):
        row = int(clash[0])
        raise DataError(
            f"{table.where(row)}: column '{name}' holds {own[row]}, but the list of findings says {listed_[row]}.",
            "Mend one of them; nothing is guessed.",
        )
    return np.where((own == BLANK) & (listed_ == 1), listed_, own)
