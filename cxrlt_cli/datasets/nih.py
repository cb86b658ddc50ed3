"""NIH ChestX-ray14: lists of names in a cell; NIH-CXR-LT's columns; Google's relabelled films.

Wang et al., CVPR 2017; Holste et al., DALI 2022; Majkowska et al., Radiology 2020.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import RawTable, Texts, distinct, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import (
    Records,
    States,
    ages_of,
    joined,
    part_of_file,
    parts_of,
    patients_of,
    sexes_of,
    states_of,
    states_of_lists,
    views_of,
)
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.names import meant, shown

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "No Finding", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
GOOGLE = ("Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass")
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
LISTS = {"train_val_list": "train", "test_list": "test"}
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")  # the later release first
LONG_TAILED = ("miccai2023_nih-cxr-lt_labels_*.csv", "nih-cxr-lt_single-label_*.csv")


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of the set: 112,120 rows, 15 labels; absent is negative."""
    given = [path for path in files.given if not _is_list(path)]
    lists = [path for path in files.given if _is_list(path)] or files.named(*(f"{name}.txt" for name in LISTS))
    notes: list[str] = []
    if not given:
        given = _found(files, notes)
    records = joined([_read_table(path) for path in given])
    if lists and records.parts is None:
        records = _with_parts(records, lists)
    elif records.parts is None:
        notes.append("No train_val_list.txt and test_list.txt: without the official parts.")
    return replace(records, notes=(*records.notes, *notes))


def _found(files: SetFiles, notes: list[str]) -> list[Path]:
    for families in (TABLES, LONG_TAILED):
        found = {pattern: files.named(pattern) for pattern in families}
        held = [pattern for pattern, paths in found.items() if paths]
        if not held:
            continue
        for other in held[1:]:
            notes.append(f"Read {held[0]}, not {other}: name that to read it instead.")
        paths = found[held[0]]
        balanced = [path for path in paths if "balanced-test" in path.name]  # some of the test's own films
        if balanced:
            notes.append(f"Not read: {balanced[0].name}, whose films are in the test file.")
        if families is TABLES and len(paths) > 1:
            raise DataError(f"More than one {held[0]}: {', '.join(map(str, paths))}.", "Name the one that is meant.")
        return [path for path in paths if path not in balanced]
    raise files.absent("nih", "Data_Entry_2017_v2020.csv")


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == ".txt"


def _read_table(path: Path) -> Records:
    table = read_raw(path)
    if "id" in table and "subject_id" in table:
        return _long_tailed(table)
    require_columns(table, COLUMNS, "nih")
    google = all(name in table for name in GOOGLE)
    findings = GOOGLE if google else FINDINGS
    return Records(
        table["Image Index"],
        findings,
        states_of(table, GOOGLE) if google else _listed(table),
        patients=patients_of(table["Patient ID"]),
        views=_column(table, "View Position", views_of),
        parts=_column(table, "Set Id", parts_of),
        sexes=_column(table, "Patient Gender", sexes_of),
        ages=_column(table, "Patient Age", ages_of),
        rows_read=len(table),
    )


def _column(table: RawTable, name: str, told: Callable[[Texts], Texts]) -> Texts | None:
    return told(table[name]) if name in table else None


def _listed(table: RawTable) -> States:
    codes, cells = distinct(table["Finding Labels"])
    lists = [[name.strip() for name in cell.split("|")] for cell in cells]
    for number, names in enumerate(lists):
        for name in names:
            if name not in FINDINGS:
                row = int(np.flatnonzero(codes == number)[0])
                raise DataError(
                    f"{table.where(row)}: {shown(name)} in 'Finding Labels' is none of NIH's 15 labels."
                    f"{meant(name, FINDINGS)}",
                    "For lists of your own: KIND table, --list-column 'Finding Labels' --separator '|'.",
                )
    return states_of_lists(lists, codes, FINDINGS)


def _long_tailed(table: RawTable) -> Records:
    """NIH-CXR-LT: a file a part, of columns of 0 and 1 between ``id`` and ``subject_id``."""
    findings = tuple(name for name in table.header if name not in ("id", "subject_id"))
    return Records(
        table["id"],
        findings,
        states_of(table, findings),
        patients=patients_of(table["subject_id"]),
        parts=texts([part_of_file(table.path)] * len(table)),
        rows_read=len(table),
    )


def _with_parts(records: Records, lists: list[Path]) -> Records:
    part_of: dict[str, str] = {}
    for path in lists:
        part = next((part for name, part in LISTS.items() if path.stem.lower() == name), None)
        if part is None:
            raise DataError(f"{path} is neither train_val_list.txt nor test_list.txt.", "Leave it out.")
        for line in path.read_text(encoding="utf-8").split():
            if part_of.setdefault(line, part) != part:
                raise DataError(f"{path}: {line} is in both lists.")
    parts = texts(part_of.get(film, "") for film in records.films)
    if not (parts != "").any():
        raise DataError(
            f"{listed(lists)} name none of the films, such as {next(iter(part_of), 'nothing')}.",
            "They hold names of files, one a line, as in 'Image Index'. Name the table alone to do without parts.",
        )
    return replace(records, parts=parts)
