"""Sets of the Hugging Face Hub: metadata, shards, folders."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cxrlt_cli.datasets.huggingface import read
from cxrlt_cli.datasets.records import BLANK
from cxrlt_cli.errors import DataError
from tests.datasets.makers import column, draw, put, read_by, states
from tests.tables.test_shards import saved


def png(value: int) -> bytes:
    return bytes(cv2.imencode(".png", np.full((8, 8), value, np.uint8))[1])


def jpeg(value: int) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((8, 8), value, np.uint8))[1])


def with_metadata(folder: Path) -> Path:
    put(folder, "train/metadata.csv", 'file_name,patient,findings\n0001.png,p1,"Effusion,Mass"\nsub/0002.png,p2,\n')
    lines = [
        {"file_name": "0003.png", "patient": "p3", "findings": ["Effusion"], "Effusion": 1, "Mass": 0},
        {"file_name": "0004.png", "patient": "p3", "findings": [], "Effusion": 0, "Mass": None},
    ]
    put(folder, "test/metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return draw(folder, "train/0001.png", "train/sub/0002.png", "test/0003.png", "test/0004.png")


def test_metadata_names_films_from_its_own_folder(tmp_path: Path) -> None:
    records = read_by(read, "huggingface", with_metadata(tmp_path / "set"))
    assert records.findings == ("Effusion", "Mass")
    assert states(records) == {
        "train/0001.png": [1, 1],
        "train/sub/0002.png": [BLANK, BLANK],
        "test/0003.png": [1, 0],
        "test/0004.png": [0, BLANK],
    }
    assert list(column(records, "patients").values()) == ["p1", "p2", "p3", "p3"]
    assert list(column(records, "parts").values()) == ["train", "train", "test", "test"]
    assert (records.rows_read, records.films_below) == (4, None)


def test_ids_are_paths_below_the_image_folder(tmp_path: Path) -> None:
    folder = with_metadata(tmp_path / "set")
    records = read_by(read, "huggingface", folder / "train/metadata.csv", image_dir=tmp_path)
    assert list(records.films) == ["set/train/0001.png", "set/train/sub/0002.png"]
    draw(tmp_path, "elsewhere/0001.png")
    records = read_by(read, "huggingface", folder / "train/metadata.csv", image_dir=tmp_path / "elsewhere")
    assert list(records.films) == ["0001.png", "sub/0002.png"]


def test_metadata_may_be_parquet_with_lists(tmp_path: Path) -> None:
    saved(tmp_path / "metadata.parquet", file_name=["a.png", "b.png"], findings=[["Mass"], None])
    assert states(read_by(read, "huggingface", tmp_path)) == {"a.png": [1], "b.png": [BLANK]}


def test_without_metadata_folders_are_classes(tmp_path: Path) -> None:
    draw(tmp_path, "train/Normal/a.png", "train/Pneumonia/b.png", "test/Pneumonia/c.png")
    records = read_by(read, "huggingface", tmp_path)
    assert states(records) == {
        "test/Pneumonia/c.png": [0, 1],
        "train/Normal/a.png": [1, 0],
        "train/Pneumonia/b.png": [0, 1],
    }


def test_older_sets_name_their_classes_apart(tmp_path: Path) -> None:
    put(tmp_path, "metadata.csv", "file_name,label\na.png,1\nb.png,0\n")
    features = {"label": {"names": ["Normal", "Sick"], "_type": "ClassLabel"}}
    put(tmp_path, "dataset_infos.json", json.dumps({"default": {"features": features}}))
    assert states(read_by(read, "huggingface", tmp_path)) == {"a.png": [0, 1], "b.png": [1, 0]}
    put(tmp_path, "dataset_infos.json", "{}")
    with pytest.raises(DataError, match="describes no features"):
        read_by(read, "huggingface", tmp_path)


def with_shards(folder: Path, **paths: Any) -> Path:
    """Two shards of train and one of test, of a PNG and a JPEG each; ``paths``: what their films were called."""
    features = {"label": {"names": ["Normal", "Sick"], "_type": "ClassLabel"}}
    for number, shard in enumerate(("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")):
        names = paths.get(shard[:5].strip("-"), (f"x/{number}a.png", f"x/{number}b.png"))
        packed = [{"bytes": png(number), "path": names[0]}, {"bytes": jpeg(number), "path": names[1]}]
        saved(folder / f"data/{shard}.parquet", packed, features, label=[0, 1], patient=[f"p{number}", f"p{number}"])
    return folder


def test_films_are_written_as_they_are_packed(tmp_path: Path) -> None:
    folder = with_shards(tmp_path / "cxr")
    records = read_by(read, "huggingface", folder, out=tmp_path / "out/labels.csv")
    assert records.films_below == tmp_path / "out"
    assert states(records) == {
        f"cxr-films/{name}": state
        for name, state in {
            "test/2a.png": [1, 0],
            "test/2b.jpg": [0, 1],
            "train/0a.png": [1, 0],
            "train/0b.jpg": [0, 1],
            "train/1a.png": [1, 0],
            "train/1b.jpg": [0, 1],
        }.items()
    }
    assert (tmp_path / "out/cxr-films/train/1a.png").read_bytes() == png(1)
    assert (tmp_path / "out/cxr-films/train/1b.jpg").read_bytes() == jpeg(1)
    assert set(column(records, "parts").values()) == {"train", "test"}
    assert column(records, "patients")["cxr-films/test/2b.jpg"] == "p2"
    assert records.notes[-1] == f"Films are files below {tmp_path / 'out/cxr-films'}: 6."
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = read_by(read, "huggingface", folder, out=tmp_path / "out/labels.csv")
    assert states(again) == states(records)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("names", [(None, None), ("image.png", "image.png"), ("../a", "..")])
def test_films_without_names_of_their_own_get_numbers(tmp_path: Path, names: tuple[str | None, str | None]) -> None:
    records = read_by(read, "huggingface", with_shards(tmp_path / "cxr", train=names), out=tmp_path / "labels.csv")
    train = [film for film in records.films if "/train/" in film]
    assert train == [f"cxr-films/train/{name}" for name in ("00000.png", "00001.jpg", "00002.png", "00003.jpg")]


def test_a_film_of_another_format_stops_all(tmp_path: Path) -> None:
    packed = [{"bytes": png(0), "path": None}, {"bytes": b"GIF89a", "path": None}]
    path = saved(tmp_path / "cxr/train.parquet", packed, Mass=[0, 1])
    with pytest.raises(DataError, match="film 2: neither PNG nor JPEG"):
        read_by(read, "huggingface", path, out=tmp_path / "labels.csv")
    assert not (tmp_path / "cxr-films").exists()


def test_labels_are_read_before_a_film_is_written(tmp_path: Path) -> None:
    path = saved(tmp_path / "cxr/train.parquet", [{"bytes": png(0), "path": None}], label=[3])
    with pytest.raises(DataError, match="nothing says of which classes"):
        read_by(read, "huggingface", path, out=tmp_path / "labels.csv")
    assert not (tmp_path / "cxr-films").exists()


def test_a_dry_run_writes_no_film(tmp_path: Path) -> None:
    folder = with_shards(tmp_path / "cxr")
    assert len(read_by(read, "huggingface", folder, out=tmp_path / "labels.csv", dry_run=True)) == 6
    assert [found.name for found in tmp_path.iterdir()] == ["cxr"]


def test_metadata_and_shards_together_are_refused(tmp_path: Path) -> None:
    put(with_shards(tmp_path), "metadata.csv", "file_name,Mass\na.png,1\n")
    with pytest.raises(DataError, match="two ways to tell of films"):
        read_by(read, "huggingface", tmp_path)


def test_metadata_without_film_names_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "metadata.csv", "image,Mass\na.png,1\n")
    with pytest.raises(DataError, match="no column 'file_name'"):
        read_by(read, "huggingface", tmp_path)
