"""A table of one's own: columns of 0 and 1, of -1 and blanks, or a list of findings in a cell."""

import ast
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import RawTable, Texts, distinct, read_raw
from cxrlt_cli.datasets.records import (
    BLANK,
    TELL,
    Records,
    States,
    joined,
    states_of,
    states_of_lists,
)
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, OptionError, listed, missing_column
from cxrlt_cli.names import fault_of_name, nearest, shown
from cxrlt_cli.tables.columns import judged
from cxrlt_cli.tables.patients import LOST
from cxrlt_cli.tables.values import lost_digits, meaning_of

COLUMNS = {"StudyID": "studies", "ViewPosition": "views", "Split": "parts", "PatientSex": "sexes", "PatientAge": "ages"}
MARKS = "|;,"
MAX_FINDINGS = 500  # names in lists, of which a set has some dozens


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of every file that is given, or of the one table of a folder."""
    paths = files.given or files.named("*.csv", "*.tsv", "*.parquet", "*.jsonl", "*.json")
    if not paths:
        raise files.absent("table", "CSV, TSV, Parquet or JSON lines")
    if len(paths) > 1 and not files.given:
        raise DataError(f"{files.folders[0]} holds several tables: {listed(paths)}.", "Name those that are meant.")
    tables = [read_raw(path) for path in paths]
    listed_names = _listed_names(tables, options) if options.list_column is not None else ()
    return joined([_read_table(table, options, listed_names) for table in tables])


def _read_table(table: RawTable, options: DataImportOptions, listed_names: tuple[str, ...]) -> Records:
    id_column = options.id_column or "ImageID"
    patient_column = options.patient_column or "PatientID"
    films = _column(table, id_column, "--id-column", "ImageID")
    patients = None
    notes: tuple[str, ...] = ()
    if options.patient_column is not None or patient_column in table:
        patients = _column(table, patient_column, "--patient-column", "PatientID")
        if lost := lost_digits(patients):
            raise DataError(f"{table.path}: column '{patient_column}' holds {sorted(lost)[0]} as a patient.", LOST)
    apart = {id_column, patient_column, *COLUMNS}
    if options.list_column is not None:
        findings, states = listed_names, _listed(table, options.list_column, options.separator, listed_names)
    else:
        columns = [judged(pd.Series(table[name], dtype=object), name) for name in table.header if name not in apart]
        findings = tuple(column.name for column in columns if column.kind == "finding" and not column.why)
        if lists := [column.name for column in columns if column.kind == "lists"]:
            raise DataError(f"{table.path}: column '{lists[0]}' holds lists.", f"Pass --list-column {lists[0]!r}.")
        if not findings:
            raise DataError(
                f"{table.path} has no column of 0 and 1 (it has {listed(table.header, 12)}).",
                "--list-column names a column that lists the findings of a film.",
            )
        states = states_of(table, findings)
        unread = [column.name for column in columns if column.name not in findings]
        notes = (f"Not read, for they are no findings: {listed(unread, 20)}.",) if unread else ()
    held = {field: table[name] for name, field in COLUMNS.items() if name in table}
    told: dict[str, Any] = {field: TELL[field](cells) if field in TELL else cells for field, cells in held.items()}
    return Records(
        films, findings, states, patients=patients, **told, rows_read=len(table), notes=notes, is_official=False
    )


def _column(table: RawTable, name: str, flag: str, default: str) -> Texts:
    if name not in table:
        raise missing_column(table.path, name, table.header, flag, default)
    return table[name]


def _listed_names(tables: Sequence[RawTable], options: DataImportOptions) -> tuple[str, ...]:
    """The names in the lists of all tables, in the order of the alphabet."""
    column, found = options.list_column or "", set()
    for table in tables:
        if column not in table:
            near = nearest(column, table.header)
            hint = f"Pass --list-column {near!r}." if near else ""
            raise OptionError(f"--list-column: {table.path} has no column {shown(column)}.", hint)
        _, cells = distinct(table[column])
        mark = options.separator or mark_of(cells)
        found |= {name for cell in cells for name in names_in(cell, mark)}
    names = tuple(sorted(found, key=lambda one: (one.lower(), one)))
    if not names or len(names) > MAX_FINDINGS:
        raise DataError(f"{tables[0].path}: column '{column}' lists {len(names):,} names.", "Check --separator.")
    for one in names:
        if fault := fault_of_name(one):
            raise DataError(f"{tables[0].path}: column '{column}' lists {shown(one)}, which {fault}.")
    return names


def _listed(table: RawTable, column: str, separator: str | None, names: tuple[str, ...]) -> States:
    """States ``[N, C]`` of lists: absent is 0; an empty cell says nothing of its film, an empty list says none."""
    codes, cells = distinct(table[column])
    mark = separator or mark_of(cells)
    states = states_of_lists([names_in(cell, mark) for cell in cells], codes, names)
    states[np.array([meaning_of(cell) == "missing" for cell in cells], bool)[codes]] = BLANK
    return states


def mark_of(cells: Sequence[str]) -> str | None:
    """What stands between the names of a column's cells: the first of ``|``, ``;`` and ``,`` that any cell holds."""
    return next((mark for mark in MARKS if any(mark in cell for cell in cells if not cell.startswith("["))), None)


def names_in(cell: str, mark: str | None) -> list[str]:
    """The names in a cell: between marks, or of a list as Python and JSON write it. A missing one holds none."""
    if meaning_of(cell) == "missing":
        return []
    if re.fullmatch(r"\[.*\]", cell, re.DOTALL):
        try:
            held = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            held = None
        if isinstance(held, list) and all(isinstance(one, str) for one in held):
            return list(dict.fromkeys(one.strip() for one in held if one.strip()))
    return list(dict.fromkeys(one.strip() for one in (cell.split(mark) if mark else [cell]) if one.strip()))
