from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.study_columns import Place, named_apart, read_places
from tests.helpers import write_csv

COLUMNS = {"id_column": "ImageID", "patient_column": "PatientID", "study_column": "StudyID", "view_column": "View"}


def test_places_are_those_of_the_films_asked_for(tmp_path: Path) -> None:
    rows = [["a", "007", "s1", "PA"], ["b", "7.0", "s1", ""], ["c", "8", "", "LL"]]
    csv = write_csv(tmp_path / "f.csv", ["ImageID", "PatientID", "StudyID", "View"], rows)
    assert read_places(csv, ["a", "b"], **COLUMNS) == {"a": Place("7", "s1", "PA"), "b": Place("7", "s1", "")}
    with pytest.raises(DataError, match="row 4: column 'StudyID' is empty"):
        read_places(csv, ["c"], **COLUMNS)
    with pytest.raises(DataError, match="no column 'Study'"):
        read_places(csv, ["a"], **{**COLUMNS, "study_column": "Study"})


def test_views_and_patients_may_be_missing(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "f.csv", ["ImageID", "StudyID"], [["a", "s1"]])
    assert read_places(csv, ["a"], **COLUMNS) == {"a": Place("", "s1", "")}


def test_studies_that_are_numbered_anew_for_each_patient_are_kept_apart() -> None:
    """CheXpert calls the first study of every patient study1."""
    mine, theirs = Place("1", "study1", ""), Place("2", "study1", "")
    assert named_apart([mine, theirs, Place("2", "study2", "")]) == ["1/study1", "2/study1", "2/study2"]
    assert named_apart([mine, mine]) == ["study1", "study1"]
