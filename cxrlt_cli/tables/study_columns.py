"""The columns of a table that say which study a film belongs to, and how it was taken."""

from collections.abc import Collection
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from cxrlt_cli.errors import DataError, missing_column
from cxrlt_cli.tables.rows import read_rows
from cxrlt_cli.tables.values import MISSING, patient_of
from cxrlt_cli.tables.views import view_cell

STUDY = "StudyID"  # as data import and DICOM headers call it


@dataclass(frozen=True)
class Place:
    """Of one film: its patient, where that is known, its study and its view; empty where nothing is said."""

    patient: str
    study: str
    view: str


def read_places(
    path: Path, ids: Collection[str], *, id_column: str, patient_column: str, study_column: str, view_column: str
) -> tuple[dict[str, Place], bool]:
    """The place of each of these films, and whether patients stand in front of their studies.

    They do where two patients of the table have a study of one name, whichever films are asked for. Raises DataError
    where there is no column of studies, or a film has none.
    """
    rows = read_rows(path)
    _, header = next(rows)
    for name, flag, usual in ((id_column, "--id-column", "ImageID"), (study_column, "--study-column", "StudyID")):
        if name not in header:
            raise missing_column(path, name, header, flag, usual)
    wanted, places = set(ids), {}
    owners: dict[str, str] = {}
    several = False
    for number, row in rows:
        cells = dict(zip(header, row, strict=True))
        film, study, patient = cells[id_column], cells[study_column], patient_of(cells.get(patient_column, ""))
        several = several or owners.setdefault(study, patient) != patient
        if film not in wanted:
            continue
        if study.lower() in MISSING:
            raise DataError(
                f"{path}, row {number}: column '{study_column}' is empty.", "Every film needs a study for --per-study."
            )
        places[film] = Place(patient, study, view_cell(cells.get(view_column, "")))
    if several:
        places = {film: replace(one, study=f"{one.patient}/{one.study}") for film, one in places.items()}
    return places, several


def read_cells(path: Path, ids: Collection[str], id_column: str, column: str) -> dict[str, str]:
    """The cell of each of these films in a column that the table has; empty where it says nothing."""
    rows = read_rows(path)
    _, header = next(rows)
    if id_column not in header:
        raise missing_column(path, id_column, header)
    film, place, wanted = header.index(id_column), header.index(column), set(ids)
    return {row[film]: view_cell(row[place]) for _, row in rows if row[film] in wanted}


def read_known_places(path: Path, ids: Collection[str], columns: tuple[str, str, str, str]) -> dict[str, Place]:
    """The place of each of these films, empty where the table has no such column.

    ``columns``: of the film, its patient, its study and its view.
    """
    rows = read_rows(path)
    _, header = next(rows)
    if columns[0] not in header:
        raise missing_column(path, columns[0], header)
    wanted, places = set(ids), {}
    for _, row in rows:
        cells = dict(zip(header, row, strict=True))
        if (film := cells[columns[0]]) in wanted:
            patient, study, view = (view_cell(cells.get(name, "")) for name in columns[1:])
            places[film] = Place(patient_of(patient), study, view)
    return places


def known_cells(
    path: Path, ids: Collection[str], columns: tuple[str, str, str, str]
) -> tuple[list[str], dict[str, list[str]]]:
    """Which columns of patient, study and view the table has, by name, and their cells for each of these films.

    ``columns``: as for ``read_known_places``.
    """
    _, header = next(read_rows(path))
    there = [place for place, name in enumerate(columns[1:]) if name in header]
    places = read_known_places(path, ids, columns)
    cells = {film: [astuple(one)[place] for place in there] for film, one in places.items()}
    return [columns[1 + place] for place in there], cells
