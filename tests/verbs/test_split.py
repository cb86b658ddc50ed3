"""From imported labels to a checkpoint and scores: official parts of one CSV, and the rules it was made by."""

import contextlib
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cxrlt_cli.config import (
    DataCheckOptions,
    EnsembleOptions,
    EvaluateOptions,
    FinetuneOptions,
    InferOptions,
    TrainOptions,
)
from cxrlt_cli.engine.labelled import SplitError, labelled_films
from cxrlt_cli.errors import DataError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.provenance import write_record
from cxrlt_cli.verbs.data_check import check
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.finetune import finetune
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder, ensemble, make_films

POLICY = "chexpert; uncertain: empty; unmentioned: 0"
Rows = list[dict[str, str]]


def written(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 films of 24 patients: 28 train, 10 val, 10 test, with the columns and the record of ``data import``."""
    path = make_films(tmp_path_factory.mktemp("split") / "set")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for index, row in enumerate(rows):
        row.pop("Age")
        part = "train" if index < 28 else "val" if index < 38 else "test"
        row |= {"StudyID": f"s{index}", "Split": part, "PatientSex": "FM"[index % 2], "PatientAge": str(index)}
    written(path, rows)
    write_record(path, {"policy": POLICY})
    return path


def rows_of(path: Path) -> Rows:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def options(path: Path, **changes: Any) -> TrainOptions:
    return TrainOptions.model_validate({"csv": path, "split": "train", **changes})


def test_official_parts_need_no_second_file(films: Path) -> None:
    recorder = Recorder()
    training, validation = labelled_films(options(films), films, recorder)
    rows = rows_of(films)
    assert training.ids.tolist() == [row["ImageID"] for row in rows if row["Split"] == "train"]
    assert validation.ids.tolist() == [row["ImageID"] for row in rows if row["Split"] == "val"]
    assert training.space.findings == ("Normal", "effusion", "nodule")
    assert f"Validation films: the 10 rows of {films} whose Split is val." in recorder.notes


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"split": "train,val"}, 38),
        ({"val_fraction": 0.1}, 28),
        ({"split": "test,val"}, 20),
        ({"split": "train,val,test", "val_fraction": 0.2}, 48),
    ],
)
def test_otherwise_films_of_the_chosen_parts_are_held_out(films: Path, changes: dict[str, Any], number: int) -> None:
    training, validation = labelled_films(options(films, **changes), films, Recorder())
    chosen = {row["ImageID"] for row in rows_of(films) if row["Split"] in str(options(films, **changes).split)}
    assert {*training.ids, *validation.ids} == chosen
    assert len(training) + len(validation) == number
    assert not set(training.patients) & set(validation.patients)


def test_without_validation_rows_films_are_held_out(films: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", [row for row in rows_of(films) if row["Split"] != "val"])
    training, validation = labelled_films(options(path), path, Recorder())
    assert len(training) + len(validation) == 28


def test_validation_films_of_another_file_go_before_the_part(films: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other.csv", [row for row in rows_of(films) if row["Split"] == "test"])
    _, validation = labelled_films(options(films, val_csv=other), films, Recorder())
    assert len(validation) == 10
    assert all(row["Split"] == "test" for row in rows_of(films) if row["ImageID"] in validation.ids)


def test_a_patient_in_both_parts_is_an_error_with_the_way_out(films: Path, tmp_path: Path) -> None:
    rows = rows_of(films)
    for row in rows[26:30]:
        row["PatientID"] = "7"
    path = written(tmp_path / "labels.csv", rows)
    with pytest.raises(DataError, match=r"share 1 patient with the rows of .* whose Split is val \(7\)") as error:
        labelled_films(options(path), path, Recorder())
    assert "--split train,val" in error.value.hint
    labelled_films(options(path, split="train,val"), path, Recorder())


def test_all_rows_are_taken_with_a_warning(films: Path) -> None:
    recorder = Recorder()
    training, validation = labelled_films(options(films, split=None), films, recorder)
    assert len(training) + len(validation) == 48
    assert any("(train 28, val 10, test 10)" in warning for warning in recorder.warnings)


def test_parts_without_patients_are_taken_with_a_warning(films: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "l.csv", [{k: v for k, v in row.items() if k != "PatientID"} for row in rows_of(films)])
    recorder = Recorder()
    labelled_films(options(path), path, recorder)
    assert any("cannot be told" in warning for warning in recorder.warnings)


def test_a_part_without_a_positive_is_told(films: Path, tmp_path: Path) -> None:
    rows = rows_of(films)
    for row in rows:
        if row["Split"] == "val":
            row |= {"Normal": "0", "effusion": "0", "nodule": "0"}
    path = written(tmp_path / "labels.csv", rows)
    with pytest.raises(SplitError, match="No validation film"):
        labelled_films(options(path), path, Recorder())


def test_excluded_films_of_both_parts_are_known(films: Path, tmp_path: Path) -> None:
    ids = [rows_of(films)[0], rows_of(films)[30]]
    exclude = written(tmp_path / "exclude.csv", [{"ImageID": row["ImageID"]} for row in ids])
    recorder = Recorder()
    training, validation = labelled_films(options(films, exclude=[exclude]), films, recorder)
    assert (len(training), len(validation)) == (27, 9)
    assert recorder.notes[0] == "Left out by --exclude: 2 films."
    assert not recorder.warnings


@pytest.fixture(scope="module")
def trained(films: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorder]:
    out, recorder = tmp_path_factory.mktemp("trained") / "run", Recorder()
    chosen = run_options(films, out, split="train", epochs=1).model_dump(
        exclude_unset=True, by_alias=True, exclude={"val_fraction"}
    )
    train(TrainOptions.model_validate(chosen), recorder)
    return out, recorder


def test_a_run_on_a_part_keeps_the_policy_of_its_labels(trained: tuple[Path, Recorder], films: Path) -> None:
    out, recorder = trained
    assert recorder.plans[0]["labels"] == POLICY
    assert Checkpoint.read(out / "best.safetensors").policy == POLICY
    assert len(Predictions.read(out / "val_predictions.csv").ids) == 10
    again = yaml.safe_load((out / "run.yaml").read_text())
    assert again["split"] == ["train"]
    _, validation = labelled_films(TrainOptions.model_validate(again), films, Recorder())
    assert len(validation) == 10, "the file asks for the same"


def test_a_run_on_a_part_goes_on(trained: tuple[Path, Recorder], films: Path, tmp_path: Path) -> None:
    chosen = run_options(films, tmp_path / "run", split="train", epochs=1).model_dump(
        exclude_unset=True, by_alias=True, exclude={"val_fraction"}
    )
    stopped = TrainOptions.model_validate(chosen)
    train(stopped, Recorder())
    resumed = Recorder()
    train(stopped.model_copy(update={"resume": True}), resumed)
    assert resumed.results == [f"{tmp_path / 'run'} is finished."]
    written_once, again = (folder / "last.safetensors" for folder in (trained[0], tmp_path / "run"))
    assert Checkpoint.read(written_once).policy == Checkpoint.read(again).policy == POLICY


def test_finetune_tells_both_policies_where_they_differ(
    trained: tuple[Path, Recorder], films: Path, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    shutil.copy(films, path)
    for policy, told in (("nih; unmentioned: 0", True), (POLICY, False)):
        write_record(path, {"policy": policy})
        recorder = Recorder()
        asked = {"checkpoint": trained[0], "csv": path, "image_dir": films.parent / "images", "split": "train"}
        compute = {"workers": 0, "device": "cpu", "precision": "fp32", "track": "none", "batch_size": 8}
        out = tmp_path / policy[:3]
        finetune(FinetuneOptions.model_validate({**asked, **compute, "max_steps": 1, "out": out}), recorder)
        assert recorder.plans[0]["labels"] == policy
        assert (f"Labels that the checkpoint was trained on: {POLICY}." in recorder.notes) == told
        assert Checkpoint.read(out / "best.safetensors").policy == policy


def test_the_other_commands_take_parts_too(trained: tuple[Path, Recorder], films: Path, tmp_path: Path) -> None:
    test = [row["ImageID"] for row in rows_of(films) if row["Split"] == "test"]
    common = {"csv": films, "split": "test", "workers": 0, "device": "cpu"}
    out = tmp_path / "p.csv"
    infer(InferOptions.model_validate({**common, "checkpoint": trained[0], "out": out}), Recorder())
    assert Predictions.read(out).ids.tolist() == test
    blended = tmp_path / "blended.csv"
    ensemble(EnsembleOptions.model_validate({**common, "members": [trained[0], out], "out": blended}), Recorder())
    assert Predictions.read(blended).ids.tolist() == test
    recorder = Recorder()
    asked = {"predictions": [out], "csv": films, "split": "test", "train_csv": films, "bootstrap": 0}
    files = {"json": tmp_path / "s.json", "report": tmp_path / "page.html", "checkpoint": trained[0]}
    scores = evaluate(EvaluateOptions.model_validate({**asked, **files}), recorder)
    assert scores.num_films == 10
    learned = [row for row in rows_of(films) if row["Split"] == "train"]
    effusion = next(finding for finding in scores.findings if finding.name == "effusion")
    assert effusion.frequency == sum(row["effusion"] == "1" for row in learned) / 28
    assert json.loads((tmp_path / "s.json").read_text())["labels"] == {"csv": POLICY, "checkpoint": POLICY}
    assert f"Labels of labels.csv: {POLICY}." in (tmp_path / "page.html").read_text()
    assert f"Labels of {films}: {POLICY}." in recorder.notes
    assert f"Labels of {trained[0]}: {POLICY}." in recorder.notes


def test_predictions_of_another_part_are_an_error(trained: tuple[Path, Recorder], films: Path) -> None:
    predictions = trained[0] / "val_predictions.csv"
    with pytest.raises(DataError, match="share no film"):
        evaluate(
            EvaluateOptions.model_validate({"predictions": [predictions], "csv": films, "split": "test"}), Recorder()
        )


def test_data_check_judges_a_part_as_train_does(films: Path, tmp_path: Path) -> None:
    rows = rows_of(films)
    for row in rows[26:30]:
        row["PatientID"] = "7"
    path = written(tmp_path / "labels.csv", rows)
    images = films.parent / "images"

    def faults(**changes: Any) -> dict[str, dict[str, Any]]:
        asked = {"csv": path, "image_dir": images, "json": tmp_path / "f.json", "fix": tmp_path / "x.csv", **changes}
        with contextlib.suppress(DataError):
            check(DataCheckOptions.model_validate(asked), Recorder())
        return {fault["what"]: fault for fault in json.loads((tmp_path / "f.json").read_text())["faults"]}

    shared = "patients with films in several parts (Split)"
    assert faults()[shared]["examples"] == ["7"]
    found = faults(split="train")
    assert "whose Split is val (7)" in found["train would stop"]["examples"][0]
    listed = rows_of(tmp_path / "x.csv")
    assert [row["ImageID"] for row in listed][:2] == [row["ImageID"] for row in rows[26:28]]
    assert shared not in faults(exclude=[tmp_path / "x.csv"], fix=None)
