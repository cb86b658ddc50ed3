"""ChestMNIST: arrays, written out as films."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cxrlt_cli.datasets.medmnist import FINDINGS, read
from cxrlt_cli.errors import DataError
from tests.datasets.makers import column, put, read_by, states


def arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    content: dict[str, Any] = {}
    for part, number in (("train", 3), ("val", 1), ("test", 2)):
        content[f"{part}_images"] = rng.integers(0, 256, (number, 28, 28), np.uint8)
        content[f"{part}_labels"] = rng.integers(0, 2, (number, 14), np.uint8)
    return content | changes


def saved(folder: Path, **content: Any) -> Path:
    path = folder / "chestmnist.npz"
    np.savez_compressed(path, allow_pickle=True, **{name: held for name, held in content.items() if held is not None})
    return path


def test_films_are_written_with_their_labels(tmp_path: Path) -> None:
    content = arrays()
    saved(tmp_path, **content)
    records = read_by(read, "medmnist", tmp_path, out=tmp_path / "out/labels.csv")
    assert records.films_below == tmp_path / "out"
    assert records.findings == FINDINGS
    names = [f"chestmnist/{part}/0000{row}.png" for part, row in (("train", 0), ("train", 1), ("train", 2), ("val", 0))]
    assert list(records.films) == [*names, "chestmnist/test/00000.png", "chestmnist/test/00001.png"]
    for film, row in states(records).items():
        part, number = film.split("/")[1], int(film[-9:-4])
        assert row == content[f"{part}_labels"][number].tolist()
        written = cv2.imread(str(tmp_path / "out" / film), cv2.IMREAD_UNCHANGED)
        assert written is not None
        assert np.array_equal(written, content[f"{part}_images"][number])
    assert column(records, "parts")["chestmnist/val/00000.png"] == "val"
    assert (records.patients, records.rows_read) == (None, 6)


def test_a_second_import_writes_nothing_anew(tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays())
    read_by(read, "medmnist", path, out=tmp_path / "labels.csv")
    before = {film: film.stat().st_mtime_ns for film in tmp_path.rglob("*.png")}
    read_by(read, "medmnist", path, out=tmp_path / "labels.csv")
    assert len(before) == 6
    assert {film: film.stat().st_mtime_ns for film in tmp_path.rglob("*.png")} == before


def test_a_dry_run_writes_no_film(tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays())
    assert len(read_by(read, "medmnist", path, out=tmp_path / "labels.csv", dry_run=True)) == 6
    assert [found.name for found in tmp_path.iterdir()] == ["chestmnist.npz"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_labels": np.full((3, 14), 2, np.uint8)}, "row 0: Atelectasis is 2"),
        ({"train_labels": np.zeros((3, 1), np.uint8)}, "ChestMNIST alone is read"),
        ({"train_labels": np.zeros((2, 14), np.uint8)}, "is not 2 grey films"),
        ({"val_images": np.zeros((1, 28, 28, 3), np.uint8)}, r"val_images: uint8 \(1, 28, 28, 3\)"),
        ({"val_images": None}, "holds no val_images"),
        ({"val_images": np.array([{"a": 1}], object)}, "no plain array"),
        (dict.fromkeys(("train_labels", "val_labels", "test_labels")), "holds no train_labels"),
    ],
)
def test_what_is_not_chestmnist_is_refused_before_a_film_is_written(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = saved(tmp_path, **arrays(**changes))
    with pytest.raises(DataError, match=words):
        read_by(read, "medmnist", path, out=tmp_path / "labels.csv")
    assert [found.name for found in tmp_path.iterdir()] == ["chestmnist.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no array"])
def test_a_damaged_file_is_an_error_of_the_data(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path, "chestmnist.npz", content)
    with pytest.raises(DataError, match="Fetch it again"):
        read_by(read, "medmnist", path, out=tmp_path / "labels.csv")
