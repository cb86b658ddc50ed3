import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cxrlt_cli.config import EnsembleOptions, EvaluateOptions
from cxrlt_cli.errors import OptionError
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.predictions import Predictions, blend
from cxrlt_cli.tables.label_table import LabelTable, read_labels
from cxrlt_cli.verbs.ensemble_fit import fold_of
from cxrlt_cli.verbs.evaluate import evaluate
from tests.helpers import FINDINGS, Recorder, ensemble, write_csv

LOCAL = {"workers": 0, "device": "cpu", "batch_size": 20}


def options(members: list[Path], out: Path, **changes: Any) -> EnsembleOptions:
    return EnsembleOptions.model_validate({"members": members, "out": out, **LOCAL, **changes})


def test_what_is_chosen_can_be_asked_for_again(labels: Path, tmp_path: Path) -> None:
    table = read_labels(labels)
    rng = np.random.default_rng(0)
    for name, share in (("good", 0.6), ("bad", 0.0), ("fair", 0.5)):
        noise = rng.random(table.targets.shape)
        Predictions(table.ids, FINDINGS, share * table.targets + (1 - share) * noise).write(tmp_path / f"{name}.csv")
    members = [tmp_path / f"{name}.csv" for name in ("good", "bad", "fair")]
    recorder = Recorder()
    chosen = ensemble(options(members, tmp_path / "out.csv", csv=labels, fit=True), recorder)
    content = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert content["weights"][1] < 0.1
    assert sum(content["weights"]) == pytest.approx(1)
    assert recorder.results[1].startswith("The choice on all 48 films: weights ")
    assert "against the plain mean: choosing " in recorder.results[0]
    assert recorder.results[0].endswith("(5 folds by patient).")
    assert content.pop("members") == [str(member) for member in members]
    again = ensemble(options(members, tmp_path / "again.csv", **content), Recorder())
    assert again is not None
    parts = [Predictions.read(member) for member in members]
    expected = blend(parts, content["weights"], content["merge"])
    np.testing.assert_array_equal(again.probabilities, expected.probabilities)
    assert chosen is not None
    for c in range(3):  # on the scale of what was chosen
        assert set(chosen.probabilities[:, c]) <= set(expected.probabilities[:, c])
    given = {"predictions": [tmp_path / "out.csv"], "csv": labels, "json": tmp_path / "scores.json", "bootstrap": 0}
    evaluate(EvaluateOptions.model_validate(given), Recorder())
    ap = json.loads((tmp_path / "scores.json").read_text())["macro"]["ap"]
    assert f"Cross-validated macro AP {ap:.3f}" in recorder.results[0], "evaluate says the same"
    for flag, value in {"merge": "max", "postprocess": "normal_gating"}.items():
        with pytest.raises(OptionError, match=f"leave --{flag} out"):
            ensemble(options(members, tmp_path / "out.csv", csv=labels, fit=True, **{flag: value}), Recorder())
    with pytest.raises(OptionError, match="do not know Healthy"):
        ensemble(options(members, tmp_path / "out.csv", csv=labels, fit=True, normal="Healthy"), Recorder())
    with pytest.raises(OptionError, match="leave --weights out"):
        ensemble(options(members, tmp_path / "out.csv", csv=labels, fit=True, weights="1,1,1"), Recorder())
    with pytest.raises(OptionError, match="--fit needs labelled films"):
        ensemble(options(members, tmp_path / "out.csv", fit=True), Recorder())
    fewer = write_csv(tmp_path / "few.csv", ["ImageID", *FINDINGS], [(table.ids[0], 1, 0, 0)])
    recorder = Recorder()
    ours = ensemble(options(members, tmp_path / "one.csv", csv=fewer, fit=True), recorder)
    assert ours is not None
    assert ours.ids.tolist() == [table.ids[0]]
    assert "too good: too few patients" in recorder.results[0]


def test_what_fit_keeps_calibrates_and_decides(labels: Path, tmp_path: Path) -> None:
    table = read_labels(labels)
    for seed, name in enumerate(("a", "b")):
        noise = np.random.default_rng(seed).random(table.targets.shape)
        Predictions(table.ids, FINDINGS, 0.2 * table.targets + 0.8 * noise).write(tmp_path / f"{name}.csv")
    members = [tmp_path / "a.csv", tmp_path / "b.csv"]
    recorder = Recorder()
    ensemble(options(members, tmp_path / "fit.csv", csv=labels, fit=True), recorder)
    assert recorder.results[2].startswith("Calibration error (ECE), mean of the findings: 0.")
    assert "cross-validated too" in recorder.results[2]
    content = yaml.safe_load((tmp_path / "fit.yaml").read_text())
    assert content["fitted"] == str(tmp_path / "fit.json")
    del content["members"]
    plain = ensemble(options(members, tmp_path / "p.csv", **content), Recorder())
    assert plain is not None
    use = {**content, "calibration": "platt", "decisions": tmp_path / "d.csv", "decide": "sensitivity-0.9"}
    ours = ensemble(options(members, tmp_path / "out.csv", **use), Recorder())
    assert ours is not None
    fitted = Calibration.fit(plain, table.targets)
    np.testing.assert_allclose(ours.probabilities, fitted.calibrate(plain, "platt").probabilities, rtol=1e-12)
    decided = Predictions.read(tmp_path / "d.csv")
    np.testing.assert_array_equal(decided.probabilities, fitted.decide(plain, "sensitivity-0.9").probabilities)
    part = ensemble(options(members, tmp_path / "out.csv", **{**use, "findings": "nodule"}), Recorder())
    assert part is not None
    np.testing.assert_array_equal(part.probabilities, ours.select(["nodule"]).probabilities)
    for changes, said in (
        ({"weights": "1,7"}, "another ensemble: it differs in weights"),
        ({"merge": "max"}, "another ensemble: it differs in merge"),
        ({"fitted": None}, "need what --fit keeps"),
        ({"fitted": tmp_path / "a.csv"}, r"a\.csv is not what cxrlt ensemble --fit writes"),
        ({"decisions": tmp_path / "out.csv"}, "--decisions and --out are both"),
    ):
        with pytest.raises(OptionError, match=said):
            ensemble(options(members, tmp_path / "out.csv", **{**use, **changes}), Recorder())
    with pytest.raises(OptionError, match="leave --calibration out"):
        ensemble(options(members, tmp_path / "x.csv", csv=labels, fit=True, calibration="platt"), Recorder())


def test_what_was_fitted_on_predictions_says_which_stand_for_which(labels: Path, tmp_path: Path) -> None:
    table = read_labels(labels)
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        noise = rng.random(table.targets.shape)
        Predictions(table.ids, FINDINGS, 0.3 * table.targets + 0.7 * noise).write(tmp_path / f"{name}.csv")
    before = [tmp_path / "a.csv", tmp_path / "b.csv"]
    ensemble(options(before, tmp_path / "fit.csv", csv=labels, fit=True), Recorder())
    content = yaml.safe_load((tmp_path / "fit.yaml").read_text())
    del content["members"]
    recorder = Recorder()
    now = [tmp_path / "b.csv", tmp_path / "c.csv"]
    ensemble(options(now, tmp_path / "out.csv", calibration="platt", **content), recorder)
    (told,) = [note for note in recorder.notes if "was fitted on predictions" in note]
    assert f"{now[0]} as {before[0]}, {now[1]} as {before[1]}" in told


def test_what_fit_keeps_is_of_its_checkpoints(run: Path, labels: Path, tmp_path: Path) -> None:
    ensemble(options([run], tmp_path / "fit.csv", csv=labels, fit=True), Recorder())
    content = yaml.safe_load((tmp_path / "fit.yaml").read_text())
    del content["members"]
    use = {"csv": labels, "calibration": "platt", **content}
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    assert ensemble(options([moved], tmp_path / "out.csv", **use), Recorder()) is not None
    with pytest.raises(OptionError, match="another ensemble: it differs in members"):
        ensemble(options([run / "last.safetensors"], tmp_path / "out.csv", **use), Recorder())


def test_no_patient_is_in_two_folds_and_each_leaves_positives() -> None:
    patients = np.array(["a", "a", "b", "b", "c", "d", "d"], object)
    targets = np.array([[1], [1], [0], [0], [0], [0], [0]], np.float32)
    ids = np.array([f"{row}.png" for row in range(7)], object)
    truth = LabelTable(ids, patients, targets, LabelSpace.of(("a",)))
    assert fold_of(truth, 0) is None, "whoever holds a out has no positive to choose by"
    targets[4] = 1
    fold = fold_of(truth, 0)
    assert fold is not None
    assert sorted(set(fold.tolist())) == [0, 1, 2, 3]
    assert all(len(set(fold[patients == patient].tolist())) == 1 for patient in "abcd")
