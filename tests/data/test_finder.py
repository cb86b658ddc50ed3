import os
import pickle
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.data.finder import Finder, Found, Naming
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.errors import DataError
from tests.data.test_image import dicom
from tests.helpers import Recorder, write_csv

PIXELS = np.arange(64, dtype=np.uint16).reshape(8, 8)
NFC, NFD = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))


def lay(folder: Path, files: Iterable[str]) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")


def look(folder: Path, *stretches: Sequence[str], recorder: Recorder | None = None) -> Found:
    return Finder(folder, "follow", (recorder or Recorder()).progress, 2).find(lambda: stretches)


FOUND = {
    "as written": ({"a.png": "a.png", "b": "b", "c/d.jpg": "c/d.jpg"}, []),
    "no ending": ({"a": "a.png", "b": "b.png", "v1.2": "v1.2.png"}, []),
    "endings of several kinds": ({"a": "a.png", "b": "b.jpg", "c": "c.DCM", "d.jpeg": "d.jpeg", "e": "e.Dicom"}, []),
    "endings in capitals": ({"a": "a.PNG", "b.png": "b.PNG", "c.JPG": "c.jpg"}, []),
    "as written, though others answer": ({"a.png": "a.png", "b": "b"}, ["a.PNG", "a.jpg", "b.png"]),
    "forms of Unicode": ({f"{NFC}.png": f"{NFD}.png", f"{NFD}/a": f"{NFC}/a.png"}, []),
    "one form of two": ({f"{NFC}.png": f"{NFC}.png", f"{NFD}.png": f"{NFD}.png"}, []),
    "backslashes": ({"ward\\a.png": "ward/a.png", "ward\\b": "ward/b.png"}, []),
    "a backslash in a name": ({"ward\\a.png": "ward\\a.png"}, ["ward/a.png"]),
    "NIH": ({"1.png": "images_001/images/1.png", "2.png": "images_002/images/2.png"}, []),
    "NIH by their folder": ({"images/1.png": "images_001/images/1.png", "images/2": "x/images/2.png"}, ["y/1.png"]),
    "CheXpert": ({"CheXpert-v1.0-small/train/p1/v.jpg": "train/p1/v.jpg", "CheXpert-v1.0-small/b.png": "b.png"}, []),
    "several folders too many": ({"set/a/b/1.png": "b/1.png", "set\\a\\b\\2": "b/2.png", "x/3.png": "3.png"}, []),
    "laid flat": ({"0/a.png": "a.png", "1/b.png": "b.png"}, []),
    "dots": ({"./a.png": "a.png", "b//c.png": "b/c.png", "b/./d.png": "b/d.png"}, []),
    "nested, with the same names": ({"p1/s1/v.jpg": "p1/s1/v.jpg", "p2/s1/v.jpg": "p2/s1/v.jpg"}, ["p3/s1/v.jpg"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_films_are_found_as_people_write_them(tmp_path: Path, name: str) -> None:
    expected, others = FOUND[name]
    lay(tmp_path, [*expected.values(), *others])
    for stretches in ([list(expected)], [[film] for film in expected], [[], list(expected)[::-1]]):
        found = look(tmp_path, *stretches)
        assert found.faults() == []
        assert found.number == len(expected)
        naming: Naming = pickle.loads(pickle.dumps(found.naming))
        assert {film: naming.path(film) for film in expected} == {f: tmp_path / path for f, path in expected.items()}


UNCLEAR = {
    "two endings": (["f00"], ["f00.png", "f00.jpg"], "f00: may be f00.(png|jpg) or f00.(png|jpg)"),
    "two spellings of one": (["f00.png"], ["f00.PNG", "f00.Png"], r"f00\.png: may be f00"),
    "two folders": (["f00.png"], ["a/f00.png", "b/f00.png"], r"may be a/f00\.png or b/f00\.png"),
    "two folders and no ending": (["f00"], ["a/f00.png", "b/f00.jpg"], r"may be a/f00\.png or b/f00\.jpg"),
    "two ids": (["f00", "f00.png"], ["f00.png"], r"f00\.png: is the film of two ids, f00 and f00\.png"),
    "two ids by slashes": (["a/f.png", "a\\f.png"], ["a/f.png"], r"is the film of two ids, a/f\.png and a\\f\.png"),
    "two ids by folders": (["x/f.png", "y/f.png"], ["f.png"], r"is the film of two ids, x/f\.png and y/f\.png"),
    "a missing film with a common name": (
        ["p1/v.jpg", "p2/v.jpg"], ["p1/v.jpg", "v.jpg"], r"p2/v\.jpg: does not exist; what lies .* may be p1/v\.jpg",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNCLEAR)
def test_nothing_is_chosen_in_silence(tmp_path: Path, name: str) -> None:
    ids, files, fault = UNCLEAR[name]
    lay(tmp_path, files)
    for stretches in ([ids], [[film] for film in ids]):
        found = look(tmp_path, *stretches)
        assert len(found.unclear) == 1
        (told,) = found.faults()
        assert str(told).startswith(f"{tmp_path}/")
        with pytest.raises(DataError, match=fault):
            raise told


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    lay(tmp_path, ["a.png", "ward/b.png", "ward/c.jpg", "p1/v.jpg", "p2/v.jpg", ".hidden.png", "notes.txt"])
    absent = {"a.jpg": "a.png", "other/b.png": "ward/b.png", "c.png": "ward/c.jpg", "p3/v.jpg": "", "hidden": ""}
    assert look(tmp_path, list(absent)).absent == absent
    finder = Finder(tmp_path, "follow", Recorder().progress, 1)
    assert finder.lies_there() == f"{tmp_path} holds 3 .jpg, 2 .png, such as a.png."
    assert finder.nearest("ward/bb.png") == "Nearest to 'ward/bb.png' is 'ward/b.png'."
    assert finder.nearest("nothing like it") == ""


def test_zeros_that_a_spreadsheet_took_away_are_seen(tmp_path: Path) -> None:
    (tmp_path / "00000150_002.png").touch()
    finder = Finder(tmp_path, "follow", Recorder().progress, 1)
    said = "00000150_002.png may be '150_002' that lost its zeros, as in Excel: keep the column as text."
    assert finder.nearest("150_002") == said
    assert finder.nearest("151_002") == ""
    assert finder.nearest("00000150_002.jpg") == "Nearest to '00000150_002.jpg' is '00000150_002.png'."


def test_folders_and_pipes_are_no_films_and_empty_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "b")
    (tmp_path / "c.png").touch()
    lay(tmp_path, ["a.png"])
    found = look(tmp_path, ["a", "b", "c"])
    assert found.naming.path("a") == tmp_path / "a.png"
    assert list(found.absent) == ["b"]
    assert {film: fault.reason for film, fault in found.unusable.items()} == {"c": "is empty"}


def test_uids_are_found_below_images_and_doubled_ones_told(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "series"
    folder.mkdir(parents=True)
    films = [dicom(folder / f"{number}", PIXELS, SOPInstanceUID=f"1.2.{number}") for number in (3, 4)]
    csv = write_csv(tmp_path / "films.csv", ["ImageID"], [["1.2.4"], ["1.2.3"]])
    recorder = Recorder()
    found = FilmList.of(ComputeOptions(csv=csv), csv, recorder)
    assert pickle.loads(pickle.dumps(found)).paths(np.array(["1.2.4", "1.2.3"], object)) == films[::-1]
    assert recorder.advanced == {"Reading DICOM headers": 2}
    dicom(folder / "again", PIXELS, SOPInstanceUID="1.2.4")
    with pytest.raises(DataError, match=r"1\.2\.4: may be series/4 or series/again, which have one SOPInstanceUID"):
        FilmList.of(ComputeOptions(csv=csv), csv, Recorder())
    gone = write_csv(tmp_path / "gone.csv", ["ImageID"], [["1.2.9"]])
    with pytest.raises(DataError, match="1 of 1 films"):
        FilmList.of(ComputeOptions(csv=gone), gone, Recorder())


def test_uids_are_asked_of_files_that_no_id_names_alone(tmp_path: Path) -> None:
    """Some names fit, the others are UIDs: with an ending or without."""
    named = [dicom(tmp_path / f"1.2.{number}.dcm", PIXELS, SOPInstanceUID=f"1.2.{number}") for number in range(3)]
    others = [dicom(tmp_path / f"IM{number}", PIXELS, SOPInstanceUID=f"1.2.{number}") for number in (7, 8)]
    lay(tmp_path, ["film.png", "notes"])
    recorder = Recorder()
    ids = ["1.2.8.dcm", "1.2.0", "1.2.1", "1.2.2", "1.2.7", "1.2.99", "film"]
    found = look(tmp_path, ids, recorder=recorder)
    assert list(found.absent) == ["1.2.99"]
    paths = [found.naming.path(film) for film in ids if film != "1.2.99"]
    assert paths == [others[1], *named, others[0], tmp_path / "film.png"]
    assert recorder.advanced == {"Reading DICOM headers": 3}
    assert look(tmp_path, ["film", "1.2.1"], recorder=(other := Recorder())).faults() == []
    assert other.advanced == {}


def test_most_ids_follow_a_rule_and_take_no_memory(tmp_path: Path) -> None:
    lay(tmp_path, [*(f"train/f{number}.jpg" for number in range(50)), "odd.png"])
    found = look(tmp_path, [*(f"Set/train/f{number}" for number in range(50)), "odd"])
    assert (found.naming.prefix, found.naming.ending) == ("Set/", ".jpg")
    assert found.naming.elsewhere == {"odd": "odd.png"}


def test_the_folder_is_looked_through_once_and_only_where_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path, ["a.png", "w/b.png", "w/x/c.png", "v/d.png"])
    seen: list[str] = []
    scan = os.scandir

    def scandir(path: Path) -> object:
        seen.append(str(path.relative_to(tmp_path)))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    finder = Finder(tmp_path, "follow", Recorder().progress, 1)
    finder.find(lambda: [["a.png", "w/b.png"]])
    assert seen == []
    finder.find(lambda: [["w/b", "w/x/c"]])
    assert sorted(seen) == [".", "w", "w/x"]
    assert len(finder.find(lambda: [["c.png", "d", *(f"gone{number}" for number in range(9))]]).absent) == 9
    finder.lies_there()
    assert sorted(seen) == [".", "v", "w", "w/x"]


def test_links_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "set"
    lay(root, ["own/a.png"])
    lay(tmp_path, ["far/b.png", "beside.png"])
    (root / "far").symlink_to(tmp_path / "far")
    (root / "again").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(root)
    (root / "own" / "up").symlink_to(root)
    (root / "out").symlink_to(tmp_path)
    (root / "nowhere").symlink_to(tmp_path / "nothing")
    found = look(root, ["a", "b", "beside"])
    assert found.naming.path("b") in (root / "far" / "b.png", root / "again" / "b.png")
    assert list(found.absent) == ["beside"]  # in a folder that holds this one: nobody meant to look there
    refused = Finder(root, "refuse", Recorder().progress, 1).find(lambda: [["a", "b", "far/b.png"]])
    assert list(refused.absent) == ["b"]
    assert list(refused.unusable) == ["far/b.png"]


names = st.text(st.sampled_from("ab"), min_size=1, max_size=2)
paths = st.builds(
    lambda folders, name, end: "/".join([*folders, name + end]),
    st.lists(names, max_size=2), names, st.sampled_from(["", ".png", ".PNG", ".jpg"]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sets(paths, max_size=6), st.lists(paths, unique=True, min_size=1, max_size=6), st.integers(1, 6))
def test_whatever_is_found_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, files: set[str], ids: list[str], size: int
) -> None:
    """Films as written are always found; each found one is a file that ends as its id does, or lacks its folders."""
    root = tmp_path_factory.mktemp("set")
    for file in sorted(files):
        if not any(other.startswith(f"{file}/") for other in files):
            lay(root, [file])
    found = look(root, *(ids[start : start + size] for start in range(0, len(ids), size)))
    where = {film: found.naming.path(film) for film in ids if film not in found.lost}
    assert all(path.is_file() for path in where.values())
    assert len(set(where.values())) == len(where)
    for film in ids:
        if (root / film).is_file():
            assert where.get(film, root / film) == root / film
            assert film in where or "two ids" in found.unclear[film].reason
    for film, path in where.items():
        got = str(path.relative_to(root)).lower().split("/")
        parts = film.lower().split("/")
        number = min(len(got), len(parts))
        assert got[-number:-1] == parts[-number:-1]
        assert got[-1] in (parts[-1], *(parts[-1] + end for end in (".png", ".jpg")))
