"""The folder that the films of a CSV lie in."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.errors import DataError, OptionError
from tests.helpers import Recorder

IDS = ["film000.png", "film001.png"]


def folder_of(csv: Path, image_dir: Path | None, ids: Sequence[str]) -> Path:
    return finder(csv, image_dir, ids, "follow", Recorder().progress).folder


def test_the_folder_is_the_csvs_or_images_beside_it(labels: Path, tmp_path: Path) -> None:
    images = labels.parent / "images"
    assert folder_of(labels, None, IDS) == images
    assert folder_of(images / "inside.csv", None, ["gone.png", *IDS]) == images
    assert folder_of(labels, tmp_path, IDS) == tmp_path
    with pytest.raises(DataError, match="none is in"):
        folder_of(tmp_path / "labels.csv", None, IDS)
    with pytest.raises(OptionError, match="not a folder"):
        folder_of(labels, tmp_path / "nothing", IDS)


def test_of_two_folders_the_one_that_has_more_is_taken(tmp_path: Path) -> None:
    (tmp_path / "images" / "ward").mkdir(parents=True)
    ids = [f"f{number}.png" for number in range(10)]
    (tmp_path / "f0.png").write_bytes(b"x")
    csv = tmp_path / "labels.csv"
    assert folder_of(csv, None, ids) == tmp_path
    for film in ids[3:]:
        (tmp_path / "images" / film).write_bytes(b"x")
    assert folder_of(csv, None, ids) == tmp_path / "images"
    stems = [film.removesuffix(".png") for film in ids]
    assert folder_of(csv, None, stems) == tmp_path / "images"
    for film in ids:
        (tmp_path / "images" / film).unlink(missing_ok=True)
        (tmp_path / "images" / "ward" / film).write_bytes(b"x")
    assert folder_of(csv, None, stems) == tmp_path  # which has one of them
    (tmp_path / "f0.png").unlink()
    assert folder_of(csv, None, stems) == tmp_path / "images"  # though its films lie below the CSV's folder too


def test_a_folder_is_chosen_by_a_few_hundred_films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "f99999.png").write_bytes(b"x")
    asked: list[Path] = []
    there = Path.is_file

    def is_file(path: Path) -> bool:
        asked.append(path)
        return there(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    assert folder_of(tmp_path / "labels.csv", None, [f"f{number}.png" for number in range(100_000)]).name == "images"
    assert len(asked) <= 1000
