"""A table of one's own: columns of 0 and 1, of -1 and blanks, or a list of findings in a cell."""

import ast
import re
from typing import Any

import pandas as pd

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import RawTable, Texts, distinct, read_raw
from cxrlt_cli.datasets.records import (
    Records,
    States,
    ages_of,
    joined,
    parts_of,
    sexes_of,
    states_of,
    states_of_lists,
    views_of,
)
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, OptionError, listed, missing_column
from cxrlt_cli.names import fault_of_name, nearest, shown
from cxrlt_cli.tables.columns import judged
from cxrlt_cli.tables.patients import LOST
from cxrlt_cli.tables.values import lost_digits

COLUMNS = {"StudyID": "studies", "ViewPosition": "views", "Split": "parts", "PatientSex": "sexes", "PatientAge": "ages"}
TELL = {"views": views_of, "parts": parts_of, "sexes": sexes_of, "ages": ages_of}
MAX_FINDINGS = 500  # names in lists, of which a set has some dozens


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of every file that is given, or of the one table of a folder."""
    paths = files.given or files.named("*.csv", "*.tsv", "*.parquet", "*.jsonl", "*.json")
    if not paths:
        raise files.absent("table", "CSV, TSV, Parquet or JSON lines")
    if len(paths) > 1 and not files.given:
        raise DataError(f"{files.folders[0]} holds several tables: {listed(paths)}.", "Name those that are meant.")
    return joined([_read_table(read_raw(path), options) for path in paths])


def _read_table(table: RawTable, options: DataImportOptions) -> Records:
    id_column = options.id_column or "ImageID"
    patient_column = options.patient_column or "PatientID"
    films = _column(table, id_column, "--id-column", "ImageID")
    patients = None
    if options.patient_column is not None or patient_column in table:
        patients = _column(table, patient_column, "--patient-column", "PatientID")
        if lost := lost_digits(patients):
            raise DataError(f"{table.path}: column '{patient_column}' holds {sorted(lost)[0]} as a patient.", LOST)
    apart = {id_column, patient_column, *COLUMNS}
    if options.list_column is not None:
        findings, states = _listed(table, options.list_column, options.separator)
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
    held = {field: table[name] for name, field in COLUMNS.items() if name in table}
    told: dict[str, Any] = {field: TELL[field](cells) if field in TELL else cells for field, cells in held.items()}
    return Records(films, findings, states, patients=patients, **told, rows_read=len(table), is_official=False)


def _column(table: RawTable, name: str, flag: str, default: str) -> Texts:
    if name not in table:
        raise missing_column(table.path, name, table.header, flag, default)
    return table[name]


def _listed(table: RawTable, name: str, separator: str | None) -> tuple[tuple[str, ...], States]:
    """Findings in the order of the alphabet, and their states; a blank cell says nothing of its film."""
    if name not in table:
        near = nearest(name, table.header)
        hint = f"Pass --list-column {near!r}." if near else ""
        raise OptionError(f"--list-column: {table.path} has no column {shown(name)}.", hint)
    codes, cells = distinct(table[name])
    lists = [names_in(cell, separator) for cell in cells]
    findings = tuple(sorted({one for names in lists for one in names}, key=lambda one: (one.lower(), one)))
    if not findings or len(findings) > MAX_FINDINGS:
        raise DataError(f"{table.path}: column '{name}' lists {len(findings):,} names.", "Check --separator.")
    for one in findings:
        if fault := fault_of_name(one):
            raise DataError(f"{table.path}: column '{name}' lists {shown(one)}, which {fault}.")
    return findings, states_of_lists(lists, codes, findings)


def names_in(cell: str, separator: str | None) -> list[str]:
    """The names in a cell: between separators, or of a list as Python and JSON write it."""
    if separator is None and re.fullmatch(r"\[.*\]", cell, re.DOTALL):
        try:
            held = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            held = None
        if isinstance(held, list) and all(isinstance(one, str) for one in held):
            return list(dict.fromkeys(one.strip() for one in held if one.strip()))
    mark = separator or next((mark for mark in "|;," if mark in cell), "|")
    return list(dict.fromkeys(one.strip() for one in cell.split(mark) if one.strip()))
