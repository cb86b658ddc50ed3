"""CANDID-PTX: a row a mask of a pneumothorax, and two further lists of films. Feng et al., Radiology: AI 2021."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import RawTable, distinct, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import Records
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError
from cxrlt_cli.names import shown

REPORTS, LISTS = "Pneumothorax_reports.csv", {"chest_tube": "Chest tube", "rib_fracture": "Acute rib fracture"}
COLUMNS = ("SOPInstanceUID", "StudyInstanceUID", "EncodedPixels", "filename")
LISTED = ("anon_SOPUID",)
_MASK = re.compile(r"\d+ \d+( \d+ \d+)*")


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """A film is positive where one of its rows holds a mask; of tubes and fractures, positives alone are listed."""
    paths = files.given or files.named(REPORTS, "*chest_tube*.csv", "*rib_fracture*.csv")
    tables = [read_raw(path) for path in paths]
    reports = [table for table in tables if "EncodedPixels" in table]
    if not reports:
        raise files.absent("candid", REPORTS)
    if len(reports) > 1:
        raise DataError(f"{reports[0].path} and {reports[1].path} both hold masks.", "Name the one that is meant.")
    lists = {_finding(table.path): table for table in tables if table is not reports[0]}
    return _records(reports[0], lists)


def _finding(path: Path) -> str:
    for word, finding in LISTS.items():
        if word in path.name.lower():
            return finding
    raise DataError(f"{path} is none of Pneumothorax_reports.csv, chest_tube.csv and acute_rib_fracture.csv.")


def _records(table: RawTable, lists: dict[str, RawTable]) -> Records:
    require_columns(table, COLUMNS, "candid")
    codes, films = distinct(table["SOPInstanceUID"])
    first = np.unique(codes, return_index=True)[1]
    columns = [np.bincount(codes, masks(table), minlength=len(films)) > 0]
    notes = []
    for finding, rows in lists.items():
        require_columns(rows, LISTED, "candid")
        positive = set(rows["anon_SOPUID"])
        columns.append(np.array([film in positive for film in films], bool))
        strangers = len(positive - set(films))
        lost = f", and {strangers:,} that {table.path.name} lacks" if strangers else ""
        notes.append(
            f"{finding}: 1 for films of {rows.path.name} ({int(columns[-1].sum()):,}{lost}), 0 for all others."
        )
    for finding in set(LISTS.values()) - set(lists):
        notes.append(f"{finding}: no file that lists it, so that it is no column.")
    further = len(table) - len(films)
    return Records(
        texts(films),
        ("Pneumothorax", *lists),
        np.stack(columns, axis=1).astype(np.int8),
        patients=texts(_single(table, codes, _patients(table), first)),
        studies=texts(_single(table, codes, table["StudyInstanceUID"].tolist(), first)),
        rows_read=len(table),
        left_out={"further rows of a film": further} if further else {},
        notes=tuple(sorted(notes)),
    )


def masks(table: RawTable) -> NDArray[np.bool_]:
    """Whether ``EncodedPixels`` holds a mask ``[N]``, which -1 says it does not; raises DataError of anything else."""
    codes, cells = distinct(table["EncodedPixels"])
    for number, cell in enumerate(cells):
        if cell != "-1" and not _MASK.fullmatch(cell):
            row = int(np.argmax(codes == number))
            raise DataError(f"{table.where(row)}: 'EncodedPixels' holds {shown(cell)}, neither -1 nor a mask.")
    return np.array([cell != "-1" for cell in cells], bool)[codes]


def _patients(table: RawTable) -> list[str]:
    """``12`` of ``12_x2.dcm``."""
    patients = []
    for row, name in enumerate(table["filename"]):
        patient, mark, _ = name.partition("_")
        if not (patient and mark):
            raise DataError(
                f"{table.where(row)}: 'filename' holds {shown(name)}, which is not PATIENT_... as others are."
            )
        patients.append(patient)
    return patients


def _single(table: RawTable, codes: NDArray[np.intp], cells: Sequence[str], first: NDArray[np.intp]) -> list[str]:
    """The value of each film; raises DataError where its rows do not agree."""
    for row, film in enumerate(codes):
        if cells[row] != cells[first[film]]:
            raise DataError(
                f"{table.where(row)}: one film is of {shown(cells[row])} here and of {shown(cells[first[film]])} above."
            )
    return [cells[row] for row in first]
