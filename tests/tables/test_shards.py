"""Parquet of Hugging Face: films, lists and numbers of classes."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.shards import class_names, classes_of, film_paths, films, image_column, text_columns

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def saved(path: Path, films: list[Any] | None = None, features: Any = None, **columns: Any) -> Path:
    arrays = {name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in columns.items()}
    if films is not None:
        arrays["image"] = pa.array(films, IMAGE)
    table = pa.table(arrays)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


def test_films_and_their_paths_are_read_apart_from_the_columns(tmp_path: Path) -> None:
    held = [{"bytes": b"one", "path": "a/1.png"}, {"bytes": b"two", "path": None}]
    path = saved(tmp_path / "train.parquet", held, label=[0, 1])
    assert image_column(path) == "image"
    assert film_paths(path, "image") == ["a/1.png", ""]
    assert list(films(path, "image")) == [b"one", b"two"]
    assert text_columns(path) == {"label": ["0", "1"]}


def test_cells_become_text_and_null_becomes_nothing(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "metadata.parquet",
        findings=[["Mass", None], [], None],
        flag=[True, False, None],
        number=[1.0, 0.5, None],
        nan=[1.0, float("nan"), None],
        text=[" a ", "", None],
    )
    assert image_column(path) is None
    assert text_columns(path) == {
        "findings": ['["Mass"]', "[]", ""],
        "flag": ["1", "0", ""],
        "number": ["1", "0.5", ""],
        "nan": ["1", "", ""],
        "text": ["a", "", ""],
    }


@pytest.mark.parametrize(
    "film", [None, {"bytes": None, "path": "http://elsewhere/1.png"}, {"bytes": b"", "path": None}]
)
def test_a_film_that_is_not_in_the_table_is_an_error_with_its_row(tmp_path: Path, film: Any) -> None:
    path = saved(tmp_path / "train.parquet", [{"bytes": b"one", "path": None}, film])
    with pytest.raises(DataError, match="film 2"):
        list(films(path, "image"))


def test_films_in_two_columns_are_refused(tmp_path: Path) -> None:
    pairs = pa.array([{"bytes": b"1", "path": None}], IMAGE)
    path = saved(tmp_path / "train.parquet", frontal=pairs, lateral=pairs)
    with pytest.raises(DataError, match="frontal, lateral"):
        image_column(path)


def test_classes_are_named_by_the_shard(tmp_path: Path) -> None:
    features = {"label": {"names": ["Normal", "Sick"], "_type": "ClassLabel"}, "text": {"_type": "Value"}}
    assert class_names(saved(tmp_path / "a.parquet", features=features, label=[0])) == {"label": ("Normal", "Sick")}
    assert class_names(saved(tmp_path / "b.parquet", label=[0])) == {}
    assert class_names(saved(tmp_path / "c.parquet", features=[], label=[0])) == {}


@pytest.mark.parametrize("kind", ["Sequence", "List", None])
def test_classes_of_lists_are_named_as_any_version_writes_them(kind: str | None) -> None:
    label = {"names": ["Normal", "Sick"], "_type": "ClassLabel"}
    feature = [label] if kind is None else {"feature": label, "_type": kind}
    assert classes_of({"labels": feature}) == {"labels": ("Normal", "Sick")}


@pytest.mark.parametrize("content", [b"", b"PAR1 cut short", b"no Parquet"])
def test_a_damaged_file_is_an_error_of_the_data(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged one"):
        image_column(path)
