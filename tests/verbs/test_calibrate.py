import json
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from cxrlt_cli.config import CalibrateOptions, DataPhantomOptions, EnsembleOptions, InferOptions
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.scores import local_fitting
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.local_fit import LocalFit
from cxrlt_cli.scores.predictions import OOD_SCORE, Predictions
from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.verbs import infer as engine
from cxrlt_cli.verbs.calibrate import calibrate
from cxrlt_cli.verbs.data_phantom import draw_phantoms
from cxrlt_cli.verbs.infer import infer
from tests.helpers import FINDINGS, Recorder, ensemble, make_films, write_csv


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled films of other patients than those of the training: the CSV."""
    return make_films(tmp_path_factory.mktemp("local"), 60, first=100)


def options(model: Path, csv: Path | None, out: Path, **changes: object) -> CalibrateOptions:
    return CalibrateOptions.model_validate({"model": model, "csv": csv, "out": out, "device": "cpu", "workers": 0,
                                            "precision": "fp32", **changes})  # fmt: skip


def inferred(run: Path, csv: Path, out: Path, recorder: Recorder | None = None, **changes: Any) -> Predictions:
    values = {"checkpoint": run / "best.safetensors", "csv": csv, "out": out, "device": "cpu", "workers": 0}
    infer(InferOptions.model_validate({**values, "precision": "fp32", **changes}), recorder or Recorder())
    return Predictions.read(out)


def test_a_checkpoint_is_fitted_to_a_place_and_infer_goes_by_it(run: Path, local: Path, tmp_path: Path) -> None:
    recorder, out = Recorder(), tmp_path / "local.json"
    wanted = {"miss_at_most": 0.3, "sure": 0.8, "ppv": 0.5}
    fit = calibrate(options(run / "best.safetensors", local, out, **wanted), recorder)
    assert fit is not None
    content = json.loads(out.read_text())
    assert LocalFit.from_json(content) == fit
    assert content["model"] == sha256(run / "best.safetensors")
    plain = inferred(run, local, tmp_path / "plain.csv")
    table = read_labels(local, findings=FINDINGS)
    prior = Calibration.of(Checkpoint.read(run / "best.safetensors").training, FINDINGS)
    own = Calibration.fit(plain, table.targets, table.patients, prior)
    assert fit.calibration.platt["effusion"] == pytest.approx(own.platt["effusion"], abs=1e-4)
    assert recorder.texts[0][0][-1] == "in validation %"
    assert len(recorder.texts) == 3
    assert recorder.results[-1] == f"Wrote {out}."
    assert f"infer {run / 'best.safetensors'} --csv FILMS.csv --fitted {out} " in recorder.next_steps[-1]

    told = Recorder()
    changes = {"fitted": out, "calibration": "platt", "decisions": tmp_path / "d.csv"}
    after = inferred(run, local, tmp_path / "p.csv", told, **changes)
    np.testing.assert_allclose(after.probabilities, fit.calibration.calibrate(plain, "platt").probabilities, rtol=1e-6)
    expected = fit.decide(plain, None)
    cells = pd.read_csv(tmp_path / "d.csv", dtype=str, keep_default_na=False)
    for c, name in enumerate(FINDINGS):
        as_text = ["" if np.isnan(value) else str(int(value)) for value in expected.probabilities[:, c]]
        assert cells[name].tolist() == as_text
    with_threshold = [c for c, name in enumerate(FINDINGS) if name not in fit.without_threshold()]
    undecided = int(np.isnan(expected.probabilities[:, with_threshold]).sum())
    assert told.results[-1].startswith(f"Between both thresholds, and left empty: {undecided} of")
    assert told.texts[0][0] == ("finding", "patients", "neg. below", "sens. (95 %)",
                                "pos. from", "PPV (95 %)")  # fmt: skip
    assert not [warning for warning in told.warnings if "unlike" in warning]


def test_counts_after_a_stop_say_how_many_films_they_leave_out(
    run: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate(options(run / "best.safetensors", local, tmp_path / "f.json", miss_at_most=0.3), Recorder())
    given: dict[str, Any] = {"fitted": tmp_path / "f.json", "decisions": tmp_path / "d.csv"}
    whole = Recorder()
    inferred(run, local, tmp_path / "whole.csv", whole, **given)
    assert not [note for note in whole.notes if "before a stop" in note]
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(20))
    seen: list[int] = []

    def stopping(*arguments: Any, **settings: Any) -> Any:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return predict(*arguments, **settings)

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr(engine, "predict", stopping)
        inferred(run, local, tmp_path / "p.csv", **given)
    told = Recorder()
    inferred(run, local, tmp_path / "p.csv", told, **given)
    assert "Of 60 films, 40 were predicted before a stop, and are not in the counts that follow." in told.notes
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_rule_that_is_typed_is_that_of_the_place(run: Path, local: Path, tmp_path: Path) -> None:
    fit = calibrate(options(run, local, tmp_path / "f.json", sensitivity=0.9), Recorder())
    assert fit is not None
    recorder = Recorder()
    changes = {"fitted": tmp_path / "f.json", "decisions": tmp_path / "d.csv", "decide": "sensitivity-0.8"}
    plain = inferred(run, local, tmp_path / "p.csv", recorder, findings="nodule", **changes)
    expected = plain.probabilities[:, 0] >= fit.calibration.thresholds["sensitivity-0.8"]["nodule"]
    np.testing.assert_array_equal(Predictions.read(tmp_path / "d.csv").probabilities[:, 0], expected)
    assert recorder.texts[0][1][0] == "nodule"


def test_films_unlike_those_are_warned_of_and_a_stop_is_no_matter(run: Path, local: Path, tmp_path: Path) -> None:
    calibrate(options(run / "best.safetensors", local, tmp_path / "f.json"), Recorder())
    strange = tmp_path / "strange"
    (strange / "images").mkdir(parents=True)
    import cv2

    for number in range(40):
        level = np.random.default_rng(number).normal(200, 20, (64, 64))
        cv2.imwrite(str(strange / "images" / f"s{number}.png"), np.clip(level, 0, 255).astype(np.uint8))
    csv = write_csv(strange / "s.csv", ["ImageID"], [[f"s{number}.png"] for number in range(40)])
    recorder = Recorder()
    inferred(run, csv, tmp_path / "p.csv", recorder, fitted=tmp_path / "f.json")
    assert [warning for warning in recorder.warnings if warning.startswith("These 40 films are unlike")]
    assert recorder.notes[0].startswith("--fitted alone changes no probability")


def test_a_stopped_command_goes_on_by_the_same_file_alone(
    run: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.json"
    values: dict[str, Any] = {"fitted": path, "decisions": tmp_path / "d.csv"}
    calibrate(options(run / "best.safetensors", local, path, sensitivity=0.9), Recorder())
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(30))
    seen: list[int] = []

    def stopping(*arguments: Any, **settings: Any) -> Any:
        seen.append(1)
        if len(seen) % 2 == 0:
            raise KeyboardInterrupt
        return predict(*arguments, **settings)

    def stopped() -> None:
        with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
            patched.setattr(engine, "predict", stopping)
            inferred(run, local, tmp_path / "p.csv", **values)

    stopped()
    recorder = Recorder()
    inferred(run, local, tmp_path / "p.csv", recorder, **values)
    assert any(note.startswith("Going on after 30 films") for note in recorder.notes)
    stopped()
    calibrate(options(run / "best.safetensors", local, path, sensitivity=0.5), Recorder())
    recorder = Recorder()
    inferred(run, local, tmp_path / "p.csv", recorder, **values)
    assert not any(note.startswith("Going on") for note in recorder.notes), "thresholds are others now"


def test_what_is_of_another_model_or_other_views_is_refused(run: Path, local: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    calibrate(options(run / "best.safetensors", local, path, findings="nodule,effusion"), Recorder())
    before = path.read_text()
    fitted: dict[str, Any] = {"fitted": path, "decisions": tmp_path / "d.csv"}

    def refused(said: str, **changes: Any) -> None:
        with pytest.raises(OptionError, match=said):
            inferred(run, local, tmp_path / "p.csv", **{**fitted, **changes})
        assert not (tmp_path / "p.csv").exists()

    refused("of another model", checkpoint=run / "last.safetensors")
    refused("has nothing of Normal")
    refused("fitted with --tta none", tta="flip", findings="nodule")
    refused("normal_gating needs Normal", postprocess="normal_gating", findings="nodule")
    with pytest.raises(OptionError, match="a file that this command reads"):
        inferred(run, local, path, fitted=path, findings="nodule")
    for old, new, said in (
        ('"format": 2', '"format": 3', "of format 3; this cxrlt reads 2"),
        ('"kind": "cxrlt calibrate"', '"kind": "x"', "not what cxrlt calibrate writes"),
        ('"wanted"', '"wannted"', "is damaged"),
        ("{", "", "not what cxrlt calibrate writes"),
    ):
        path.write_text(before.replace(old, new, 1))
        refused(said)
    with pytest.raises(OptionError, match="views merged by mean"):
        calibrate(options(run / "best.safetensors", local, path, tta="flip"), Recorder())
        inferred(run, local, tmp_path / "p.csv", **{**fitted, "tta": "flip", "merge": "max"})


def test_too_few_patients_get_no_promise_and_empty_decisions(run: Path, local: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    fit = calibrate(options(run / "best.safetensors", local, tmp_path / "f.json", miss_at_most=0.05), recorder)
    assert fit is not None
    assert fit.without_threshold() == list(FINDINGS)
    assert any("it needs 59 with the finding, if none is missed" in warning for warning in recorder.warnings)
    told = Recorder()
    inferred(run, local, tmp_path / "p.csv", told, fitted=tmp_path / "f.json", decisions=tmp_path / "d.csv")
    assert (tmp_path / "d.csv").read_text().splitlines()[1].endswith(",,,")
    assert any(warning.startswith("Left empty in --decisions") for warning in told.warnings)


def test_a_finding_that_nobody_has_is_told_with_what_it_takes(run: Path, local: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(local, dtype={"PatientID": str}).assign(nodule=0)
    frame.to_csv(tmp_path / "none.csv", index=False)
    changes = {"image_dir": local.parent / "images"}
    for wanted, end in (
        ({"sensitivity": 0.9}, "their decisions are left empty."),
        ({}, "use the threshold of training."),
    ):
        recorder = Recorder()
        calibrate(options(run, tmp_path / "none.csv", tmp_path / "f.json", **changes, **wanted), recorder)
        (told,) = [warning for warning in recorder.warnings if warning.startswith("No threshold")]
        assert "no patient has the finding: nodule. It needs about 30 patients who have it" in told
        assert told.endswith(end)
    recorder = Recorder()
    calibrate(options(run, tmp_path / "none.csv", tmp_path / "f.json", **changes, miss_at_most=0.05), recorder)
    assert any("it needs 59 with the finding" in one and "nodule (0)" in one for one in recorder.warnings)


def test_familiarity_and_views_are_kept_and_films_without_them_are_said(run: Path, local: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    calibrate(options(run, local, path), Recorder())
    content = json.loads(path.read_text())
    assert content["reference"]["views"] == {"stated": {"PA": 60}}
    scored = inferred(run, local, tmp_path / "p.csv", ood_score=True)
    known = pd.read_csv(tmp_path / "p.csv")[OOD_SCORE]
    assert scored.findings == FINDINGS
    assert set(np.round(content["reference"]["edges"][OOD_SCORE], 6)) <= set(known.round(6))
    frame = pd.read_csv(local, dtype={"PatientID": str}).rename(columns={"ViewPosition": "View"}).assign(View="LL")
    frame.to_csv(tmp_path / "side.csv", index=False)
    changes: dict[str, Any] = {"image_dir": local.parent / "images", "fitted": path, "calibration": "platt"}
    recorder = Recorder()
    inferred(run, tmp_path / "side.csv", tmp_path / "q.csv", recorder, **changes, view_column="View")
    assert any("in views (L 100 % for 0 %, PA 0 % for 100 %)" in warning for warning in recorder.warnings)
    with pytest.raises(DataError, match=r"no column 'Projection'"):
        inferred(run, tmp_path / "side.csv", tmp_path / "r.csv", **changes, view_column="Projection")
    recorder = Recorder()
    inferred(run, tmp_path / "side.csv", tmp_path / "r.csv", recorder, **changes)
    assert recorder.notes[-1].startswith("Of drift, not tested: views, which")
    assert not recorder.warnings[1:]
    content["format"] = 1
    del (
        content["reference"]["views"],
        content["reference"]["edges"][OOD_SCORE],
        content["reference"]["below"][OOD_SCORE],
    )
    path.write_text(json.dumps(content))
    recorder = Recorder()
    inferred(run, local, tmp_path / "s.csv", recorder, **changes)
    assert recorder.notes[-1].startswith("Of drift, not tested: familiarity and views, which")
    content["reference"]["views"] = {"stated": {"PA": "many"}}
    path.write_text(json.dumps(content))
    with pytest.raises(OptionError, match="is damaged"):
        inferred(run, local, tmp_path / "t.csv", **changes)


@pytest.mark.soak  # draws 180 films
def test_the_second_hospital_of_phantoms_is_noticed(run: Path, tmp_path: Path) -> None:
    """Of which the model knows neither films nor findings; other films of the first hospital are not warned of."""
    for name, seed, hospital in (("ours", 1, 1), ("later", 2, 1), ("theirs", 3, 2)):
        drawn = {"directory": tmp_path / name, "films": 60, "size": 64, "seed": seed, "hospital": hospital}
        draw_phantoms(DataPhantomOptions.model_validate(drawn), Recorder())
    path = tmp_path / "f.json"
    changes: dict[str, Any] = {"image_dir": tmp_path / "ours" / "images", "unlabelled": True}
    calibrate(options(run, None, path, **changes), Recorder())
    warned = {}
    for name in ("later", "theirs"):
        recorder = Recorder()
        folder: Any = {"csv": None, "image_dir": tmp_path / name / "images"}
        inferred(run, **{"out": tmp_path / f"{name}.csv", "recorder": recorder, "fitted": path, **folder})
        warned[name] = [warning for warning in recorder.warnings if "are unlike those" in warning]
    assert warned["later"] == []
    (warning,) = warned["theirs"]
    assert "in familiarity (" in warning


def test_predictions_of_an_ensemble_are_fitted_and_decided(run: Path, local: Path, tmp_path: Path) -> None:
    members = {"members": (run / "best.safetensors", run / "last.safetensors"), "device": "cpu", "workers": 0}
    blend = EnsembleOptions.model_validate({**members, "csv": local, "out": tmp_path / "p.csv"})
    ensemble(blend, Recorder())
    recorder = Recorder()
    fit = calibrate(options(tmp_path / "p.csv", local, tmp_path / "f.json", sensitivity=0.9), recorder)
    assert fit is not None
    assert fit.model is None
    assert recorder.texts[0][0][-1] == "95 %"
    told = Recorder()
    changes: dict[str, Any] = {
        "fitted": tmp_path / "f.json",
        "decisions": tmp_path / "d.csv",
        "calibration": "platt",
    }
    ensemble(blend.model_copy(update={**changes, "out": tmp_path / "q.csv"}), told)
    plain = Predictions.read(tmp_path / "p.csv")
    decided = Predictions.read(tmp_path / "d.csv")
    np.testing.assert_array_equal(decided.probabilities, fit.decide(plain, None).probabilities)
    np.testing.assert_allclose(
        Predictions.read(tmp_path / "q.csv").probabilities, fit.calibration.calibrate(plain, "platt").probabilities
    )
    with pytest.raises(OptionError, match="fitted on predictions, whose model nobody knows"):
        inferred(run, local, tmp_path / "r.csv", **changes)
    calibrate(options(run / "best.safetensors", local, tmp_path / "one.json"), Recorder())
    with pytest.raises(OptionError, match="is of one checkpoint"):
        ensemble(blend.model_copy(update={**changes, "fitted": tmp_path / "one.json"}), Recorder())


def test_films_without_labels_give_prevalences(
    run: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv = write_csv(tmp_path / "bare.csv", ["ImageID"], [[f"film{number}.png"] for number in range(100, 160)])
    recorder, out = Recorder(), tmp_path / "f.json"
    changes = {"image_dir": local.parent / "images", "unlabelled": True}
    bare = calibrate(options(run / "best.safetensors", csv, out, **changes), recorder)
    assert bare is not None
    assert bare.findings["effusion"].prevalence is None
    assert recorder.notes[-1].startswith("Left as in training, where calibration used fewer than 30 films")
    monkeypatch.setattr(local_fitting, "FEW", 1)
    fit = calibrate(options(run / "best.safetensors", csv, out, **changes), recorder)
    assert fit is not None
    assert fit.num_patients == 60
    assert recorder.texts[1][0] == ("finding", "in validation %", "here (EM) %", "95 %")
    prevalence = fit.findings["effusion"].prevalence
    assert prevalence is not None
    after = inferred(run, csv, tmp_path / "p.csv", image_dir=local.parent / "images", fitted=out, calibration="platt")
    assert after.probabilities[:, 1].mean() == pytest.approx(prevalence, abs=0.02)
    folder = calibrate(options(run / "best.safetensors", None, out, **changes), Recorder())
    assert folder is not None
    assert folder.findings == fit.findings
    of_patients = calibrate(options(run / "best.safetensors", local, out, **changes), Recorder())
    assert of_patients is not None
    assert of_patients.num_patients == 30
    with pytest.raises(DataError, match=r"none of the findings.*\n.*--unlabelled"):
        calibrate(options(run / "best.safetensors", csv, out, image_dir=local.parent / "images"), Recorder())


def test_what_is_asked_must_make_sense(run: Path, local: Path, tmp_path: Path) -> None:
    best, out = run / "best.safetensors", tmp_path / "f.json"
    for changes, said in (
        ({"sensitivity": 0.9, "miss_at_most": 0.1}, "pass one of them"),
        ({"sure": 0.9}, "--sure is about --miss-at-most"),
        ({"joint": True}, "--joint is about --miss-at-most"),
        ({"width": 0.2}, "--width is of what"),
        ({"unlabelled": True, "ppv": 0.5}, "--ppv needs labels"),
        ({"miss_at_most": 1.0}, "less than 1"),
    ):
        with pytest.raises(ValidationError, match=said):
            options(best, local, out, **changes)
    with pytest.raises(OptionError, match="--csv is missing"):
        calibrate(options(best, None, out), Recorder())
    with pytest.raises(OptionError, match="does not know Hernia"):
        calibrate(options(best, local, out, findings="Hernia"), Recorder())
    with pytest.raises(OptionError, match="a file that this command reads"):
        calibrate(options(best, local, local), Recorder())
    assert not out.exists()


def test_predictions_must_be_of_the_labelled_films(run: Path, local: Path, tmp_path: Path) -> None:
    out, csv = tmp_path / "f.json", tmp_path / "p.csv"
    inferred(run, local, csv)
    lines = csv.read_text().splitlines(keepends=True)
    csv.write_text("".join(lines[:-2]))
    with pytest.raises(DataError, match=r"lacks 2 films of .*film158\.png, film159\.png"):
        calibrate(options(csv, local, out), Recorder())
    removal = write_csv(tmp_path / "x.csv", ["ImageID"], [["film158.png"], ["film159.png"]])
    fit = calibrate(options(csv, local, out, exclude=[removal]), Recorder())
    assert fit is not None
    assert fit.num_films == 58
    with pytest.raises(OptionError, match="--tta has no effect with a prediction CSV"):
        calibrate(options(csv, local, out, tta="flip"), Recorder())
    with pytest.raises(OptionError, match="--unlabelled needs the prevalence"):
        calibrate(options(csv, local, out, unlabelled=True), Recorder())
    lone = write_csv(tmp_path / "lone.csv", ["ImageID", "effusion"], [["film100.png", 1], ["film101.png", 0]])
    with pytest.raises(DataError, match="no column 'PatientID'"):
        calibrate(options(csv, lone, out), Recorder())


def test_rows_are_taken_by_what_they_say(run: Path, local: Path, tmp_path: Path) -> None:
    inferred(run, local, tmp_path / "p.csv")
    for model in (run / "best.safetensors", tmp_path / "p.csv"):
        recorder = Recorder()
        fit = calibrate(options(model, local, tmp_path / "f.json", where="Age < 180"), recorder)
        assert fit is not None
        assert fit.num_films == 40
        assert len([note for note in recorder.notes if note.startswith("--where takes")]) == 1


def test_a_dry_run_writes_nothing(run: Path, local: Path, tmp_path: Path) -> None:
    inferred(run, local, tmp_path / "p.csv")
    for model in (run / "best.safetensors", tmp_path / "p.csv"):
        recorder = Recorder()
        assert calibrate(options(model, local, tmp_path / "f.json", dry_run=True), recorder) is None
        assert "Nothing was written" in recorder.results[-1]
    assert not (tmp_path / "f.json").exists()


def test_films_that_it_learned_from_are_warned_of(run: Path, labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    kept = tmp_path / "f.json"
    fit = calibrate(options(run / "best.safetensors", labels, kept, miss_at_most=0.5, sure=0.6), recorder)
    assert any("was trained on 34 of the 48 films" in warning for warning in recorder.warnings)
    assert fit is not None
    assert json.loads(kept.read_text())["trained_on"] == 34
    guarantee = next(text for text in recorder.results if text.startswith("Guarantee"))
    assert "It is not valid for other films: the model was trained on 34 of the 48 films" in guarantee
    told = Recorder()
    inferred(run, labels, tmp_path / "p.csv", told, fitted=kept, decisions=tmp_path / "d.csv")
    assert any("f.json is not valid for other films: the model was trained on 34" in text for text in told.warnings)
    assert any(text.startswith("Not valid for other films") for text in told.results)


def test_films_of_others_leave_no_warning_and_files_of_before_are_read(run: Path, local: Path, tmp_path: Path) -> None:
    kept, recorder = tmp_path / "f.json", Recorder()
    calibrate(options(run / "best.safetensors", local, kept, miss_at_most=0.5, sure=0.6), recorder)
    content = json.loads(kept.read_text())
    assert content.pop("trained_on") == 0
    assert not any("not valid" in text for text in recorder.results)
    assert LocalFit.from_json(content).trained_on is None
    with pytest.raises(TypeError, match="trained_on"):
        LocalFit.from_json({**content, "trained_on": "34"})


def test_predictions_need_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import cxrlt_cli.verbs.calibrate, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_decisions_tell_what_they_rest_on(run: Path, local: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    inferred(run, local, tmp_path / "p.csv", recorder, decisions=tmp_path / "d.csv", decide="sensitivity-0.95")
    columns, *rows = recorder.texts[0]
    assert columns == ("finding", "threshold", "pos. films", "patients", "sens. on these (95 %)")
    calibration = Calibration.of(Checkpoint.read(run / "best.safetensors").training, FINDINGS)
    for row, name in zip(rows, FINDINGS, strict=True):
        share = calibration.sensitivity["sensitivity-0.95"][name]
        assert row[2:] == (str(calibration.positives[name]), str(share.patients), str(share))
        assert share.films == calibration.positives[name]
        assert share.patients < share.films
    few = [f"{name} ({calibration.sensitivity['f1'][name].patients})" for name in FINDINGS]
    assert any(f"behind the thresholds of {', '.join(few)}" in warning for warning in recorder.warnings)


def test_checkpoints_of_before_say_that_it_is_not_known(run: Path, local: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.read(run / "best.safetensors")
    content: dict[str, Any] = {**checkpoint.training["calibration"]}
    del content["labelled"], content["sensitivity"]
    training = {**checkpoint.training, "calibration": content}
    type(checkpoint)(**{**vars(checkpoint), "training": training}).write(tmp_path / "old.safetensors")
    recorder = Recorder()
    inferred(run, local, tmp_path / "p.csv", recorder, checkpoint=tmp_path / "old.safetensors",
             decisions=tmp_path / "d.csv")  # fmt: skip
    assert recorder.texts[0][1][3:] == ("not known", "not known")
    assert recorder.texts[0][1][2] == str(content["positives"]["Normal"])
