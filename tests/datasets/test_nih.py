from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError
from tests.datasets.sets import SAMPLES, labels_only
from tests.helpers import write_csv

HEADER = ("Image Index", "Finding Labels", "Patient ID")


def test_the_release_of_2017_with_its_commas_says_the_same(tmp_path: Path) -> None:
    new, _ = labels_only("nih", SAMPLES / "nih", out=tmp_path / "a.csv")
    lists = [SAMPLES / "nih" / f"{name}.txt" for name in ("train_val_list", "test_list")]
    old, _ = labels_only("nih", SAMPLES / "nih" / "Data_Entry_2017.csv", *lists, out=tmp_path / "b.csv")
    assert old == new
    alone, recorder = labels_only("nih", SAMPLES / "nih" / "Data_Entry_2017.csv", out=tmp_path / "b.csv")
    assert "Split" not in alone[0]
    assert "No train_val_list.txt and test_list.txt: without the official parts." in recorder.notes


def test_google_labels_four_findings_anew(tmp_path: Path) -> None:
    rows, _ = labels_only("nih", SAMPLES / "nih" / "google2019_nih-chest-xray-labels.csv", out=tmp_path / "a.csv")
    assert [row["Split"] for row in rows] == ["test", "test", "val"]
    assert [row["Pneumothorax"] for row in rows] == ["0", "1", "0"]
    assert list(rows[0])[-4:] == ["Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass"]


def test_long_tailed_columns_and_no_number_of_a_patient_among_them(tmp_path: Path) -> None:
    rows, recorder = labels_only("nih", SAMPLES / "nih-lt", out=tmp_path / "a.csv")
    assert "subject_id" not in rows[0]
    assert {row["Split"] for row in rows} == {"train", "val", "test"}
    assert sum(row["Infiltration"] == "1" for row in rows) == 1, "the files of several labels a film"
    assert any("Read miccai2023_nih-cxr-lt_labels_*.csv" in note for note in recorder.notes)
    single = sorted((SAMPLES / "nih-lt").glob("nih-cxr-lt_single-label_t*.csv"))
    rows, _ = labels_only("nih", *single, out=tmp_path / "a.csv")
    assert [row["Split"] for row in rows] == ["test"] * 2 + ["train"] * 6


def test_padded_patients_are_one(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "a.csv", HEADER, [("1_0.png", "Mass", "00000001"), ("1_1.png", "No Finding", "1")])
    rows, recorder = labels_only("nih", table, out=tmp_path / "b.csv")
    assert [row["PatientID"] for row in rows] == ["1", "1"]
    assert recorder.plans[0]["patients"] == "1"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [("a.png", "Mass", "1"), ("b.png", "Mass|Infiltrate", "1")],
            r"row 3: 'Infiltrate' .*Did you mean Infiltration\?",
        ),
        ([("a.png", "", "1")], r"row 2: '' in 'Finding Labels'"),
        ([("a.png", "Mass", "1"), ("a.png", "Nodule", "1")], r"names the film a\.png more than once"),
        ([("../a.png", "Mass", "1")], "leaves the image folder"),
    ],
)
def test_what_is_none_of_its_labels_or_films_is_an_error(
    rows: list[tuple[str, ...]], said: str, tmp_path: Path
) -> None:
    table = write_csv(tmp_path / "a.csv", HEADER, rows)
    with pytest.raises(DataError, match=said):
        labels_only("nih", table, out=tmp_path / "b.csv")


def test_lists_that_contradict_each_other(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "a.csv", HEADER, [("a.png", "Mass", "1")])
    for name in ("train_val_list", "test_list"):
        (tmp_path / f"{name}.txt").write_text("a.png")
    lists = [tmp_path / "train_val_list.txt", tmp_path / "test_list.txt"]
    with pytest.raises(DataError, match=r"a\.png is in both lists"):
        labels_only("nih", table, *lists, out=tmp_path / "b.csv")
    with pytest.raises(DataError, match="is neither train_val_list"):
        labels_only("nih", table, lists[0].rename(tmp_path / "x.txt"), out=tmp_path / "b.csv")


def test_lists_that_name_none_of_the_films(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "a.csv", HEADER, [("a.png", "Mass", "1")])
    (tmp_path / "test_list.txt").write_text("a")
    with pytest.raises(DataError, match=r"test_list\.txt name none of the films, such as a\."):
        labels_only("nih", table, tmp_path / "test_list.txt", out=tmp_path / "b.csv")
