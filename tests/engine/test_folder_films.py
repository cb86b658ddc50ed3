from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.folder_films import film_list, look_through, takes_folder
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.phantom.folder import RECIPE
from tests.exports import FILMS, LATERAL, LEFT_OUT, OTHERS, dicom, make_export, picture
from tests.helpers import Recorder, write_csv


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_export(tmp_path_factory.mktemp("hospital") / "export")


def listed(*given: Path, csv: Path | None = None, **changes: Any) -> tuple[FilmList, Recorder]:
    recorder = Recorder()
    options = ComputeOptions.model_validate({"csv": csv, **changes})
    return film_list(options, given, csv, recorder), recorder


def ids(films: FilmList) -> list[str]:
    return [str(film) for stretch in films.stretches([2] * 100) for film in stretch]


def test_all_films_below_a_folder_are_taken_in_the_order_of_their_paths(export: Path) -> None:
    films, _ = listed(image_dir=export)
    assert ids(films) == list(FILMS)
    assert films.number == len(FILMS)
    assert [path for paths in films.path_stretches() for path in paths] == [export / film for film in FILMS]
    assert [str(film) for film in next(films.stretches([9], first=3))] == list(FILMS[3:])


def test_every_file_is_taken_or_told(export: Path) -> None:
    contents = look_through(ComputeOptions(image_dir=export), (), Recorder())
    told = [file for files in contents.left_out.values() for file in files]
    everything = [path.relative_to(export).as_posix() for path in export.rglob("*") if path.is_file()]
    assert sorted([*contents.films, *told]) == sorted(everything)


def test_what_is_left_out_is_told_by_reason_with_examples(export: Path) -> None:
    _, recorder = listed(image_dir=export)
    left_out, lateral = recorder.warnings
    assert left_out.startswith(f"Left out {sum(map(len, LEFT_OUT.values()))} files: 2 ")
    for reason, files in LEFT_OUT.items():
        assert f"{reason} ({', '.join(files)})" in left_out
    assert lateral.startswith("1 film is a lateral view by the tags")
    assert LATERAL in lateral
    (others,) = recorder.notes
    for reason, files in OTHERS.items():
        assert f"{reason} ({', '.join(files)})" in others


def test_what_is_written_finds_the_films_again(export: Path, tmp_path: Path) -> None:
    first, _ = listed(image_dir=export)
    csv = write_csv(tmp_path / "predictions.csv", ["ImageID", "nodule"], [[film, 0.5] for film in ids(first)])
    again, _ = listed(csv=csv, image_dir=export)
    assert ids(again) == ids(first)
    for mine, theirs in zip(first.path_stretches(), again.path_stretches(), strict=True):
        assert mine == theirs


def test_films_of_a_csv_are_taken_and_told_of(export: Path, tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "named.csv", ["ImageID"], [["st2/ct"], ["st2/hand.dcm"], [LATERAL], ["film.png"]])
    films, recorder = listed(csv=csv, image_dir=export)
    assert films.number == 4
    others, lateral = recorder.warnings
    assert "2 are no chest films by their tags: 1 CT slice (st2/ct.dcm), 1 film of another body part (" in others
    assert LATERAL in lateral


def test_a_film_or_several_may_be_named(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(listed(export / "film.png")[0]) == ["film.png"]
    assert ids(listed(image_dir=export / "film.png")[0]) == ["film.png"]
    films, recorder = listed(export / "film.png", export / "st1", export / "small.png", export / "st1" / "IM0001")
    assert ids(films) == ["film.png", "st1/IM0001", "st1/IM0002"]
    assert films.folder == export
    assert recorder.warnings[0] == "Left out 2 files: 1 thumbnail (small.png), 1 report (SR) (st1/SR0001)."
    assert ids(listed(export / "st1", image_dir=export)[0]) == ["st1/IM0001", "st1/IM0002"]
    monkeypatch.chdir(export)
    films, _ = listed(Path("st1/IM0001"), Path("st2/film.DCM"))
    assert (ids(films), films.folder) == (["st1/IM0001", "st2/film.DCM"], Path())


def test_exclusions_go_by_these_ids(export: Path, tmp_path: Path) -> None:
    removal = write_csv(tmp_path / "removal.csv", ["ImageID"], [[LATERAL]])
    films, recorder = listed(image_dir=export, exclude=[removal])
    assert ids(films) == [film for film in FILMS if film != LATERAL]
    assert not any("lateral" in warning for warning in recorder.warnings)
    everything = write_csv(tmp_path / "all.csv", ["ImageID"], [[film] for film in FILMS])
    with pytest.raises(DataError, match="--exclude leaves no film"):
        listed(image_dir=export, exclude=[everything])


def test_without_a_film_it_is_told_what_lies_there(export: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no chest film in .*\. It holds 1 report \(SR\) \(SR0001\)\."):
        listed(export / "st1" / "SR0001")
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"It holds 1 \.txt file \(a\.txt\)"):
        listed(image_dir=tmp_path)
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="It holds no file at all"):
        listed(image_dir=tmp_path / "void")


def test_what_cannot_be_meant_has_a_way_out(export: Path, tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "films.csv", ["ImageID"], [["film.png"]])
    for given, named, said in (
        ((), export, f"--image-dir {export}, without --csv"),
        ((), export / "film.png", "--image-dir .*film.png, without --csv"),
        ((export,), csv, "both say which films"),
    ):
        with pytest.raises(OptionError) as caught:
            takes_folder(ComputeOptions(csv=named), given)
        assert caught.match(said)
    with pytest.raises(OptionError, match=r"--image-dir .*exports does not exist. Did you mean export\?"):
        listed(image_dir=export.parent / "exports")
    with pytest.raises(OptionError, match="does not exist"):
        listed(export / "gone.dcm")
    with pytest.raises(OptionError, match="does not lie below --image-dir"):
        listed(export / "film.png", image_dir=export / "st1")
    assert takes_folder(ComputeOptions(image_dir=export))
    assert not takes_folder(ComputeOptions())


def test_a_damaged_film_is_no_other_file(tmp_path: Path) -> None:
    """What nobody would take for anything else is an error where it cannot be read, and is not left out."""
    picture(tmp_path / "a.png", 80, 0)
    (tmp_path / "b.dcm").write_text("damaged")
    assert ids(listed(image_dir=tmp_path)[0]) == ["a.png", "b.dcm"]
    (tmp_path / "c.jpg").touch()
    with pytest.raises(DataError, match=r"c\.jpg: is empty") as caught:
        listed(image_dir=tmp_path)
    assert f"cxrlt data check --image-dir {tmp_path} --fix exclude.csv" in caught.value.hint


def test_small_pictures_are_thumbnails_beside_large_ones(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"film{number}.png", 400, number)
    picture(tmp_path / "film0-s.png", 100, 0)
    picture(tmp_path / "film1.thumb.png", 300, 0)
    films, recorder = listed(image_dir=tmp_path)
    assert ids(films) == ["film0.png", "film1.png", "film2.png"]
    assert "2 thumbnails" in recorder.warnings[0]
    for number in range(3):
        (tmp_path / f"film{number}.png").unlink()
    assert ids(listed(image_dir=tmp_path)[0]) == ["film0-s.png"]


def test_names_that_can_be_no_ids_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 80, 0)
    picture(tmp_path / "=1+1.png", 80, 1)
    (tmp_path / "a.png").rename(tmp_path / "a\n.png")
    picture(tmp_path / "b.png", 80, 0)
    films, recorder = listed(image_dir=tmp_path)
    assert ids(films) == ["b.png"]
    assert "2 films whose names can be no ids" in recorder.warnings[0]


def test_links_are_followed_or_refused(export: Path, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 80, 0)
    (tmp_path / "b.png").symlink_to(export / "film.png")
    (tmp_path / "more").symlink_to(export / "st1")
    assert ids(listed(image_dir=tmp_path)[0]) == ["a.png", "b.png", "more/IM0001", "more/IM0002"]
    with pytest.raises(DataError, match="is a link out of"):
        listed(image_dir=tmp_path, links="refuse")
    (tmp_path / "b.png").unlink()
    assert ids(listed(image_dir=tmp_path, links="refuse")[0]) == ["a.png"]


def test_what_decides_the_list_is_its_ids(export: Path, tmp_path: Path) -> None:
    def state() -> dict[str, object]:
        return listed(image_dir=tmp_path)[0].to_json()

    picture(tmp_path / "a.png", 80, 0)
    before = state()
    (tmp_path / "out.csv").touch()
    assert state() == before
    dicom(tmp_path / "b", Modality="DX")
    assert state() != before


def test_a_folder_of_phantoms_is_known(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / RECIPE).touch()
    picture(tmp_path / "images" / "a.png", 80, 0)
    films, _ = listed(image_dir=tmp_path / "images")
    assert films.are_phantoms
    assert np.array_equal(next(films.stretches([1])), ["a.png"])
