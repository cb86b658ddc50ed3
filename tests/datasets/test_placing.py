from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.datasets.placing import placed
from cxrlt_cli.datasets.raw_table import texts
from cxrlt_cli.datasets.records import Records
from cxrlt_cli.errors import DataError
from tests.datasets.sets import draw_film


def find(folder: Path, *films: str, missing: str = "error") -> list[str]:
    records = Records(texts(films), ("X",), np.zeros((len(films), 1), np.int8))
    done = placed(records, folder, missing, lambda *_: nullcontext(lambda _: None))  # type: ignore[arg-type]
    return [str(film) for film in done.films]


def test_by_path_by_name_anywhere_and_without_folders_that_lack(tmp_path: Path) -> None:
    for film in ("train/a.png", "images_001/images/b.png", "study/view1.jpg"):
        draw_film(tmp_path / film)
    assert find(tmp_path, "train/a.png", "b.png", "Set-v1.0/study/view1.jpg") == [
        "train/a.png",
        "images_001/images/b.png",
        "study/view1.jpg",
    ]


def test_in_another_format_but_never_one_film_for_two(tmp_path: Path) -> None:
    draw_film(tmp_path / "a.png")
    assert find(tmp_path, "a.jpg") == ["a.png"]
    assert find(tmp_path, "a.png", "a.jpg", missing="leave-out") == ["a.png"]


def test_two_that_answer_equally_well_are_an_error(tmp_path: Path) -> None:
    for film in ("one/a.png", "two/a.png"):
        draw_film(tmp_path / film)
    with pytest.raises(DataError, match=r"may be one/a\.png or two/a\.png"):
        find(tmp_path, "a.png", missing="leave-out")


def test_an_empty_file_is_an_error_and_missing_ones_are_told_by_folder(tmp_path: Path) -> None:
    draw_film(tmp_path / "p10" / "a.png")
    with pytest.raises(DataError, match=r"3 of 4 films are not below .*: 2 of p11/, 1 of p12/\."):
        find(tmp_path, "p10/a.png", "p11/b.png", "p11/c.png", "p12/d.png")
    (tmp_path / "p11").mkdir()
    (tmp_path / "p11" / "b.png").touch()
    with pytest.raises(DataError, match="is empty"):
        find(tmp_path, "p10/a.png", "p11/b.png", missing="leave-out")
