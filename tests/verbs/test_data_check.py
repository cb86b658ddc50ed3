"""Faults are planted, and all of them are found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrlt_cli.config import DataCheckOptions
from cxrlt_cli.errors import DataError
from cxrlt_cli.phantom.folder import PhantomRecipe, write
from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.verbs.data_check import check
from tests.helpers import Recorder


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "set"
    write(folder, PhantomRecipe(films=60, size=256), 2, lambda _: None)
    train = pd.read_csv(folder / "train.csv", dtype=str)
    removed = pd.read_csv(folder / "Removal.csv", dtype=str)
    train[~train.ImageID.isin(list(removed.ImageID))].to_csv(folder / "train.csv", index=False)
    named = set(train.ImageID) - set(removed.ImageID)
    for path in (folder / "images").iterdir():
        if path.name not in named:
            path.unlink()
    return folder


def run(csv: Path, **changes: object) -> tuple[dict[str, Any], Recorder, bool]:
    """The faults by what they are, what was told, and whether one of them breaks a run."""
    recorder, report = Recorder(), csv.with_name("faults.json")
    options = DataCheckOptions.model_validate({"csv": csv, "json": report, **changes})
    try:
        check(options, recorder)
        broken = False
    except DataError:
        broken = True
    return {fault["what"]: fault for fault in json.loads(report.read_text())["faults"]}, recorder, broken


def test_good_films_pass(phantoms: Path) -> None:
    faults, recorder, broken = run(phantoms / "train.csv")
    assert not broken
    doubts = {what for what in faults if "positive" not in what and "neither" not in what and "kinds" not in what}
    assert doubts == set()
    assert recorder.results[-1].startswith("Nothing that would break a run")
    assert recorder.next_steps[-1].startswith("Next: cxrlt train --csv ")


Plant = Callable[[pd.DataFrame, Path], None]


def image(folder: Path, frame: pd.DataFrame, row: int) -> Path:
    return folder / "images" / str(frame.ImageID[row])


def write_film(path: Path, film: Any) -> None:
    cv2.imwrite(str(path), film)


def levels(path: Path) -> Any:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def cell(row: int, column: str, value: str) -> Plant:
    def plant(frame: pd.DataFrame, _: Path) -> None:
        frame.loc[row, column] = value

    return plant


def film(row: int, change: Callable[[Any], Any]) -> Plant:
    def plant(frame: pd.DataFrame, folder: Path) -> None:
        write_film(image(folder, frame, row), change(levels(image(folder, frame, row))))

    return plant


def raw(row: int, change: Callable[[bytes], bytes]) -> Plant:
    def plant(frame: pd.DataFrame, folder: Path) -> None:
        path = image(folder, frame, row)
        path.write_bytes(change(path.read_bytes()))

    return plant


def add_column(name: str, value: str) -> Plant:
    def plant(frame: pd.DataFrame, _: Path) -> None:
        frame[name] = value

    return plant


def sexed(frame: pd.DataFrame, _: Path) -> None:
    frame["PatientSex"] = [str(row % 2) for row in range(len(frame))]


def gone(frame: pd.DataFrame, folder: Path) -> None:
    image(folder, frame, 3).unlink()


def spare(frame: pd.DataFrame, folder: Path) -> None:
    write_film(folder / "images" / "spare.png", levels(image(folder, frame, 0)) // 2)


def copied(frame: pd.DataFrame, folder: Path) -> None:
    shutil.copy(image(folder, frame, 4), image(folder, frame, 5))


def almost(frame: pd.DataFrame, folder: Path) -> None:
    first = levels(image(folder, frame, 4)).astype(np.float64)
    noisy = 0.95 * first + np.random.default_rng(0).normal(0, 0.004 * first.max(), first.shape)
    write_film(image(folder, frame, 6), noisy.clip(0, 65535).astype(np.uint16))


def contradicted(frame: pd.DataFrame, _: Path) -> None:
    frame.loc[2, ["Normal", "Hernia"]] = "1"


def burnt(film: Any) -> Any:
    return np.minimum(film, np.percentile(film, 60)).astype(film.dtype)


PLANTED: dict[str, tuple[Plant, bool]] = {
    "rows without an id": (cell(2, "ImageID", ""), True),
    "ids in more than one row": (lambda frame, _: frame.__setitem__("ImageID", [frame.ImageID[0], *frame.ImageID[:-1]]),
                                 True),
    "ids that are refused": (cell(2, "ImageID", "../x.png"), True),
    "no column of patients": (lambda frame, _: frame.__delitem__("PatientID"), True),
    "patients that lost their digits": (cell(2, "PatientID", "3.24e+38"), True),
    "ids that lost their digits": (cell(2, "ImageID", "3.24e+38"), True),
    "rows without a patient": (cell(2, "PatientID", ""), True),
    "labels that are -1": (cell(2, "Hernia", "-1.0"), True),
    "labels that are not 0, 1 or empty": (cell(2, "Hernia", "2"), True),
    "findings with a name that is refused": (add_column("=Bulla", "0"), True),
    "findings that look like metadata": (lambda frame, _: frame.__setitem__(
        "Position", [str(row % 2) for row in range(len(frame))]), False),
    "columns of 0 and 1 that are not read as findings": (sexed, False),
    "columns that name findings instead of saying 0 and 1, not read": (add_column("Labels", "Hernia|Mass"), False),
    "findings of 1 and empty, without a 0": (lambda frame, _: frame.__setitem__(
        "Bulla", ["1", *[""] * (len(frame) - 1)]), False),
    "findings without a positive": (add_column("Bulla", "0"), False),
    "findings that every film has": (add_column("Always", "1"), False),
    "columns without any value": (add_column("Remarks", ""), False),
    "findings without any label": (lambda frame, _: frame.__setitem__("Hernia", ""), False),
    "films that are 'Normal' and have a finding": (contradicted, False),
    "ages below 0 or above 120 (PatientAge)": (add_column("PatientAge", "412"), False),
    "findings that are the opposite of another": (lambda frame, _: frame.__setitem__(
        "Bulla", [str(1 - int(float(label))) for label in frame.Hernia]), False),
    "ids without a film": (gone, True),
    "films that the CSV does not list": (spare, False),
    "films that cannot be read: each is empty": (raw(1, lambda _: b""), True),
    "films that cannot be read: each is a PNG cut short": (raw(1, lambda data: data[: len(data) // 2]), True),
    "films that cannot be read: each is neither PNG, JPEG nor DICOM": (raw(1, lambda _: b"<html>"), True),
    "films of one grey level": (film(1, lambda film: np.full_like(film, 900)), False),
    "films that look inverted": (film(1, lambda film: film.max() - film), False),
    "films that look rotated by a quarter turn": (film(1, lambda film: np.rot90(film).copy()), False),
    "films that are largely overexposed": (film(1, burnt), False),
    "films below 224 px": (film(1, lambda film: cv2.resize(film, (100, 100))), False),
    "films more than 2 times as long as wide": (film(1, lambda film: np.vstack([film] * 3)), False),
    "file types in one data set": (film(1, lambda film: (film / film.max() * 255).astype(np.uint8)), False),
    "films that are duplicates of another": (copied, False),
    "films that are duplicates of another, under another patient": (copied, False),
    "films that are near duplicates": (almost, False),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_fault_is_found(what: str, phantoms: Path, tmp_path: Path) -> None:
    plant, breaks = PLANTED[what]
    shutil.copytree(phantoms, tmp_path / "set")
    csv = tmp_path / "set" / "train.csv"
    frame = pd.read_csv(csv, dtype=str, keep_default_na=False)
    before, _, _ = run(csv)
    plant(frame, tmp_path / "set")
    frame.to_csv(csv, index=False)
    faults, _, broken = run(csv)
    assert what in faults, list(faults)
    assert faults[what]["number"] > before.get(what, {"number": 0})["number"]
    assert faults[what]["breaks"] == breaks
    assert broken or not breaks


def test_patients_that_stand_in_two_files_are_found(phantoms: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(phantoms / "train.csv", dtype=str)
    frame[:3].to_csv(tmp_path / "val.csv", index=False)
    faults, _, broken = run(phantoms / "train.csv", against=[tmp_path / "val.csv"])
    assert broken
    assert faults["films that are in val.csv too (data leakage)"]["number"] == 3
    assert "patients that are in val.csv too (data leakage)" in faults


def test_findings_that_other_films_lack_are_found(phantoms: Path, tmp_path: Path) -> None:
    table = read_labels(phantoms / "train.csv")
    gone, absent, *_ = [name for name, number in zip(table.space.findings, table.counts, strict=True) if number]
    frame = pd.read_csv(phantoms / "train.csv", dtype=str)
    val = frame.assign(PatientID="new", ImageID=[f"new{name}" for name in frame.ImageID])
    val[absent] = "0"
    val.drop(columns=gone).to_csv(tmp_path / "val.csv", index=False)
    faults, _, broken = run(phantoms / "train.csv", against=[tmp_path / "val.csv"])
    assert broken
    assert faults["findings without a column in val.csv"]["examples"] == [gone]
    assert faults["findings without a positive in val.csv"]["examples"] == [absent]


def test_findings_that_train_could_not_score_are_found(phantoms: Path, tmp_path: Path) -> None:
    """One patient has all of a finding: they are learned from, or held out, but not both."""
    frame = pd.read_csv(phantoms / "train.csv", dtype=str)
    frame["Rare"] = ["1" if patient == frame.PatientID[0] else "0" for patient in frame.PatientID]
    csv = tmp_path / "rare.csv"
    frame.to_csv(csv, index=False)
    faults, _, _ = run(csv, image_dir=phantoms / "images")
    table = read_labels(csv)
    _, validation = table.split(0.1, 42)
    assert validation.counts[table.space.findings.index("Rare")] == 0
    told = faults["findings without a positive film for validation (10 % held out)"]
    assert told["number"] == int(((validation.counts == 0) & (table.counts > 0)).sum())


def test_a_vocabulary_is_held_against_a_checkpoint(labels: Path, run_folder: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(labels, dtype=str).rename(columns={"effusion": "Effusion", "nodule": "mass"})
    frame.to_csv(labels.parent / "renamed.csv", index=False)
    faults, _, _ = run(labels.parent / "renamed.csv", checkpoint=run_folder)
    assert faults["findings that the checkpoint spells differently"]["examples"] == ["Effusion for effusion"]
    assert faults["findings that the checkpoint does not know"]["examples"] == ["mass"]
    assert faults["findings of the checkpoint without a column"]["examples"] == ["nodule"]


@pytest.fixture
def run_folder(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue("run")
    return folder


SUBMISSIONS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "films that the submission lacks": lambda frame: frame[1:],
    "films of the submission that are not in --csv": lambda frame: frame.assign(
        ImageID=["other.png", *frame.ImageID[1:]]
    ),
    "films that the submission has twice": lambda frame: pd.concat([frame, frame[:1]]),
    "rows of the submission in another order": lambda frame: frame[::-1],
    "findings that the submission lacks": lambda frame: frame.drop(columns="Normal"),
    "values that are not probabilities": lambda frame: frame.assign(Normal="1.5"),
    "findings with one value on every film": lambda frame: frame.assign(Normal="0.5"),
    "submission without a column of ids": lambda frame: frame.rename(columns={"ImageID": "id"}),
}


@pytest.mark.parametrize("what", SUBMISSIONS)
def test_a_submission_is_held_against_its_films(what: str, phantoms: Path, tmp_path: Path) -> None:
    csv = phantoms / "train.csv"
    frame = pd.read_csv(csv, dtype=str).drop(columns="PatientID", errors="ignore")
    findings = [name for name in frame.columns if name in ("Normal", "Hernia", "Mass")]
    good = frame[["ImageID", *findings]].copy()
    good[findings] = np.random.default_rng(0).random((len(good), len(findings))).astype(str)
    SUBMISSIONS[what](good).to_csv(tmp_path / "submission.csv", index=False)
    faults, _, _ = run(csv, submission=tmp_path / "submission.csv")
    assert what in faults, list(faults)


def test_films_to_leave_out_are_written_for_exclude(phantoms: Path, tmp_path: Path) -> None:
    shutil.copytree(phantoms, tmp_path / "set")
    csv = tmp_path / "set" / "train.csv"
    frame = pd.read_csv(csv, dtype=str)
    image(tmp_path / "set", frame, 0).write_bytes(b"")
    image(tmp_path / "set", frame, 1).unlink()
    copied(frame, tmp_path / "set")
    _, recorder, broken = run(csv, fix=tmp_path / "exclude.csv")
    assert broken
    assert set(pd.read_csv(tmp_path / "exclude.csv").ImageID) == {frame.ImageID[row] for row in (0, 1, 5)}
    assert "3 films for --exclude" in recorder.results[-1]
    faults, _, broken = run(csv, exclude=[tmp_path / "exclude.csv"])
    assert not broken
    assert not any("copies" in what for what in faults)


def test_what_leaving_films_out_does_not_mend_is_named(phantoms: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(phantoms / "train.csv", dtype=str)
    frame.loc[2, "PatientID"] = ""
    csv = tmp_path / "nameless.csv"
    frame.to_csv(csv, index=False)
    _, recorder, broken = run(csv, image_dir=phantoms / "images", fix=tmp_path / "exclude.csv")
    assert broken
    assert any("to be corrected in the table: rows without a patient." in note for note in recorder.notes)


def test_ids_that_are_all_refused_are_told_row_by_row(phantoms: Path, tmp_path: Path) -> None:
    csv = tmp_path / "absolute.csv"
    csv.write_text("ImageID,PatientID,Mass\n/films/a.png,1,1\n/films/b.png,2,0\n")
    faults, _, broken = run(csv, image_dir=phantoms / "images")
    assert broken
    assert faults["ids that are refused"]["number"] == 2


def test_where_no_film_is_found_labels_are_judged_all_the_same(tmp_path: Path) -> None:
    csv = tmp_path / "labels.csv"
    csv.write_text("ImageID,PatientID,Mass\na.png,1,1\nb.png,2,-1\n")
    faults, _, broken = run(csv)
    assert broken
    assert faults["ids without a film"]["films"] == []
    assert any("-1" in " ".join(fault["examples"]) for fault in faults.values())
