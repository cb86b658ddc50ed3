"""Folders as classes: COVID-19 Radiography, Kermany and any other."""

from pathlib import Path

import pytest

from cxrlt_cli.datasets.class_folders import read
from cxrlt_cli.errors import DataError
from tests.datasets.makers import column, draw, put, read_by, states

KERMANY = (
    "chest_xray/train/NORMAL/IM-9115-0001.jpeg",
    "chest_xray/train/PNEUMONIA/person9001_bacteria_1.jpeg",
    "chest_xray/train/PNEUMONIA/person9001_virus_2.jpeg",
    "chest_xray/val/PNEUMONIA/person9946_bacteria_4874.jpeg",
    "chest_xray/test/PNEUMONIA/person9001_virus_6.jpeg",
)


def test_classes_exclude_each_other_and_masks_are_no_films(tmp_path: Path) -> None:
    for name in ("COVID/{}/COVID-1.png", "Normal/{}/Normal-1.png", "Viral Pneumonia/{}/Viral Pneumonia-1.png"):
        draw(tmp_path, name.format("images"), name.format("masks"))
    records = read_by(read, "folders", tmp_path)
    assert records.findings == ("COVID", "Normal", "Viral Pneumonia")
    assert states(records) == {
        "COVID/images/COVID-1.png": [1, 0, 0],
        "Normal/images/Normal-1.png": [0, 1, 0],
        "Viral Pneumonia/images/Viral Pneumonia-1.png": [0, 0, 1],
    }
    assert (records.rows_read, records.left_out) == (6, {"masks": 3})
    assert records.patients is None
    assert records.parts is None


def test_the_numbers_of_patients_begin_anew_in_test(tmp_path: Path) -> None:
    records = read_by(read, "folders", draw(tmp_path, *KERMANY))
    patients = {film.removeprefix("chest_xray/"): patient for film, patient in column(records, "patients").items()}
    assert patients == {
        "train/NORMAL/IM-9115-0001.jpeg": "chest_xray/train/NORMAL/IM-9115-0001.jpeg",
        "train/PNEUMONIA/person9001_bacteria_1.jpeg": "person9001",
        "train/PNEUMONIA/person9001_virus_2.jpeg": "person9001",
        "val/PNEUMONIA/person9946_bacteria_4874.jpeg": "person9946",
        "test/PNEUMONIA/person9001_virus_6.jpeg": "test/person9001",
    }
    assert sorted(column(records, "parts").values()) == ["test", "train", "train", "train", "val"]
    assert any("1 of 5 films tell no patient" in note for note in records.notes)
    assert not records.is_official


@pytest.mark.parametrize("source", ["", "chest_xray"])
def test_a_tree_packed_into_itself_is_told_and_read_once(tmp_path: Path, source: str) -> None:
    draw(tmp_path, *KERMANY, *(f"chest_xray/{film}" for film in KERMANY), f"chest_xray/__MACOSX/{KERMANY[0]}")
    records = read_by(read, "folders", tmp_path / source)
    assert len(records) == 5
    assert (records.rows_read, records.left_out) == (10, {"a second copy of the tree": 5})


def test_films_that_lie_in_the_second_tree_alone_are_read(tmp_path: Path) -> None:
    draw(tmp_path, "A/A/x.png", "A/A/y.png", "A/x.png", "B/z.png")
    records = read_by(read, "folders", tmp_path)
    assert set(records.films) == {"A/x.png", "A/A/y.png", "B/z.png"}


@pytest.mark.parametrize(
    ("films", "words"),
    [
        (("x.png", "A/y.png"), "x.png lies in no folder"),
        (("NORMAL/train/x.png", "SICK/test/y.png"), "a part, train, not a class"),
        (("films/x.png", "films/y.png"), "no other class"),
        (("train/Normal/x.png", "test/NORMAL/y.png", "test/Sick/z.png"), "NORMAL, Normal are one class"),
        ((), "holds no film"),
    ],
)
def test_what_is_no_class_is_refused(tmp_path: Path, films: tuple[str, ...], words: str) -> None:
    put(tmp_path, "README.txt", "")
    with pytest.raises(DataError, match=words):
        read_by(read, "folders", draw(tmp_path, *films))
