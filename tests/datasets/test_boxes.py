"""ChestX-Det and Object-CXR: what a box is drawn around."""

import json
from pathlib import Path

import pytest

from cxrlt_cli.datasets.boxes import TEN, THIRTEEN, read
from cxrlt_cli.errors import DataError
from tests.datasets.makers import column, put, read_by, states


def of_lists(folder: Path, name: str, **syms: list[str]) -> Path:
    rows = [
        {"file_name": f"{film}.png", "syms": names, "boxes": [[1, 2, 3, 4]] * len(names)}
        for film, names in syms.items()
    ]
    return put(folder, name, json.dumps(rows))


def test_a_film_shows_each_class_in_its_list_and_no_other(tmp_path: Path) -> None:
    of_lists(tmp_path, "train.json", f96205=["Nodule", "Nodule", "Effusion"], f96206=[])
    of_lists(tmp_path, "test.json", f96301=["Mass"])
    records = read_by(read, "boxes", tmp_path)
    assert records.findings == TEN
    shown = {
        film: [TEN[place] for place, state in enumerate(row) if state == 1] for film, row in states(records).items()
    }
    assert shown == {"f96205.png": ["Effusion", "Nodule"], "f96206.png": [], "f96301.png": ["Mass"]}
    assert set(records.states.flat) == {0, 1}
    assert column(records, "parts") == {"f96205.png": "train", "f96206.png": "train", "f96301.png": "test"}
    assert records.rows_read == 3
    assert any("NIH" in note for note in records.notes)


def test_the_later_release_has_thirteen_classes_in_all_its_files(tmp_path: Path) -> None:
    of_lists(tmp_path, "ChestX_Det_train.json", f1=["Cardiomegaly"])
    of_lists(tmp_path, "ChestX_Det_test.json", f2=["Mass"])
    records = read_by(read, "boxes", tmp_path)
    assert records.findings == THIRTEEN
    assert set(records.states.flat) == {0, 1}
    assert column(records, "parts") == {"f1.png": "train", "f2.png": "test"}


@pytest.mark.parametrize(
    ("syms", "words"),
    [
        (["Nodul"], r"row 1: 'syms' lists 'Nodul', .* Did you mean Nodule\?"),
        ("Nodule", "no list"),
        (None, "no list"),
        ([1], "'1'"),
    ],
)
def test_what_is_no_list_of_classes_is_an_error_with_its_row(tmp_path: Path, syms: object, words: str) -> None:
    put(tmp_path, "train.json", json.dumps([{"file_name": "a.png", "syms": syms}]))
    with pytest.raises(DataError, match=words):
        read_by(read, "boxes", tmp_path)


def test_an_empty_cell_is_a_film_without_foreign_objects(tmp_path: Path) -> None:
    put(tmp_path, "train.csv", "image_name,annotation\n1.jpg,\n2.jpg,0 100 200 140 260;2 300 310 320 300 330 350\n")
    put(tmp_path, "dev.csv", "image_name,annotation\n9.jpg,1 5 6 70 80\n")
    put(tmp_path, "sample_submission.csv", "image_name,prediction\n9.jpg,0.5\n")
    records = read_by(read, "boxes", tmp_path)
    assert records.findings == ("Foreign object",)
    assert states(records) == {"9.jpg": [1], "1.jpg": [0], "2.jpg": [1]}
    assert column(records, "parts") == {"9.jpg": "val", "1.jpg": "train", "2.jpg": "train"}
    assert records.rows_read == 3


@pytest.mark.parametrize("cell", ["3 1 2 3 4", "0 1 2 3", "yes", "0 1 2 3 4;"])
def test_what_is_no_object_is_an_error_with_its_row(tmp_path: Path, cell: str) -> None:
    path = put(tmp_path, "train.csv", f"image_name,annotation\n1.jpg,\n2.jpg,{cell}\n")
    with pytest.raises(DataError, match=f"{path}, row 3: 'annotation'"):
        read_by(read, "boxes", path)


def test_two_sets_are_not_read_as_one(tmp_path: Path) -> None:
    of_lists(tmp_path, "train.json", f1=["Mass"])
    put(tmp_path, "train.csv", "image_name,annotation\n1.jpg,\n")
    with pytest.raises(DataError, match="two sets"):
        read_by(read, "boxes", tmp_path)


def test_a_folder_without_boxes_says_what_it_holds(tmp_path: Path) -> None:
    put(tmp_path, "labels.csv", "ImageID,Mass\na.png,1\n")
    with pytest.raises(DataError, match=r"it has labels\.csv"):
        read_by(read, "boxes", tmp_path)
