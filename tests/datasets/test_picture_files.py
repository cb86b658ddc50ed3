"""What lies below the folders of a set without a label file."""

from pathlib import Path

import pytest

from cxrlt_cli.datasets.picture_files import files_below, films_of, is_mask, parts_by_folder
from cxrlt_cli.datasets.records import part_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import OptionError
from tests.datasets.makers import draw, put


def test_ids_are_paths_below_the_image_folder_whatever_is_source(tmp_path: Path) -> None:
    draw(tmp_path, "sets/one/A/x.png", "sets/two/B/y.png")
    one, two = tmp_path / "sets/one", tmp_path / "sets/two"
    assert files_below(SetFiles.of([one], None, True)) == ["A/x.png"]
    assert files_below(SetFiles.of([one], tmp_path / "sets", True)) == ["one/A/x.png"]
    assert files_below(SetFiles.of([one, two], None, True)) == ["one/A/x.png", "two/B/y.png"]
    assert files_below(SetFiles.of([tmp_path], one, True)) == ["A/x.png"]


def test_a_set_beside_the_image_folder_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, "one/A/x.png", "two/B/y.png")
    with pytest.raises(OptionError, match="does not lie below --image-dir"):
        files_below(SetFiles.of([tmp_path / "one"], tmp_path / "two", True))
    with pytest.raises(OptionError, match="is a file"):
        files_below(SetFiles.of([tmp_path / "one/A/x.png"], None, True))


def test_rubbish_of_archives_is_no_film(tmp_path: Path) -> None:
    draw(tmp_path, "A/x.png", "A/masks/x.png", "__MACOSX/A/x.png", "A/._x.png")
    put(tmp_path, "A/.DS_Store", "")
    put(tmp_path, "A/notes.txt", "")
    paths = files_below(SetFiles.of([tmp_path], None, True))
    assert paths == ["A/masks/x.png", "A/notes.txt", "A/x.png"]
    assert films_of(paths) == ["A/masks/x.png", "A/x.png"]
    assert [is_mask(path) for path in paths] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "part"), [("train", "train"), ("Validation", "val"), ("dev", "val"), ("TEST", "test"), ("NORMAL", "")]
)
def test_parts_are_known_by_their_names(name: str, part: str) -> None:
    assert part_of(name) == part


def test_the_lowest_folder_of_a_part_counts() -> None:
    parts = parts_by_folder(["test/train/A/x.png", "valid/A/y.png", "A/z.png"])
    assert parts is not None
    assert parts.tolist() == ["train", "val", ""]
    assert parts_by_folder(["A/train.png"]) is None
