"""Studies of films of a CSV, and their labels: what is told, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.study_labels import labels_of_studies, studies_of
from cxrlt_cli.errors import DataError
from cxrlt_cli.scores.studies import Studies
from cxrlt_cli.tables.label_table import read_labels
from tests.helpers import Recorder, write_csv

HEADER = ["ImageID", "PatientID", "StudyID", "ViewPosition", "a", "b"]
ROWS: list[list[object]] = [
    ["1", "p", "s1", "PA", 1, 0],
    ["2", "p", "s1", "L", 0, 0],
    ["3", "q", "s2", "L", 0, ""],
    ["4", "q", "s3", "AP", "", ""],
]


def found(csv: Path, recorder: Recorder, ids: str = "1234", **given: object) -> Studies:
    options = EvaluateOptions.model_validate({"predictions": ["p.csv"], "per_study": "mean", **given})
    return studies_of(np.array(list(ids), object), csv, options, recorder)


def test_labels_of_a_study_are_those_of_any_of_its_films(tmp_path: Path) -> None:
    csv, recorder = write_csv(tmp_path / "f.csv", HEADER, ROWS), Recorder()
    table = labels_of_studies(found(csv, recorder), read_labels(csv, findings=("a", "b")), recorder)
    assert table.ids.tolist() == ["s1", "s2", "s3"]
    np.testing.assert_array_equal(table.targets, [[1, 0], [0, np.nan], [np.nan, np.nan]])
    assert recorder.notes == [
        "1 study has films with other labels than its others: a finding of one film is one of the study."
    ]
    assert recorder.warnings == []


def test_a_film_that_the_csv_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"f\.csv has no row for 9"):
        found(write_csv(tmp_path / "f.csv", HEADER, ROWS), Recorder(), "19")


def test_patients_that_share_names_of_studies_are_told(tmp_path: Path) -> None:
    rows: list[list[object]] = [*ROWS[:2], ["3", "q", "s1", "L", 0, 0]]
    recorder = Recorder()
    assert len(found(write_csv(tmp_path / "f.csv", HEADER, rows), recorder, "123")) == 2
    assert "studies are called PATIENT/STUDY" in recorder.warnings[0]


def test_studies_without_a_view_that_has_a_weight_are_told(tmp_path: Path) -> None:
    recorder = Recorder()
    found(write_csv(tmp_path / "f.csv", HEADER, ROWS), recorder, view_weights="frontal=1,lateral=0")
    assert recorder.warnings == ["1 study has films alone that --view-weights gives 0: there all films count alike."]
