"""CheXpert, CheXpert Plus and BRAX: 14 labels of 1, 0, -1 and blank.

Irvin et al., AAAI 2019; Chambon et al., 2024; Reis et al., Scientific Data 2022.
"""

import re
from pathlib import Path

import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import RawTable, Texts, distinct, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import OTHER_VIEW, Records, ages_of, joined, part_of, sexes_of, states_of, views_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.tables.known_headers import CHEXPERT

BRAX = "master_spreadsheet_update.csv"
PLUS = "df_chexpert_plus_*.csv"
SECTIONS = ("report", "impression", "findings")  # of a report, each with labels of its own
_STUDY = re.compile(r"(patient\d+)/(study\d+)(?=/|$)")


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of the set; labels are the study's."""
    given = files.given or _found(files)
    tables = [read_raw(path) for path in given]
    if any("path_to_image" in table for table in tables):
        return _read_plus(tables, files, options)
    if options.labels is not None:
        raise OptionError("--labels: CheXpert's own files and BRAX have one kind of labels.", "Name the file instead.")
    return joined([_read_brax(table) if "PngPath" in table else _read_table(table) for table in tables])


def _found(files: SetFiles) -> list[Path]:
    if plus := files.single("CheXpert Plus table", PLUS):
        return [plus]
    if brax := files.single(BRAX, BRAX):
        return [brax]
    parts = [files.single(name, name) for name in ("train.csv", "valid.csv")]
    found = [path for path in parts if path is not None]
    if not found:
        raise files.absent("chexpert", f"train.csv, valid.csv, {PLUS} or {BRAX}")
    return found


def _read_table(table: RawTable) -> Records:
    require_columns(table, ["Path", *sorted(CHEXPERT)], "chexpert")
    paths = table["Path"]
    patients, studies, parts = _told_by_paths(table, paths)
    findings = tuple(name for name in table.header if name in CHEXPERT)
    return Records(
        paths,
        findings,
        states_of(table, findings),
        patients=patients,
        studies=studies,
        views=_views(table["Frontal/Lateral"], table["AP/PA"]) if "AP/PA" in table else None,
        parts=parts,
        sexes=sexes_of(table["Sex"]) if "Sex" in table else None,
        ages=ages_of(table["Age"]) if "Age" in table else None,
        rows_read=len(table),
    )


def _told_by_paths(table: RawTable, paths: Texts) -> tuple[Texts, Texts, Texts]:
    """Patient, study and part; numbers of studies begin anew with each patient."""
    patients, studies, parts = [], [], []
    for row, path in enumerate(paths):
        found = _STUDY.search(path)
        if found is None:
            raise DataError(f"{table.where(row)}: '{path}' names no patient and study, as in patient00001/study1.")
        patients.append(found[1])
        studies.append(found[0])
        parts.append(path[: found.start()].rstrip("/").rpartition("/")[2])
    codes, folders = distinct(texts(parts))
    return texts(patients), texts(studies), texts(map(part_of, folders))[codes]


def _views(frontal: Texts, projection: Texts) -> Texts:
    """A film that is called frontal is PA or AP, whatever else its projection says."""
    views = np.where(_lower(frontal) == "lateral", "L", views_of(projection))
    return np.where((_lower(frontal) == "frontal") & (views == "L"), OTHER_VIEW, views)


def _lower(cells: Texts) -> Texts:
    codes, values = distinct(cells)
    return np.array([value.lower() for value in values], object)[codes]


def _read_plus(tables: list[RawTable], files: SetFiles, options: DataImportOptions) -> Records:
    films = [table for table in tables if "path_to_dcm" in table]
    labels = [table for table in tables if "path_to_dcm" not in table]
    if len(films) != 1:
        raise DataError("CheXpert Plus needs its df_chexpert_plus_*.csv beside the labels.", "Name both as SOURCE.")
    if not labels:
        section = options.labels or SECTIONS[0]
        if section not in SECTIONS:
            raise OptionError(f"--labels {section} is none of {', '.join(SECTIONS)}.")
        path = files.single("file of labels", f"{section}_fixed.json")
        if path is None:
            raise files.absent("CheXpert Plus", f"{section}_fixed.json")
        labels = [read_raw(path)]
    if len(labels) > 1:
        raise DataError(f"{labels[0].path} and {labels[1].path} both hold labels.", "Name the one that is meant.")
    if files.given and options.labels is not None and labels[0].path in files.given:
        raise OptionError(f"--labels {options.labels}: {labels[0].path} is named already.", "Leave it out.")
    table, told = films[0], labels[0]
    require_columns(told, ["path_to_image", *sorted(CHEXPERT)], "CheXpert Plus")
    row_of: dict[str, int] = {}
    for row, path in enumerate(told["path_to_image"]):
        if row_of.setdefault(path, row) != row:
            raise DataError(f"{told.where(row)}: {path} is labelled twice.", "Keep one of them.")
    rows = np.array([row_of.get(path, -1) for path in table["path_to_image"]], np.int64)
    findings = tuple(name for name in told.header if name in CHEXPERT)
    patients, studies, parts = _told_by_paths(table, table["path_to_image"])
    records = Records(
        texts(path.rpartition(".")[0] or path for path in table["path_to_image"]),  # the films may be PNG or DICOM
        findings,
        states_of(told, findings)[np.maximum(rows, 0)],
        patients=patients,
        studies=studies,
        views=_views(table["frontal_lateral"], table["ap_pa"]),
        parts=parts,
        sexes=sexes_of(table["sex"]),
        ages=ages_of(table["age"]),
        rows_read=len(table),
        notes=(f"Labels: {told.path.name}.",),
        rules={"labels": told.path.name},
    )
    return records.rows(rows >= 0, "no labels for the film")


def _read_brax(table: RawTable) -> Records:
    require_columns(table, ["PngPath", "PatientID", "AccessionNumber", *sorted(CHEXPERT)], "chexpert (BRAX)")
    findings = tuple(name for name in table.header if name in CHEXPERT)
    return Records(
        table["PngPath"],
        findings,
        states_of(table, findings),
        patients=table["PatientID"],
        studies=table["AccessionNumber"],
        views=views_of(table["ViewPosition"]),
        sexes=sexes_of(table["PatientSex"]),
        ages=ages_of(table["PatientAge"]),
        rows_read=len(table),
    )
