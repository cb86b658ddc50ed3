from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.study_columns import Place, known_cells, read_cells, read_places
from tests.helpers import write_csv

COLUMNS = {"id_column": "ImageID", "patient_column": "PatientID", "study_column": "StudyID", "view_column": "View"}


def test_places_are_those_of_the_films_asked_for(tmp_path: Path) -> None:
    rows = [["a", "007", "s1", "PA"], ["b", "7.0", "s1", ""], ["c", "8", "", "LL"]]
    csv = write_csv(tmp_path / "f.csv", ["ImageID", "PatientID", "StudyID", "View"], rows)
    assert read_places(csv, ["a", "b"], **COLUMNS) == ({"a": Place("7", "s1", "PA"), "b": Place("7", "s1", "")}, False)
    with pytest.raises(DataError, match="row 4: column 'StudyID' is empty"):
        read_places(csv, ["c"], **COLUMNS)
    with pytest.raises(DataError, match="no column 'Study'"):
        read_places(csv, ["a"], **{**COLUMNS, "study_column": "Study"})


def test_views_and_patients_may_be_missing(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "f.csv", ["ImageID", "StudyID"], [["a", "s1"]])
    assert read_places(csv, ["a"], **COLUMNS) == ({"a": Place("", "s1", "")}, False)


def test_studies_that_are_numbered_anew_for_each_patient_are_kept_apart(tmp_path: Path) -> None:
    """CheXpert calls the first study of every patient study1; and so whichever films are asked for."""
    rows = [["a", "1", "study1", "PA"], ["b", "2", "study1", "n/a"], ["c", "2", "study2", "NaN"]]
    csv = write_csv(tmp_path / "f.csv", ["ImageID", "PatientID", "StudyID", "View"], rows)
    for ids in ("abc", "a", "c"):
        places, with_patients = read_places(csv, list(ids), **COLUMNS)
        assert with_patients
        known = {"a": "1/study1", "b": "2/study1", "c": "2/study2"}
        assert {film: place.study for film, place in places.items()} == {film: known[film] for film in ids}
    assert read_cells(csv, ["a", "b", "c"], "ImageID", "View") == {"a": "PA", "b": "", "c": ""}


def test_of_patient_study_and_view_the_columns_that_are_there_are_known(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "f.csv", ["View", "ImageID", "PatientID"], [["PA", "a", "007"], ["n/a", "b", "8"]])
    names, cells = known_cells(csv, ["a", "b", "c"], ("ImageID", "PatientID", "StudyID", "View"))
    assert names == ["PatientID", "View"]
    assert cells == {"a": ["7", "PA"], "b": ["8", ""]}
