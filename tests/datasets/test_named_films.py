"""Shenzhen, Montgomery and JSRT, whose labels are in the films' names."""

from pathlib import Path

import pytest

from cxrlt_cli.datasets.class_folders import read
from cxrlt_cli.errors import DataError
from tests.datasets.makers import column, draw, put, read_by, states


def test_the_last_digit_says_tuberculosis(tmp_path: Path) -> None:
    draw(tmp_path, "CXR_png/MCUCXR_9001_0.png", "CXR_png/MCUCXR_9104_1.png", "ManualMask/leftMask/MCUCXR_9104_1.png")
    records = read_by(read, "folders", tmp_path)
    assert records.findings == ("Tuberculosis",)
    assert states(records) == {"CXR_png/MCUCXR_9001_0.png": [0], "CXR_png/MCUCXR_9104_1.png": [1]}
    assert (records.rows_read, records.left_out) == (3, {"masks": 1})
    assert records.sexes is None
    assert records.patients is None


@pytest.mark.parametrize(
    ("reading", "person"),
    [
        ("male 45yrs\nnormal", ("M", "45")),
        ("Female, 30 yrs \nPTB in the left upper field", ("F", "30")),
        ("male 9 months\nbilateral PTB", ("M", "0")),
        ("Femal,24yr\nSTB", ("F", "24")),
        ("male45y\n5 mm nodule", ("M", "45")),
        ("malignant, 5 mm", ("", "")),
        ("Patient's Sex: F\nPatient's Age: 033Y\nnormal", ("F", "33")),
        ("normal", ("", "")),
    ],
)
def test_sex_and_age_are_read_from_the_readings(tmp_path: Path, reading: str, person: tuple[str, str]) -> None:
    draw(tmp_path, "CXR_png/CHNCXR_9001_0.png", "CXR_png/CHNCXR_9002_1.png")
    put(tmp_path, "ClinicalReadings/CHNCXR_9001_0.txt", reading)
    put(tmp_path, "ClinicalReadings/CHNCXR_9002_1.txt", "male 30yrs")
    records = read_by(read, "folders", tmp_path)
    film = "CXR_png/CHNCXR_9001_0.png"
    assert (column(records, "sexes")[film], column(records, "ages")[film]) == person
    assert any("1 of 2 films is not told" in note for note in records.notes) == (person == ("", ""))
    assert any("below one year" in note for note in records.notes) == (person[1] == "0")


def test_converted_films_of_jsrt_are_read_with_its_tables(tmp_path: Path) -> None:
    draw(tmp_path, "png/JPCLN901.png", "png/JPCNN901.png", "png/JPCNN902.png")
    for stem in ("JPCLN901", "JPCLN902", "JPCNN901"):
        put(tmp_path, f"All247images/{stem}.IMG", b"\0\1")
    cells = "JPCLN901.IMG\t5\t15\t53\tfemale\t1634\t692\tmalignant\tleft upper lobe\tlung cancer\r"
    put(tmp_path, "Clinical/CLNDAT_EN.txt", cells + cells.replace("901", "902"))
    put(tmp_path, "Clinical/CNNDAT_EN.TXT", "JPCNN901.IMG\tmale\t?\tnon-nodule\rJPCNN902.IMG\t44\tfemale\tnon-nodule\r")
    records = read_by(read, "folders", tmp_path)
    assert records.findings == ("Nodule",)
    assert states(records) == {"png/JPCLN901.png": [1], "png/JPCNN901.png": [0], "png/JPCNN902.png": [0]}
    assert list(column(records, "sexes").values()) == ["F", "M", "F"]
    assert list(column(records, "ages").values()) == ["53", "", "44"]
    assert (records.rows_read, records.left_out) == (4, {".IMG that is not converted": 1})


def test_jsrts_own_files_are_no_films(tmp_path: Path) -> None:
    put(tmp_path, "All247images/JPCLN901.IMG", b"\0\1")
    with pytest.raises(DataError, match=r"JSRT's 1 \.IMG are numbers"):
        read_by(read, "folders", tmp_path)


def test_a_table_of_jsrt_without_sexes_is_an_error_with_its_row(tmp_path: Path) -> None:
    draw(tmp_path, "JPCNN901.png", "JPCNN902.png")
    path = put(tmp_path, "CNNDAT_EN.TXT", "JPCNN901.IMG\tmale\t40\tnon-nodule\rJPCNN902.IMG\t40\tman\tnon-nodule\r")
    with pytest.raises(DataError, match=f"{path}, row 2"):
        read_by(read, "folders", tmp_path)


def test_sets_of_both_findings_leave_the_other_one_unlabelled(tmp_path: Path) -> None:
    records = read_by(read, "folders", draw(tmp_path, "a/CHNCXR_9001_1.png", "b/JPCNN901.png"))
    assert records.findings == ("Tuberculosis", "Nodule")
    assert states(records) == {"a/CHNCXR_9001_1.png": [1, -3], "b/JPCNN901.png": [-3, 0]}
