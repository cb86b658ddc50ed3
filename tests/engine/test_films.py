import json
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from cxrlt_cli.config import ComputeOptions, DataCheckOptions, TrainOptions
from cxrlt_cli.engine.films import FilmList, check_films, find_films
from cxrlt_cli.errors import DataError
from cxrlt_cli.verbs.data_check import check
from tests.helpers import Recorder, make_films, write_csv


def find(csv: Path, **changes: Any) -> tuple[Any, Any, Recorder]:
    recorder = Recorder()
    options = TrainOptions.model_validate(
        {"csv": csv, **({} if "val_csv" in changes else {"val_fraction": 0.3}), **changes}
    )
    training, validation = find_films(options, csv, recorder)
    check_films(training, validation, options, recorder)
    return training, validation, recorder


def test_patients_are_held_out(labels: Path) -> None:
    training, validation, recorder = find(labels)
    assert not set(training.table.patients) & set(validation.table.patients)
    assert len(training.paths) + len(validation.paths) == 48
    assert all(path.is_file() for path in training.paths)
    assert recorder.advanced == {"Checking films": 48}


def test_excluded_films_are_gone(labels: Path, tmp_path: Path) -> None:
    removal = write_csv(tmp_path / "Removal.csv", ["ImageID"], [["film003.png"]])
    training, validation, _ = find(labels, exclude=[removal])
    assert "film003.png" not in [*training.table.ids, *validation.table.ids]
    assert len(training.paths) + len(validation.paths) == 47
    everything = write_csv(tmp_path / "all.csv", ["ImageID"], [[f"film{index:03d}.png"] for index in range(48)])
    with pytest.raises(DataError, match="leaves no film"):
        find(labels, exclude=[everything])


def test_every_fault_is_reported_at_once_before_training(tmp_path: Path) -> None:
    labels = make_films(tmp_path / "set", 20)
    images = labels.parent / "images"
    (images / "film001.png").unlink()
    (images / "film002.png").write_bytes((images / "film002.png").read_bytes()[:200])
    (images / "film003.png").write_text("not a film")
    (images / "film004.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        find(labels)
    text = str(caught.value)
    assert "4 of 20 films" in text
    for name, reason in (("1", "does not exist"), ("2", "cut short"), ("3", "neither PNG"), ("4", "is empty")):
        assert any(f"film00{name}.png" in line and reason in line for line in text.splitlines())


def test_films_that_are_missing_are_told_with_what_lies_there(tmp_path: Path) -> None:
    """Of half of them nothing is read: it may be the wrong folder."""
    labels = make_films(tmp_path / "set", 20)
    images = labels.parent / "images"
    for number in range(10):
        (images / f"film{number:03d}.png").unlink()
    (images / "film0O1.png").write_bytes((images / "film011.png").read_bytes())
    (images / "film002.jpg").write_bytes(b"x")
    (images / "film012.png").write_bytes((images / "film012.png").read_bytes()[:200])
    with pytest.raises(DataError) as caught:
        find(labels, image_dir=images, id_column="ImageID")
    assert "10 of 20 films" in caught.value.message
    assert "film002.png: does not exist, but film002.jpg does" in caught.value.message
    command = f"cxrlt data check --csv {labels} --image-dir {images} --fix exclude.csv"
    assert caught.value.hint.splitlines() == [
        f"{images} holds 11 .png, 1 .jpg, such as film002.jpg.",
        "Nearest to 'film000.png' is 'film010.png'.",
        "Is --image-dir right?",
        f"To go on without them: {command}, then --exclude exclude.csv.",
    ]
    (images / "film012.png").unlink()
    fix = tmp_path / "exclude.csv"
    with pytest.raises(DataError):
        check(DataCheckOptions(csv=labels, image_dir=images, fix=fix), Recorder())
    told = fix.read_text().split()
    assert "film000.png" in told
    assert "film002.png" not in told  # it is there, by another name


def test_a_second_csv_validates(labels: Path, tmp_path: Path) -> None:
    other = make_films(tmp_path / "other", 10)
    header, *rows = (line.split(",") for line in other.read_text().splitlines())
    for film, *_ in rows:
        (other.parent / "images" / film).rename(other.parent / "images" / f"other-{film}")
    write_csv(other, header, [[f"other-{film}", f"other-{patient}", *rest] for film, patient, *rest in rows])
    training, validation, _ = find(labels, val_csv=other)
    assert (len(training.paths), len(validation.paths)) == (48, 10)
    assert validation.paths[0].parent == other.parent / "images"


def test_one_patient_cannot_be_split(tmp_path: Path) -> None:
    labels = make_films(tmp_path / "set", 6, films_per_patient=6)
    with pytest.raises(DataError, match="of one patient"):
        find(labels)


def labelled(tmp_path: Path, rows: list[tuple[int, int]]) -> Path:
    films = make_films(tmp_path / "set", len(rows), films_per_patient=1)
    table = [(f"film{index:03d}.png", index, *labels) for index, labels in enumerate(rows)]
    return write_csv(films, ["ImageID", "PatientID", "Mass", "Hernia"], table)


def test_labels_that_cannot_be_learned_or_judged_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No training film has a finding"):
        find(labelled(tmp_path / "a", [(0, 0)] * 10))
    with pytest.raises(DataError, match="No validation film has a finding"):
        find(labelled(tmp_path / "b", [(1, 0), *[(0, 0)] * 9]))
    _, _, recorder = find(labelled(tmp_path / "c", [(1, 0)] * 5 + [(0, 0)] * 5))
    assert any("On no training film: Hernia" in warning for warning in recorder.warnings)
    assert any("On no validation film" in note and "Hernia" in note for note in recorder.notes)
    never = "have no positive label; --sampler cas with negative_share=0 never draws them"
    assert not any(never in warning for warning in recorder.warnings), "they are drawn at their share"
    published = {"sampler_options": {"negative_share": 0}}
    _, _, recorder = find(labelled(tmp_path / "p", [(1, 0)] * 5 + [(0, 0)] * 5), **published)
    assert any(never in warning for warning in recorder.warnings)
    _, _, recorder = find(labelled(tmp_path / "d", [(1, row % 2) for row in range(10)]))
    assert any("On every labelled training film" in warning for warning in recorder.warnings)


def test_links_out_of_the_folder_are_refused_when_asked(labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes((labels.parent / "images" / "film000.png").read_bytes())
    (folder / "own.png").write_bytes((labels.parent / "images" / "film001.png").read_bytes())
    (folder / "inside.png").symlink_to(folder / "own.png")
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "ward").mkdir()
    (tmp_path / "ward" / "far.png").write_bytes((labels.parent / "images" / "film000.png").read_bytes())
    (folder / "ward").symlink_to(tmp_path / "ward")
    csv = write_csv(tmp_path / "films.csv", ["ImageID"], [["own.png"], ["inside.png"], ["out.png"], ["far"]])
    options = ComputeOptions(csv=csv, image_dir=folder)
    assert FilmList.of(options, csv, Recorder()).number == 4
    wanted = r"2 of 4 films have no file that can be used:\n.*far: does not exist\n.*out\.png: is a link out of"
    with pytest.raises(DataError, match=wanted):
        FilmList.of(options.model_copy(update={"links": "refuse"}), csv, Recorder())


def test_a_list_knows_itself_again_by_its_films_and_where_they_are(tmp_path: Path) -> None:
    for film in ("a/f0.png", "a/f1.png", "b/other.png"):
        (tmp_path / film).parent.mkdir(exist_ok=True)
        (tmp_path / film).write_bytes(b"x")
    csv = write_csv(tmp_path / "films.csv", ["ImageID"], [["f0"], ["f1.png"]])
    options = ComputeOptions(csv=csv, image_dir=tmp_path)
    first = FilmList.of(options, csv, Recorder()).to_json()
    assert json.loads(json.dumps(first)) == FilmList.of(options, csv, Recorder()).to_json()
    (tmp_path / "a" / "f1.png").rename(tmp_path / "b" / "f1.png")
    assert FilmList.of(options, csv, Recorder()).to_json() != first


@pytest.mark.parametrize("where", ["csv", "val_csv"])
def test_links_are_refused_among_all_films_of_a_training(labels: Path, tmp_path: Path, where: str) -> None:
    other = make_films(tmp_path / "other", 10, first=100)
    first = other.parent / "images" / "film100.png"
    first.rename(tmp_path / "secret.png")
    first.symlink_to(tmp_path / "secret.png")
    films = {"csv": labels, "val_csv": other} if where == "val_csv" else {"csv": other, "val_csv": labels}
    training, validation, _ = find(**films)
    assert {len(training.paths), len(validation.paths)} == {48, 10}
    with pytest.raises(DataError, match=r"film100\.png: is a link out of"):
        find(**films, links="refuse")


def test_a_list_of_films_is_gone_through_in_stretches(labels: Path, tmp_path: Path) -> None:
    names = [f"film{number:03d}.png" for number in range(20)]
    csv = write_csv(tmp_path / "films.csv", ["ImageID"], [[name] for name in names])
    left_out = write_csv(tmp_path / "out.csv", ["ImageID"], [["film003.png"], ["nothing.png"]])
    recorder = Recorder()
    options = ComputeOptions(csv=csv, image_dir=labels.parent / "images", exclude=(left_out,))
    films = FilmList.of(options, csv, recorder)
    assert films.number == 19
    assert recorder.notes == ["Left out by --exclude: 1 film."]
    assert recorder.warnings == ["1 id of --exclude is not among the films."]
    stretches = list(films.stretches(repeat(5), first=4))
    assert [len(stretch) for stretch in stretches] == [5, 5, 5]
    names.remove("film003.png")
    assert [film for stretch in stretches for film in stretch] == names[4:]
    doubled = write_csv(tmp_path / "doubled.csv", ["ImageID"], [[name] for name in [*names, names[2]]])
    with pytest.raises(DataError, match=r"row 21 holds 'film002\.png', as row 4 does"):
        FilmList.of(options, doubled, Recorder())
    with pytest.raises(DataError, match=r"2 of 2 films have no file that can be used"):
        gone = write_csv(tmp_path / "gone.csv", ["ImageID"], [["a.png"], ["b.png"]])
        FilmList.of(options, gone, Recorder())


def test_the_way_out_names_the_csv_of_the_film_that_is_damaged(labels: Path, tmp_path: Path) -> None:
    training, validation, _ = find(labels, val_fraction=0.3)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no film")
    options = TrainOptions.model_validate({"csv": labels, "val_csv": tmp_path / "other.csv"})
    with pytest.raises(DataError) as error:
        check_films(training, replace(validation, paths=[damaged]), options, Recorder())
    assert f"--csv {tmp_path / 'other.csv'}" in error.value.hint
    assert f"--csv {labels}" not in error.value.hint
