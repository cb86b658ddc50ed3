"""``train --folds`` and ``--seeds``: members that are runs as ever, and every film judged by who did not see it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrlt_cli.cli.options import build, read_config
from cxrlt_cli.config import EnsembleOptions, EvaluateOptions, FinetuneOptions, InferOptions, TrainOptions
from cxrlt_cli.errors import CheckpointError, DataError, OptionError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.scores.pooled import on_one_scale
from cxrlt_cli.scores.predictions import Predictions, blend
from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.training.resume import ResumeFile
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.finetune import finetune
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import FINDINGS, Recorder, ensemble, make_films, write_csv

LOCAL = {"workers": 0, "device": "cpu", "batch_size": 20}
WRITTEN = ("best.safetensors", "last.safetensors", "val_predictions.csv", "oof_predictions.csv", "metrics.json")


def options(csv: Path, out: Path | None, **changes: Any) -> TrainOptions:
    return run_options(csv, out, epochs=1, image_size=32, **changes)


def hashes(folder: Path) -> dict[str, str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.name in WRITTEN]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def reporter() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def folds(labels: Path, tmp_path_factory: pytest.TempPathFactory, reporter: Recorder) -> Path:
    out = tmp_path_factory.mktemp("folds") / "run"
    train(options(labels, out, folds=3), reporter)
    return out


@pytest.fixture(scope="module")
def seeds(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of two folds each."""
    out = tmp_path_factory.mktemp("seeds") / "run"
    train(options(labels, out, folds=2, seeds=2, seed=7), Recorder())
    return out


def test_every_film_is_predicted_once_by_who_did_not_see_its_patient(folds: Path, labels: Path) -> None:
    table = read_labels(labels)
    together = Predictions.read(folds / "oof_predictions.csv")
    assert together.ids.tolist() == table.ids.tolist()
    assert together.findings == FINDINGS
    patient = dict(zip(table.ids, table.patients, strict=True))
    seen: list[set[str]] = []
    members = [Predictions.read(folds / f"fold-{number}" / "val_predictions.csv") for number in (1, 2, 3)]
    on_scale = on_one_scale([member.probabilities for member in members])
    for number in (1, 2, 3):
        member = members[number - 1]
        ours = together.rows(list(member.ids)).probabilities
        np.testing.assert_allclose(ours, on_scale[number - 1], rtol=1e-7)
        seen.append({patient[film] for film in member.ids})
        counts = Checkpoint.read(folds / f"fold-{number}" / "best.safetensors").training["counts"]
        kept_from = table.rows(np.isin(table.patients.astype(str), sorted(seen[-1]))).counts
        np.testing.assert_array_equal(list(counts.values()), table.counts - kept_from)
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]
    assert set.union(*seen) == set(table.patients)


def test_what_is_judged_are_those_predictions(folds: Path, labels: Path, reporter: Recorder, tmp_path: Path) -> None:
    """``evaluate`` says the same of the CSV, intervals included; a line each says what the members came to."""
    content = json.loads((folds / "metrics.json").read_text())
    given = {"predictions": [folds / "oof_predictions.csv"], "csv": labels, "json": tmp_path / "scores.json"}
    evaluate(EvaluateOptions.model_validate(given), Recorder())
    scores = json.loads((tmp_path / "scores.json").read_text())
    del scores["operating_points"]
    assert {name: content[name] for name in scores} == scores
    assert content["macro"]["ap_ci"] is not None
    assert [member["member"] for member in content["members"]] == ["fold-1", "fold-2", "fold-3"]
    assert sum(member["num_films"] for member in content["members"]) == 48
    assert [line.partition(":")[0] for line in reporter.results[:-1]] == ["fold-1", "fold-2", "fold-3"]
    assert reporter.tables[-1].to_json() == scores
    assert len(reporter.plans) == 1


def test_nothing_is_chosen_on_the_films_that_judge(labels: Path, tmp_path: Path) -> None:
    """Each member is its last epoch, by averaged weights; of epochs that are all alike, a choice takes the first."""
    still = {"lr_warmup": 1e-30, "lr_head": 1e-30, "lr_backbone": 1e-30}
    train(run_options(labels, tmp_path, image_size=32, folds=2, epochs=3, **still), Recorder())
    for number in (1, 2):
        member = tmp_path / f"fold-{number}"
        lines = [json.loads(line) for line in (member / "history.jsonl").read_text().splitlines()]
        best = json.loads((member / "metrics.json").read_text())["best"]
        assert (best["phase"], best["epoch"]) == (lines[-1]["phase"], lines[-1]["epoch"])
        assert {line["weights"] for line in lines if line["phase"] == "all"} == {"ema"}
        assert not any(line["best"] for line in lines)
        tensors, last = (Checkpoint.read(member / f"{name}.safetensors").tensors for name in ("best", "last"))
        assert all(torch.equal(tensors[name], last[name]) for name in last)


def test_films_are_checked_once(folds: Path, reporter: Recorder, labels: Path, tmp_path: Path) -> None:
    assert reporter.advanced["Checking films"] == 48
    kept = Recorder()
    train(options(labels, tmp_path / "run", folds=2, max_steps=1, cache=tmp_path / "cache"), kept)
    assert kept.advanced["Keeping films"] == 48
    assert "Checking films" not in kept.advanced


def test_a_member_is_a_run_as_ever(folds: Path, labels: Path, tmp_path: Path) -> None:
    infer(InferOptions.model_validate({"checkpoint": folds / "fold-2", "csv": labels, "out": tmp_path / "p.csv",
                                       "ood_score": True, "calibration": "platt", **LOCAL}), Recorder())  # fmt: skip
    alone = build(TrainOptions, {"out": tmp_path / "run"}, read_config(TrainOptions, folds / "fold-2" / "run.yaml"))
    assert (alone.folds, alone.fold) == (3, 2)
    train(alone, Recorder())
    assert hashes(tmp_path / "run" / "fold-2") == hashes(folds / "fold-2")
    assert not (tmp_path / "run" / "metrics.json").exists()


def _yaml(path: Path) -> dict[str, Any]:
    from cxrlt_cli.documents import read_yaml

    content = read_yaml(path)
    assert isinstance(content, dict)
    return content


def test_folds_that_were_trained_apart_are_brought_together(folds: Path, labels: Path, tmp_path: Path) -> None:
    """As an array of jobs trains them: fold 3 here, and what is missing afterwards."""
    out = tmp_path / "run"
    train(options(labels, out, folds=3, fold=3), Recorder())
    with pytest.raises(OptionError, match="already holds a run"):
        train(options(labels, out, folds=3, fold=3), Recorder())
    train(options(labels, out, folds=3, fold=1), Recorder())
    recorder = Recorder()
    train(options(labels, out, folds=3, resume=True), recorder)
    assert hashes(out) == hashes(folds)
    assert [": was finished" in line for line in recorder.results[:3]] == [True, False, True]


class Stop(BaseException):
    """What no code expects, as a power cut."""


def test_a_stop_in_a_fold_or_between_two_changes_nothing(
    folds: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State is written after each step; stopped again and again, each time a few writings later."""
    out, stops, left, write = tmp_path / "run", 0, [0], ResumeFile.write

    def writing(resume: ResumeFile, *arguments: Any) -> None:
        write(resume, *arguments)
        left[0] -= 1
        if left[0] == 0:
            raise Stop

    monkeypatch.setattr(ResumeFile, "write", writing)
    while True:
        left[0] = 2 + stops % 2
        try:
            train(options(labels, out, folds=3, checkpoint_minutes=0, resume=stops > 0), Recorder())
            break
        except Stop:
            stops += 1
    assert stops > 4
    assert hashes(out) == hashes(folds)
    again = Recorder()
    train(options(labels, out, folds=3, resume=True), again)
    assert hashes(out) == hashes(folds)
    assert all(": was finished" in line for line in again.results[:3])
    assert not again.epochs


def test_a_run_goes_on_as_it_began(folds: Path, labels: Path, run: Path) -> None:
    with pytest.raises(OptionError, match=r"--folds was 3, is 4"):
        train(options(labels, folds, folds=4, resume=True), Recorder())
    with pytest.raises(OptionError, match=r"holds the folders fold-\*") as caught:
        train(options(labels, folds, resume=True), Recorder())
    assert "run.yaml" in caught.value.hint
    with pytest.raises(OptionError, match="holds a run without --folds and --seeds"):
        train(options(labels, run, folds=2, resume=True), Recorder())
    for changes in ({}, {"folds": 3}, {"folds": 5}, {"seeds": 2}):
        with pytest.raises(OptionError, match="already holds a run"):
            train(options(labels, folds, **changes), Recorder())


def test_seeds_share_their_folds_and_are_judged_together(seeds: Path, labels: Path, tmp_path: Path) -> None:
    parts = [Predictions.read(seeds / f"seed-{seed}" / "oof_predictions.csv") for seed in (7, 8)]
    together = Predictions.read(seeds / "oof_predictions.csv")
    np.testing.assert_array_equal(together.probabilities, blend(parts).probabilities)
    assert together.ids.tolist() == read_labels(labels).ids.tolist()
    for fold in (1, 2):
        films = [set(Predictions.read(seeds / f"seed-{seed}/fold-{fold}/val_predictions.csv").ids) for seed in (7, 8)]
        assert films[0] == films[1]
    content = json.loads((seeds / "metrics.json").read_text())
    over, own = content["over_seeds"], [json.loads((seeds / f"seed-{s}/metrics.json").read_text()) for s in (7, 8)]
    values = [one["macro"]["ap"] for one in own]
    assert over["seeds"] == [7, 8]
    assert over["ap"]["mean"] == pytest.approx(np.mean(values))
    assert over["ap"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert over["ap"]["ci"][0] <= over["ap"]["mean"] <= over["ap"]["ci"][1]
    assert [member["member"] for member in content["members"]][:3] == [
        "seed-7/fold-1",
        "seed-7/fold-2",
        "seed-8/fold-1",
    ]
    train(options(labels, tmp_path / "run", folds=2, seed=8, split_seed=7), Recorder())
    assert hashes(tmp_path / "run/fold-1") == hashes(seeds / "seed-8/fold-1")


def test_seeds_without_folds_hold_out_the_same_films(labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    scores = train(run_options(labels, tmp_path / "run", epochs=0, seeds=2), recorder)
    assert scores is not None
    parts = [Predictions.read(tmp_path / "run" / f"seed-{seed}" / "val_predictions.csv") for seed in (42, 43)]
    assert parts[0].ids.tolist() == parts[1].ids.tolist()
    together = Predictions.read(tmp_path / "run" / "val_predictions.csv")
    np.testing.assert_array_equal(together.probabilities, blend(parts).probabilities)
    assert scores.num_films == len(parts[0].ids)
    assert any(line.startswith("Over 2 seeds, each alone: macro AP ") for line in recorder.results)
    train(run_options(labels, tmp_path / "run", epochs=0, seeds=3, resume=True), Recorder())
    content = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert content["over_seeds"]["seeds"] == [42, 43, 44], "one seed more is no other run"
    assert _yaml(tmp_path / "run" / "run.yaml")["seeds"] == 3
    with pytest.raises(OptionError, match="--resume"):
        train(run_options(labels, tmp_path / "run", epochs=1, seeds=3, resume=True), Recorder())
    assert _yaml(tmp_path / "run" / "run.yaml")["epochs"] == 0, "what is refused changes nothing"
    assert (tmp_path / "run" / "metrics.json").exists()


def test_an_ensemble_takes_all_members(folds: Path, seeds: Path, labels: Path, tmp_path: Path) -> None:
    def blended(members: list[Path], **changes: Any) -> Predictions:
        given = {"members": members, "csv": labels, "out": tmp_path / "p.csv", **LOCAL, **changes}
        found = ensemble(EnsembleOptions.model_validate(given), Recorder())
        assert found is not None
        return found

    named = [folds / f"fold-{number}" for number in (1, 2, 3)]
    np.testing.assert_array_equal(blended([folds]).probabilities, blended(named).probabilities)
    every = [seeds / f"seed-{seed}/fold-{fold}" for seed in (7, 8) for fold in (1, 2)]
    mixed = blended([folds, seeds], weights="3,1")
    expected = blended([*named, *every], weights="1,1,1,0.25,0.25,0.25,0.25")
    np.testing.assert_allclose(mixed.probabilities, expected.probabilities, rtol=1e-12)
    each = blended([folds, named[0]], weights="1,2,3,4")
    np.testing.assert_array_equal(each.probabilities, blended([*named, named[0]], weights="1,2,3,4").probabilities)
    with pytest.raises(OptionError, match="--weights has 2 numbers for 3 members"):
        blended([folds], weights="1,2")


def test_runs_are_fitted_by_their_predictions_out_of_fold(
    folds: Path, seeds: Path, labels: Path, tmp_path: Path
) -> None:
    """No film is read; what is written down names the runs, all of whose members then predict."""

    def given(**changes: Any) -> EnsembleOptions:
        values = {"csv": labels, "out": tmp_path / "p.csv", "members": [folds, seeds], **LOCAL, **changes}
        return EnsembleOptions.model_validate(values)

    recorder = Recorder()
    honest = ensemble(given(fit=True, out=tmp_path / "fit.csv"), recorder)
    assert honest is not None
    assert not recorder.advanced.keys() & {"Predicting", "Keeping films"}
    assert not [warning for warning in recorder.warnings if "learned from" in warning]
    assert recorder.plans[0]["member 1"] == f"{folds} (out of fold)"
    parts = [Predictions.read(run / "oof_predictions.csv") for run in (folds, seeds)]
    content = _yaml(tmp_path / "fit.yaml")
    assert content["members"] == [str(folds), str(seeds)]
    final = blend(parts, content["weights"], content["merge"])
    for c in range(3):
        ours, scale = honest.probabilities[:, c], final.probabilities[:, c]
        assert scale.min() <= ours.min() <= ours.max() <= scale.max(), "on its scale"
    used = ensemble(given(**content), Recorder())
    assert used is not None
    shares = ",".join(
        str(weight / number) for weight, number in zip(content["weights"], (3, 4), strict=True) for _ in range(number)
    )
    members = [folds / f"fold-{n}" for n in (1, 2, 3)]
    members += [seeds / f"seed-{seed}/fold-{fold}" for seed in (7, 8) for fold in (1, 2)]
    alone = ensemble(given(members=members, weights=shares, merge=content["merge"]), Recorder())
    assert alone is not None
    np.testing.assert_array_equal(used.probabilities, alone.probabilities)
    recorder = Recorder()
    ensemble(given(members=[folds / "fold-1", seeds], fit=True), recorder)
    (warning,) = [warning for warning in recorder.warnings if "was trained on" in warning]
    assert f"{folds / 'fold-1'} was trained on 32 of the 48 films of {labels}" in warning
    assert "folder of the whole run" in warning
    with pytest.raises(OptionError, match=r"--tta has no effect on .* runs with --folds"):
        ensemble(given(fit=True, tta="flip"), Recorder())
    unknown = write_csv(tmp_path / "test.csv", ["ImageID", *FINDINGS], [("new.png", 1, 0, 0)])
    with pytest.raises(DataError, match=r"run \(out of fold\) lacks the films new.png"):
        ensemble(given(fit=True, csv=unknown), Recorder())


def test_members_that_may_be_missing_are_not_blended(labels: Path, tmp_path: Path) -> None:
    train(options(labels, tmp_path / "run", folds=2, fold=1, max_steps=1), Recorder())
    given = {"members": [tmp_path / "run"], "csv": labels, "out": tmp_path / "p.csv", **LOCAL}
    with pytest.raises(CheckpointError, match="has not ended") as caught:
        ensemble(EnsembleOptions.model_validate(given), Recorder())
    assert "--resume" in caught.value.hint
    assert str(tmp_path / "run" / "fold-1") in caught.value.hint


def test_one_checkpoint_is_asked_for_and_several_are_named(folds: Path, labels: Path, tmp_path: Path) -> None:
    given = {"checkpoint": folds, "csv": labels, "out": tmp_path / "p.csv", **LOCAL}
    with pytest.raises(CheckpointError, match="holds 3 members") as caught:
        infer(InferOptions.model_validate(given), Recorder())
    assert f"cxrlt ensemble {folds}" in caught.value.hint
    with pytest.raises(CheckpointError, match="holds 3 members"):
        finetune(FinetuneOptions.model_validate({"checkpoint": folds, "csv": labels}), Recorder())


def test_a_dry_run_tells_the_time_of_all(labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    assert train(options(labels, tmp_path / "run", folds=3, seeds=2, dry_run=True), recorder) is None
    assert not (tmp_path / "run").exists()
    assert "a member" in recorder.results[0]
    assert "all 6" in recorder.results[0]
    assert recorder.plans[0]["members"].startswith("6, one after another: 3 folds and seeds 42 to 43")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"folds": 5, "val_fraction": 0.2}, "--val-fraction and --folds exclude each other"),
        ({"folds": 5, "val_csv": "v.csv"}, "--val-csv and --folds exclude each other"),
        ({"folds": 1}, "--folds = 1"),
        ({"seeds": 1}, "--seeds = 1"),
        ({"patience": 0}, "--patience = 0"),
        ({"folds": 2, "patience": 3}, "--patience ends a phase by validation films"),
        ({"fold": 2}, "--fold is one of --folds"),
        ({"folds": 3, "fold": 4, "out": "x"}, "with --folds 3 they are 1 to 3"),
        ({"folds": 3, "fold": 2}, "pass --out too"),
        ({"split_seed": 1, "val_csv": "v.csv"}, "--split-seed is for films that are held out"),
    ],
)
def test_options_that_contradict_each_other_are_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        build(TrainOptions, {"csv": "a.csv", **given}, {})
    assert said in str(caught.value)


def test_validation_rows_beside_the_folds_are_told(labels: Path, tmp_path: Path) -> None:
    table = read_labels(labels)
    films = enumerate(zip(table.ids, table.patients, table.targets, strict=True))
    rows = [(film, patient, "val" if index >= 40 else "train", *map(int, row)) for index, (film, patient, row) in films]
    csv = write_csv(tmp_path / "labels.csv", ["ImageID", "PatientID", "Split", *FINDINGS], rows)
    given = {"folds": 2, "max_steps": 1, "image_dir": labels.parent / "images"}
    with pytest.raises(OptionError, match=r"the 8 rows of .* whose Split is val would be judged by besides") as caught:
        train(options(csv, tmp_path / "a", split="train", **given), Recorder())
    assert "--split train,val" in caught.value.hint
    train(options(csv, tmp_path / "a", split="train,val", **given), Recorder())
    assert len(Predictions.read(tmp_path / "a" / "oof_predictions.csv").ids) == 48
    test = write_csv(tmp_path / "test.csv", ["ImageID"], [[row[0]] for row in rows if row[2] == "val"])
    train(options(csv, tmp_path / "b", split="train", exclude=[test], **given), Recorder())
    assert len(Predictions.read(tmp_path / "b" / "oof_predictions.csv").ids) == 40


def test_findings_of_few_patients_are_counted(tmp_path: Path) -> None:
    csv = make_films(tmp_path / "set", num_films=24, films_per_patient=2)
    table = read_labels(csv)
    films = enumerate(zip(table.ids, table.patients, table.targets, strict=True))
    rows = [
        (film, patient, *map(int, row), int(patient == table.patients[4]), int(index % 7 == 0))
        for index, (film, patient, row) in films
    ]
    write_csv(csv, ["ImageID", "PatientID", *FINDINGS, "goiter", "bulla"], rows)
    recorder = Recorder()
    train(options(csv, tmp_path / "run", folds=6, max_steps=1), recorder)
    (told,) = [warning for warning in recorder.warnings if "fewer patients than there are folds" in warning]
    assert "goiter (1), bulla (4)" in told
    content = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [finding["positives"] for finding in content["findings"]][-2:] == [2, 4]
    with pytest.raises(DataError, match=r"--folds 13: the films of .* are of 12 patients"):
        train(options(csv, tmp_path / "other", folds=13), Recorder())


def test_finetune_has_folds_too(run: Path, labels: Path, tmp_path: Path) -> None:
    given = {"checkpoint": run, "csv": labels, "out": tmp_path / "run", "epochs": 1, "folds": 2, "retrain_head": True,
             "drop_path": 0.0, "track": "none", "precision": "fp32", **LOCAL}  # fmt: skip
    recorder = Recorder()
    finetune(FinetuneOptions.model_validate(given), recorder)
    assert any("was trained on films of" in warning for warning in recorder.warnings)
    before = Checkpoint.read(run / "best.safetensors").tensors
    for fold in ("fold-1", "fold-2"):
        after = Checkpoint.read(tmp_path / "run" / fold / "best.safetensors").tensors
        assert all(torch.equal(before[name], after[name]) for name in after if name.startswith("backbone."))
    assert sum("Validation AP of the checkpoint before training" in note for note in recorder.notes) == 2
    assert sum("From scratch in the head" in note for note in recorder.notes) == 1


def test_processes_train_members_side_by_side_as_one_would(labels: Path, tmp_path: Path) -> None:
    """Three folds on two processes are what they are on one, bit for bit, and go on where they were stopped."""
    torch.set_num_threads(1)
    given = {"folds": 3, "batch_size": 16, "drop_path": 0.1}
    for number, out in ((1, "one"), (2, "two")):
        train(options(labels, tmp_path / out, processes=number, **given), Recorder())
    for name in ("oof_predictions.csv", "metrics.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    for fold in ("fold-1", "fold-2", "fold-3"):
        one, two = (Checkpoint.read(tmp_path / out / fold / "last.safetensors").tensors for out in ("one", "two"))
        assert all(torch.equal(one[name], two[name]) for name in one)
    before = hashes(tmp_path / "two")
    (tmp_path / "two" / "fold-2" / "resume.pt").unlink()
    train(options(labels, tmp_path / "two", processes=2, resume=True, **given), Recorder())
    assert hashes(tmp_path / "two") == before


@pytest.mark.soak
def test_more_processes_than_members_share_each(labels: Path, tmp_path: Path) -> None:
    train(options(labels, tmp_path / "run", folds=2, max_steps=1, processes=3, batch_size=4), Recorder())
    assert len(Predictions.read(tmp_path / "run" / "oof_predictions.csv").ids) == 48
