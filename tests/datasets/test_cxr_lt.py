import shutil
from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.labels import CXR_LT_2026
from tests.datasets.sets import SAMPLES, drawn, imported, labels_only


def test_2024_has_three_tasks(tmp_path: Path) -> None:
    rows, _ = labels_only("cxr-lt", SAMPLES / "cxr-lt-2024", out=tmp_path / "a.csv", labels="task3")
    assert list(rows[0])[-5:] == ["Bulla", "Cardiomyopathy", "Hilum", "Osteopenia", "Scoliosis"]
    assert {row["Split"] for row in rows} == {"test"}, "the development films have no labels there"
    with pytest.raises(OptionError, match="none of task1, task2, task3"):
        labels_only("cxr-lt", SAMPLES / "cxr-lt-2024", out=tmp_path / "a.csv", labels="4")


def test_a_file_without_labels_is_told(tmp_path: Path) -> None:
    files = [SAMPLES / "cxr-lt-2024" / name for name in ("test_labeled_task3.csv", "development_task3.csv")]
    _, recorder = labels_only("cxr-lt", *files, out=tmp_path / "a.csv")
    assert "Not read: development_task3.csv, which has no labels." in recorder.notes
    with pytest.raises(DataError, match="no labels in any of them"):
        labels_only("cxr-lt", files[1], out=tmp_path / "a.csv")


def test_2026_without_the_films_of_the_removal_list(tmp_path: Path) -> None:
    rows, recorder = imported("cxr-lt", drawn("cxr-lt-2026", tmp_path), out=tmp_path / "a.csv")
    assert tuple(rows[0])[2:] == CXR_LT_2026
    assert recorder.plans[0]["left out"] == "listed in Removal.csv: 1"
    assert len({row["PatientID"] for row in rows}) == 4, "patients that agree in 36 of 39 digits"


def test_patients_that_a_spreadsheet_made_floats_of_are_refused(tmp_path: Path) -> None:
    source = SAMPLES / "cxr-lt-2026" / "CXRLT_2026_training_float_patients.csv"
    with pytest.raises(DataError, match=r"column 'PatientID' holds 9\.\d+e\+38 as a patient"):
        labels_only("cxr-lt", source, out=tmp_path / "a.csv")
    shutil.copy(source, tmp_path / "CXRLT_2026_training.csv")
    with pytest.raises(DataError, match="last digits are gone"):
        labels_only("cxr-lt", tmp_path, out=tmp_path / "a.csv")
