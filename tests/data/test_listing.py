import os
from pathlib import Path

import pytest

from cxrlt_cli.data import listing
from cxrlt_cli.data.listing import Listing, ending_of
from cxrlt_cli.errors import DataError


def lay(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def test_endings_are_those_of_films() -> None:
    named = {"a.png": ".png", "a.PNG": ".PNG", "1.2.3": "", ".png": "", "a.b.dcm": ".dcm", "a": "", "a.txt": ""}
    assert {name: ending_of(name) for name in named} == named


def test_all_names_of_a_stem_are_kept(tmp_path: Path) -> None:
    files = ["a", "a.png", "a.PNG", "w/a.jpg", "w/x.y/z.dcm", "u\u0308.png", "\u00fc.jpg"]
    found = Listing(lay(tmp_path, *files, ".hidden", ".git/a.png"))
    assert sorted(found.files()) == sorted(files)
    assert sorted(found.other_endings("", "a.jpg")) == ["a", "a.PNG", "a.png"]
    assert found.named("", "\u00fc.png") == (1, ["u\u0308.png"])
    assert found.named("", "a") == (0, ["a"])
    assert found.named("w", "a") == (3, ["w/a.jpg"])
    assert found.folder(["w", "x.y"]) == "w/x.y"
    assert found.folder(["w", "nothing"]) is None


def test_a_path_below_is_found_by_its_end(tmp_path: Path) -> None:
    found = Listing(lay(tmp_path, "i1/images/a.png", "i2/images/b.png", "i2/b.jpg", "i3/images/b.png"))
    assert found.below(["a"]) == (3, ["i1/images/a.png"])
    assert found.below(["images", "a.png"]) == (0, ["i1/images/a.png"])
    assert found.below(["b.png"]) == (0, ["i2/images/b.png", "i3/images/b.png"])
    assert found.below(["i2", "images", "b"]) == (3, ["i2/images/b.png"])
    assert found.below(["i1", "i2", "images", "b"])[1] == []


def test_folders_that_cannot_be_looked_into_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, "open/a.png", "shut/b.png")
    scan = os.scandir

    def refuse(path: Path) -> object:  # as root, no folder is shut
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = Listing(tmp_path)
    assert list(found.files()) == ["open/a.png"]
    assert found.closed == ["shut"]


def test_far_too_many_files_are_not_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_FILES", 3)
    lay(tmp_path, "a/1", "a/2", "b/1")
    assert len(list(Listing(tmp_path).files())) == 3
    lay(tmp_path, "b/2")
    with pytest.raises(DataError, match="holds more than 3 files"):
        list(Listing(tmp_path).files())


def test_one_entry_that_cannot_be_looked_at_hides_no_other(tmp_path: Path) -> None:
    lay(tmp_path, *[f"{number}.PNG" for number in range(40)])
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    found = Listing(tmp_path)
    assert len(list(found.files())) == 40
    assert found.closed == []
