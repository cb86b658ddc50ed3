"""The CXR-LT challenges: 0 and 1 in columns, a file a part.

2023 and 2024 on MIMIC-CXR's films (Holste et al., 2024; Lin et al., 2025), 2026 on PadChest's.
"""

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import RawTable, Texts, distinct, mapped, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import Records, joined, part_of_file, states_of, views_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.tables.patients import LOST
from cxrlt_cli.tables.values import lost_digits

TASKS = ("task1", "task2", "task3")
METADATA = ("dicom_id", "subject_id", "study_id", "ViewPosition", "ViewCodeSequence_CodeMeaning", "path", "fpath",
            "ImageID", "StudyDate_DICOM", "PatientID")  # fmt: skip
YEARS = {
    "2026": ("CXRLT_2026_training.csv",),
    "2024": ("train_labeled.csv", "development_labeled_{task}.csv", "test_labeled_{task}.csv"),
    "2023": ("train.csv", "development.csv", "test.csv"),
    "MIMIC-CXR-LT": ("miccai2023_mimic-cxr-lt_labels_*.csv",),
    "MIMIC-CXR-LT, one label a film": ("mimic-cxr-lt_single-label_*.csv",),
}
REMOVAL = "Removal.csv"


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of all parts that have labels."""
    paths = files.given or _found(files, options)
    removed: set[str] = set()
    parts, notes = [], []
    for path in paths:
        table = read_raw(path)
        findings = [name for name in table.header if name not in METADATA]
        if table.header == ["ImageID"]:
            removed |= set(table["ImageID"])
        elif findings:
            parts.append(_read_table(table, findings))
        else:
            notes.append(f"Not read: {path.name}, which has no labels.")
    if not parts:
        raise DataError(f"{listed(paths)}: no labels in any of them.")
    records = joined(parts)
    if options.labels == "task3":
        unseen = [name for part in parts[-1:] for name in part.findings]
        records = records.select(unseen)
    if removed:
        keep = np.array([film.rpartition("/")[2] not in removed for film in records.films], bool)
        records = records.rows(keep, f"listed in {REMOVAL}")
    is_of_2024 = any(f"_{task}" in path.name for path in paths for task in TASKS)
    if options.labels is not None and not is_of_2024:
        raise OptionError(f"--labels {options.labels}: only the files of 2024 have tasks.", "Leave it out.")
    return replace(
        records,
        notes=(*records.notes, *notes),
        rules={"labels": options.labels or TASKS[0]} if is_of_2024 and not files.given else {},
        namespace="padchest" if any(part.parts is None for part in parts) else "mimic",
    )


def _found(files: SetFiles, options: DataImportOptions) -> list[Path]:
    task = options.labels or TASKS[0]
    if task not in TASKS:
        raise OptionError(f"--labels {task} is none of {', '.join(TASKS)}.")
    for patterns in YEARS.values():
        names = [pattern.format(task=task) for pattern in patterns]
        if task == "task3":
            names = [name for name in names if not fnmatch(name, "train*")]  # which has none of its findings
        found = [path for name in names for path in files.named(name) if "balanced-test" not in path.name]
        if found:
            return [*found, *files.named(REMOVAL)]
    raise files.absent("cxr-lt", "train_labeled.csv, train.csv or CXRLT_2026_training.csv")


def _read_table(table: RawTable, findings: list[str]) -> Records:
    is_of_2026 = "ImageID" in table
    films = next((name for name in ("ImageID", "fpath", "path") if name in table), "path")
    patients = "PatientID" if is_of_2026 else "subject_id"
    require_columns(table, [films, patients], "cxr-lt")
    if lost := lost_digits(table[patients]):
        raise DataError(f"{table.path}: column '{patients}' holds {sorted(lost)[0]} as a patient.", LOST)
    views = [table[name] for name in ("ViewPosition", "ViewCodeSequence_CodeMeaning") if name in table]
    return Records(
        table[films],
        tuple(findings),
        states_of(table, findings),
        patients=table[patients],
        studies=_studies(table) if "study_id" in table else None,
        views=views_of(*views) if views else None,
        parts=None if is_of_2026 else _part(table),
        rows_read=len(table),
    )


def _studies(table: RawTable) -> Texts:
    """Numbers of studies: 2024 writes ``s59000001``, 2023 the number alone."""
    _, values = distinct(table["study_id"])
    return mapped(table["study_id"], {value: value.removeprefix("s") for value in values})


def _part(table: RawTable) -> Texts:
    return texts([part_of_file(table.path)] * len(table))
