"""MIMIC-CXR-JPG: films from the metadata, parts from the split, labels of studies from a labeller; joined by ids.

Johnson et al., 2019.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import RawTable, Texts, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import Records, first_rows, parts_of, states_of, views_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.tables.known_headers import CHEXPERT

LABELLERS = ("chexpert", "negbio")
RENAMED = {"Airspace Opacity": "Lung Opacity"}  # in the test set that radiologists labelled


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of all studies that are labelled, by path: 377,110 films, 14 labels."""
    given = {path: read_raw(path) for path in files.given}
    films = _table(files, given, "metadata", "mimic-cxr-*-metadata.csv", "ViewPosition")
    split = _table(files, given, "split", "mimic-cxr-*-split.csv", "split")
    listing = _table(files, given, "record list", "cxr-record-list.csv", "path")
    table = next((one for one in (films, listing, split) if one is not None), None)
    if table is None:
        raise files.absent("mimic", "mimic-cxr-*-metadata.csv")
    require_columns(table, ["dicom_id", "subject_id", "study_id"], "mimic")
    labels = _labels(files, given, options)
    table, doubled = _single_films(table)
    findings = tuple(RENAMED.get(name, name) for name in labels.header if RENAMED.get(name, name) in CHEXPERT)
    rows = _rows_of_studies(table, labels)
    states = states_of(labels, [name for name in labels.header if RENAMED.get(name, name) in CHEXPERT])
    records = Records(
        _paths(table),
        findings,
        states[np.maximum(rows, 0)],
        patients=table["subject_id"],
        studies=table["study_id"],
        views=_views(table),
        parts=None if split is None else _parts(table, split),
        rows_read=len(table) + doubled,
        left_out={"film listed twice": doubled} if doubled else {},
        rules={"labels": labels.path.name},
        notes=(f"Labels: {labels.path.name}.", *(() if split is not None else ("No split file: without parts.",))),
    ).rows(rows >= 0, "no labels for the study")
    return records.rows(np.argsort(records.films.astype(str), kind="stable"))


def _table(files: SetFiles, given: dict[Path, RawTable], what: str, pattern: str, column: str) -> RawTable | None:
    for table in given.values():
        if "dicom_id" in table and column in table:
            return table
    path = files.single(what, pattern)
    return None if path is None else read_raw(path)


def _labels(files: SetFiles, given: dict[Path, RawTable], options: DataImportOptions) -> RawTable:
    labelled = [table for table in given.values() if "dicom_id" not in table and "study_id" in table]
    if options.labels is None and len(labelled) == 1:
        return labelled[0]
    which = options.labels or LABELLERS[0]
    if which in LABELLERS:
        path = next((path for path in given if which in path.name), None) or files.single(
            f"file of {which}'s labels", f"mimic-cxr-*-{which}.csv"
        )
        if path is None:
            raise files.absent("mimic", f"mimic-cxr-*-{which}.csv")
    else:
        path = Path(which)
        if not path.is_file():
            raise OptionError(f"--labels {which} is neither {' nor '.join(LABELLERS)} nor a file.")
    table = given[path] if path in given else read_raw(path)
    require_columns(table, ["study_id", "No Finding", "Support Devices"], "mimic")
    return table


def _single_films(table: RawTable) -> tuple[RawTable, int]:
    """The table without further rows of one film, and their number."""
    _, first = first_rows(table["dicom_id"])
    return table.rows(first), len(table) - len(first)


def _rows_of_studies(table: RawTable, labels: RawTable) -> NDArray[np.int64]:
    """The row of labels of each film's study ``[N]``; -1 where it has none."""
    by = ["subject_id", "study_id"] if "subject_id" in labels else ["study_id"]
    known: dict[tuple[str, ...], int] = {}
    for row, key in enumerate(zip(*(labels[name] for name in by), strict=True)):
        if known.setdefault(key, row) != row:
            raise DataError(f"{labels.where(row)}: study {key[-1]} is labelled twice, first in row {known[key] + 2}.")
    return np.array([known.get(key, -1) for key in zip(*(table[name] for name in by), strict=True)], np.int64)


def _paths(table: RawTable) -> Texts:
    """``files/p10/p10000001/s59000001/<dicom_id>.jpg``, from three ids."""
    ids = zip(table["subject_id"], table["study_id"], table["dicom_id"], strict=True)
    return texts(f"files/p{subject[:2]}/p{subject}/s{study}/{film}.jpg" for subject, study, film in ids)


def _views(table: RawTable) -> Texts | None:
    if "ViewPosition" not in table:
        return None
    codes = "ViewCodeSequence_CodeMeaning"
    return views_of(table["ViewPosition"], *([table[codes]] if codes in table else []))


def _parts(table: RawTable, split: RawTable) -> Texts:
    part_of = dict(zip(split["dicom_id"], parts_of(split["split"]), strict=True))
    return texts(part_of.get(film, "") for film in table["dicom_id"])
