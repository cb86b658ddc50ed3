import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrlt_cli.data.image import read_film
from cxrlt_cli.labels import CXR_LT_2026, UNSEEN
from cxrlt_cli.phantom import folder as folders
from cxrlt_cli.phantom.folder import FACTS, PhantomRecipe, cache_folder, cached, is_complete, other_recipe, write
from cxrlt_cli.tables.label_table import read_exclusions, read_ids, read_labels

RECIPE = PhantomRecipe(films=100, size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phantoms")
    write(path, RECIPE, 2, lambda _: None)
    return path


def test_the_layout_is_the_challenges(folder: Path) -> None:
    train = read_labels(folder / "train.csv", findings=CXR_LT_2026)
    assert len(train) == 70
    assert (folder / "train.csv").read_text().startswith("ImageID,StudyDate_DICOM,PatientID,Normal,")
    for task, findings in (("1", CXR_LT_2026), ("2", UNSEEN)):
        truth = read_labels(folder / f"test_task{task}_truth.csv", findings=findings)
        assert read_ids(folder / f"test_task{task}.csv").tolist() == truth.ids.tolist()
        assert len(truth) == 15
        assert not set(truth.patients) & set(train.patients)
    assert read_exclusions([folder / "Removal.csv"]) < set(train.ids)


def test_39_digits_of_a_patient_survive(folder: Path) -> None:
    patients = read_labels(folder / "train.csv", findings=["Normal"]).patients
    assert {len(patient) for patient in patients} == {39}
    assert 1 < len(set(patients)) < len(patients)


def test_every_film_is_there_and_its_record_says_what_its_labels_say(folder: Path) -> None:
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert sorted(record["ImageID"] for record in records) == sorted(
        path.name for path in (folder / "images").iterdir()
    )
    train = read_labels(folder / "train.csv", findings=CXR_LT_2026)
    drawn = {record["ImageID"]: {finding["name"] for finding in record["findings"]} for record in records}
    for film, row in zip(train.ids, train.targets, strict=True):
        labels = {name for name, target in zip(CXR_LT_2026, row, strict=True) if target == 1}
        assert labels == (drawn[film] or {"Normal"})
    image = cv2.imread(str(folder / "images" / train.ids[0]), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.dtype == np.uint16
    assert image.max() <= 4095
    assert read_film(folder / "images" / train.ids[0]).shape == (64, 64)


def test_a_recipe_gives_the_same_bytes_on_any_number_of_processes(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, RECIPE, 1, lambda _: None)
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes(), path.name


def test_a_recipe_of_before_is_written_as_before() -> None:
    """Cached sets are known by these very bytes."""
    assert PhantomRecipe(10).to_json() == (
        '{\n  "version": 3,\n  "films": 10,\n  "size": 256,\n  "seed": 42,\n  "imbalance": null\n}\n'
    )
    recipes = [
        PhantomRecipe(10, studies=studies, hospital=hospital) for studies in (False, True) for hospital in (1, 2)
    ]
    assert len({cache_folder(recipe) for recipe in recipes}) == len({recipe.to_json() for recipe in recipes}) == 4


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies")
    write(path, PhantomRecipe(films=120, size=64, studies=True, hospital=2), 2, lambda _: None)
    return path


def test_films_of_a_study_share_all_but_the_view(studies: Path) -> None:
    frame = pd.read_csv(studies / "train.csv", dtype=str)
    assert list(frame.columns[:7]) == ["ImageID", "StudyDate_DICOM", "PatientID", *FACTS]
    assert len(frame) == 84
    for _, films in frame.groupby("StudyID"):
        assert sorted(films["ViewPosition"]) in (["AP"], ["PA"], ["L", "PA"])
        assert len(films.drop(columns=["ImageID", "ViewPosition"]).drop_duplicates()) == 1
    assert frame.groupby("PatientID")[["PatientSex", "PatientAge"]].nunique().max().max() == 1
    assert set(frame["PatientSex"]) == {"F", "M"}
    assert read_labels(studies / "train.csv").space.findings == CXR_LT_2026
    for task in ("1", "2"):
        told, truth = (pd.read_csv(studies / f"test_task{task}{end}.csv", dtype=str) for end in ("", "_truth"))
        assert told.equals(truth[["ImageID", "PatientID", *FACTS]])


def test_a_film_shows_at_most_what_its_study_has(studies: Path) -> None:
    train = read_labels(studies / "train.csv", findings=CXR_LT_2026)
    has = {film: {name for name, one in zip(CXR_LT_2026, row, strict=True) if one == 1}
           for film, row in zip(train.ids, train.targets, strict=True)}  # fmt: skip
    records = [json.loads(line) for line in (studies / "records.jsonl").read_text().splitlines()]
    shown = {record["ImageID"]: {finding["name"] for finding in record["findings"]} for record in records}
    assert all(shown[film] <= has[film] for film in has)
    assert any(shown[film] < has[film] - {"Normal"} for film in has)
    film = cv2.imread(str(studies / "images" / train.ids[0]), cv2.IMREAD_UNCHANGED)
    assert train.ids[0].endswith(".jpg")
    assert film is not None
    assert film.dtype == np.uint8
    assert film.shape == (64, 64)


def test_hospitals_share_no_patient_and_no_study(folder: Path, studies: Path) -> None:
    first, second = (pd.read_csv(path / "train.csv", dtype=str) for path in (folder, studies))
    assert not set(first["PatientID"]) & set(second["PatientID"])
    assert other_recipe(studies) == "its films were drawn with other options"


def test_the_cache_is_drawn_once_and_again_for_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    small = PhantomRecipe(films=10, size=64)
    drawn: list[int] = []
    folder = cached(small, 1, drawn.append)
    assert folder == cache_folder(small)
    assert is_complete(folder, small)
    assert not is_complete(folder, PhantomRecipe(films=10, size=64, seed=1))
    assert len(drawn) == sum(1 for _ in (folder / "images").iterdir())
    before = len(drawn)
    assert cached(small, 1, drawn.append) == folder
    assert len(drawn) == before
    monkeypatch.setattr(folders, "VERSION", 99)
    assert cached(small, 1, drawn.append) != folder
    assert len(drawn) == 2 * before


def test_a_drawing_that_was_stopped_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(PhantomRecipe(films=10, size=64), 1, stop)
    assert not any((tmp_path / "cxrlt").iterdir())
