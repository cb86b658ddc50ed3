"""The columns of a table that say which study a film belongs to, and how it was taken."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrlt_cli.errors import DataError, missing_column
from cxrlt_cli.tables.rows import read_rows
from cxrlt_cli.tables.values import MISSING, patient_of

STUDY = "StudyID"  # as data import and DICOM headers call it


@dataclass(frozen=True)
class Place:
    """Of one film: its patient, where that is known, its study and its view; empty where nothing is said."""

    patient: str
    study: str
    view: str


def read_places(
    path: Path, ids: Collection[str], *, id_column: str, patient_column: str, study_column: str, view_column: str
) -> dict[str, Place]:
    """The place of each of these films. Raises DataError where there is no column of studies, or a film has none."""
    rows = read_rows(path)
    _, header = next(rows)
    for name, flag, usual in ((id_column, "--id-column", "ImageID"), (study_column, "--study-column", "StudyID")):
        if name not in header:
            raise missing_column(path, name, header, flag, usual)
    wanted, places = set(ids), {}
    for number, row in rows:
        cells = dict(zip(header, row, strict=True))
        if (film := cells[id_column]) not in wanted:
            continue
        if cells[study_column].lower() in MISSING:
            raise DataError(
                f"{path}, row {number}: column '{study_column}' is empty.", "Every film needs a study for --per-study."
            )
        patient = patient_of(cells.get(patient_column, ""))
        places[film] = Place(patient, cells[study_column], cells.get(view_column, ""))
    return places


def read_cells(path: Path, ids: Collection[str], id_column: str, column: str) -> dict[str, str]:
    """The cell of each of these films in a column that the table has."""
    rows = read_rows(path)
    _, header = next(rows)
    if id_column not in header:
        raise missing_column(path, id_column, header)
    film, place, wanted = header.index(id_column), header.index(column), set(ids)
    return {row[film]: row[place] for _, row in rows if row[film] in wanted}


def named_apart(places: Sequence[Place]) -> list[str]:
    """What each film's study is called: with its patient in front where two patients have one of that name."""
    patients: dict[str, set[str]] = {}
    for place in places:
        patients.setdefault(place.study, set()).add(place.patient)
    several = any(len(of) > 1 for of in patients.values())
    return [f"{place.patient}/{place.study}" if several else place.study for place in places]
