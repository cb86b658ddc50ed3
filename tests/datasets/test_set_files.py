from pathlib import Path

import pytest

from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, OptionError


def made(folder: Path, *names: str) -> SetFiles:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return SetFiles.of([folder], None, True)


def test_label_files_are_found_near_the_top_packed_or_not(tmp_path: Path) -> None:
    files = made(
        tmp_path, "A.csv", "a/b/c.csv.gz", "a/b/deep/d.csv", "films/x.png", ".hidden/e.csv", "t.csv", "t.csv.gz"
    )
    assert [str(path.relative_to(tmp_path)) for path in files.label_files] == ["A.csv", "t.csv", "a/b/c.csv.gz"]
    assert files.named("C.csv") == [tmp_path / "a" / "b" / "c.csv.gz"]
    assert files.single("table", "none.csv") is None
    with pytest.raises(DataError, match=r"holds more than one table: .*A\.csv, .*t\.csv"):
        files.single("table", "a.csv", "t.csv")


def test_the_image_folder_is_the_sets_or_what_holds_all_files(tmp_path: Path) -> None:
    made(tmp_path, "x/a.csv", "x/y/b.csv")
    assert SetFiles.of([tmp_path / "x"], None, True).image_dir == tmp_path / "x"
    assert (
        SetFiles.of([tmp_path / "x" / "a.csv", tmp_path / "x" / "y" / "b.csv"], None, True).image_dir == tmp_path / "x"
    )
    with pytest.raises(OptionError, match=r"--image-dir .*films is no folder"):
        SetFiles.of([tmp_path], tmp_path / "films", True)


def test_films_are_sorted_and_no_rubbish_of_archives(tmp_path: Path) -> None:
    files = made(tmp_path, "b.png", "a/c.dcm", "__MACOSX/a/c.dcm", "._b.png")
    assert [film for film in files.films if not film.endswith(".csv")] == ["a/c.dcm", "b.png"]
