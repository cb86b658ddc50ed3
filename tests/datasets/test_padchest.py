from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError
from tests.datasets.sets import SAMPLES, drawn, imported, labels_only
from tests.helpers import write_csv

HEADER = ("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
          "Projection", "Labels")  # fmt: skip


def table(folder: Path, *lists: str) -> Path:
    rows = [(n, f"{n}.png", 0, 20130529, f"s{n}", f"p{n}", 1955.0, "F", "PA", cell) for n, cell in enumerate(lists)]
    return write_csv(folder / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", HEADER, rows)


def test_a_subtype_is_what_it_is_a_kind_of_and_a_parent_leaves_its_children_open(tmp_path: Path) -> None:
    source = table(tmp_path, "['fracture']", "['callus rib fracture']", "['fracture', ' rib fracture']", "['normal']")
    rows, _ = labels_only("padchest", source, out=tmp_path / "a.csv")
    told = [(row["fracture"], row["rib fracture"], row["callus rib fracture"]) for row in rows]
    assert told == [("1", "", ""), ("1", "1", "1"), ("1", "1", ""), ("0", "0", "0")]
    rows, _ = labels_only("padchest", source, out=tmp_path / "a.csv", tree=False)
    told = [(row["fracture"], row["rib fracture"], row["callus rib fracture"]) for row in rows]
    assert told == [("1", "0", "0"), ("0", "0", "1"), ("1", "1", "0"), ("0", "0", "0")]


def test_names_are_whole_and_stripped_and_once(tmp_path: Path) -> None:
    source = table(tmp_path, "['pseudonodule', ' pneumonia', 'pneumonia', '']")
    rows, _ = labels_only("padchest", source, out=tmp_path / "a.csv")
    assert [name for name in list(rows[0])[6:] if rows[0][name] == "1"] == ["pneumonia", "pseudonodule"]


@pytest.mark.parametrize(
    "cell", ["nan", "['']", "[]", "['exclude', 'nodule']", "['unchanged']", "['suboptimal study']"]
)
def test_rows_that_say_nothing_are_left_out_and_counted(cell: str, tmp_path: Path) -> None:
    _, recorder = labels_only("padchest", table(tmp_path, cell, "['nodule', 'unchanged']"), out=tmp_path / "a.csv")
    assert recorder.plans[0]["left out"].endswith("unchanged alone): 1")
    assert recorder.plans[0]["films"] == "1"


@pytest.mark.parametrize("cell", ["['nodule'", "nodule", "{'a': 1}[0]", "['a', 1]", "__import__('os')"])
def test_a_damaged_list_is_an_error_with_its_row(cell: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 3: 'Labels' holds .* no list of names"):
        labels_only("padchest", table(tmp_path, "['nodule']", cell), out=tmp_path / "a.csv")


def test_patients_that_lost_their_digits_are_refused(tmp_path: Path) -> None:
    source = table(tmp_path, "['nodule']", "['mass']")
    source.write_text(source.read_text().replace("p0", "8.4e+38").replace("p1", "8.5e+38"))
    with pytest.raises(DataError, match="last digits are gone"):
        labels_only("padchest", source, out=tmp_path / "a.csv")


def test_grounded_reports_have_a_row_a_label(tmp_path: Path) -> None:
    rows, recorder = labels_only("padchest", SAMPLES / "padchest-gr", out=tmp_path / "a.csv")
    assert [(row["Split"], row["cardiomegaly"], row["normal"]) for row in rows] == [
        ("train", "1", "0"),
        ("test", "0", "1"),
    ]
    assert "not for training or tuning there" in recorder.notes[0]


def test_labels_of_sessions_are_those_of_their_films(tmp_path: Path) -> None:
    rows, recorder = imported("padchest", drawn("bimcv-covid19", tmp_path), out=tmp_path / "a.csv")
    assert [(row["ViewPosition"], row["pneumonia"], row["normal"]) for row in rows] == [
        ("AP", "1", "0"), ("PA", "0", "1"), ("L", "0", "1"),
    ]  # fmt: skip
    assert recorder.plans[0]["rows read"] == "4"
    with pytest.raises(DataError, match="labels of sessions, not of films"):
        labels_only("padchest", SAMPLES / "bimcv-covid19", out=tmp_path / "a.csv")


def test_what_one_of_two_files_does_not_name_is_absent_there(tmp_path: Path) -> None:
    for folder, cell in (("one", "['pneumonia']"), ("two", "['normal']")):
        (tmp_path / folder).mkdir()
        table(tmp_path / folder, cell)
    second = next((tmp_path / "two").iterdir())
    second.write_text(second.read_text().replace("0.png", "1.png"))
    rows, _ = labels_only("padchest", next((tmp_path / "one").iterdir()), second, out=tmp_path / "a.csv")
    assert [(row["pneumonia"], row["normal"]) for row in rows] == [("1", "0"), ("0", "1")]
