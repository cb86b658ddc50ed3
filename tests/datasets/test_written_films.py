"""Films written out: never over others, and nothing at all where one of them cannot be."""

from pathlib import Path

import pytest

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.written_films import Film, folder_for, write_films
from cxrlt_cli.errors import DataError
from tests.datasets.makers import put


def films(**content: bytes) -> list[Film]:
    return [(f"set/{name}.png", lambda data=data: data) for name, data in content.items()]  # type: ignore[misc]


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_films_are_written_once(tmp_path: Path) -> None:
    names = ["set/a.png", "set/b.png"]
    assert write_films(tmp_path, lambda: films(a=b"1", b=b"2"), dry_run=False) == names
    assert files_in(tmp_path) == {"set/a.png": b"1", "set/b.png": b"2"}
    assert write_films(tmp_path, lambda: films(a=b"1", b=b"2"), dry_run=False) == names


def test_a_film_that_is_there_and_differs_stops_all(tmp_path: Path) -> None:
    put(tmp_path, "set/b.png", "mine")
    with pytest.raises(DataError, match="is another film"):
        write_films(tmp_path, lambda: films(a=b"1", b=b"2"), dry_run=False)
    assert files_in(tmp_path) == {"set/b.png": b"mine"}


def test_two_films_of_one_path_stop_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Two films"):
        write_films(tmp_path, lambda: films(a=b"1", A=b"2"), dry_run=False)
    assert files_in(tmp_path) == {}


def test_a_dry_run_writes_none(tmp_path: Path) -> None:
    assert write_films(tmp_path, lambda: films(a=b"1"), dry_run=True) == ["set/a.png"]
    assert files_in(tmp_path) == {}


def test_a_film_that_cannot_be_made_leaves_no_half(tmp_path: Path) -> None:
    def broken() -> bytes:
        raise DataError("damaged")

    with pytest.raises(DataError, match="damaged"):
        write_films(tmp_path, lambda: [*films(a=b"1"), ("set/b.png", broken)], dry_run=False)
    assert files_in(tmp_path) == {"set/a.png": b"1"}


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({"out": "work/labels.csv"}, "work"),
        ({"out": "work/{split}/labels.csv"}, "work"),
        ({"append": "all/labels.csv"}, "all"),
        ({"out": "work/labels.csv", "image_dir": "films"}, "films"),
        ({}, "."),
    ],
)
def test_films_lie_beside_the_csv_or_below_the_image_folder(options: dict[str, str], folder: str) -> None:
    given = DataImportOptions.model_validate({"kind": "medmnist", "sources": ("x.npz",), **options})
    assert folder_for(given) == Path(folder)
