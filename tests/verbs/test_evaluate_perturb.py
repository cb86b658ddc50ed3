import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from cxrlt_cli.config import EvaluateOptions, InferOptions
from cxrlt_cli.data import image
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.perturbations import NUM_VERSIONS, PERTURBATIONS, versions
from cxrlt_cli.errors import CheckpointError, DataError, OptionError
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier, load
from cxrlt_cli.scores.metrics import score
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.infer import infer
from tests.helpers import FINDINGS, Recorder, make_films


@pytest.fixture(scope="module")
def other(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of other patients, with labels and what the model says of them."""
    csv = make_films(tmp_path_factory.mktemp("other") / "set", 20, first=500)
    options = {"checkpoint": run / "best.safetensors", "csv": csv, "out": csv.with_name("p.csv"), "workers": 0}
    infer(InferOptions.model_validate({**options, "device": "cpu", "precision": "fp32"}), Recorder())
    return csv


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Films are read in this process."""
    monkeypatch.setattr("cxrlt_cli.engine.process.default_workers", lambda *_: 0)


def perturbed(csv: Path, run: Path, **changes: Any) -> tuple[dict[str, Any], Recorder]:
    recorder, out = Recorder(), csv.with_name("s.json")
    given = {
        "predictions": [csv.with_name("p.csv")],
        "csv": csv,
        "perturb": run,
        "json": out,
        "bootstrap": 20,
        **changes,
    }
    evaluate(EvaluateOptions.model_validate(given), recorder)
    content: dict[str, Any] = json.loads(out.read_text())["robustness"]
    return content, recorder


def test_scores_are_those_of_each_version_film_by_film(other: Path, run: Path) -> None:
    content, recorder = perturbed(other, run / "best.safetensors")
    model = load(run / "best.safetensors")
    truth = read_labels(other, findings=FINDINGS)
    logits = []
    with torch.inference_mode():
        for name in truth.ids:
            film = model.preprocessing(image.read_film(other.parent / "images" / name))
            seen = np.stack(versions(film, name, 42))[:, None]
            logits.append(model(model.normalize(torch.from_numpy(seen))).numpy())
    probabilities = 1 / (1 + np.exp(-np.stack(logits, axis=1).astype(float)))
    naive = [score(truth.targets, version, FINDINGS).macro() for version in probabilities]
    assert content["plain"]["ap"] == pytest.approx(naive[0]["ap"], abs=1e-6)
    told = [(kind["ap"][step], kind["auroc"][step]) for kind in content["perturbations"] for step in range(5)]
    assert len(told) == NUM_VERSIONS - 1
    for (ap, auroc), macro in zip(told, naive[1:], strict=True):
        assert ap == pytest.approx(macro["ap"], abs=0.02)  # a tie may break where a batch is another one
        assert auroc == pytest.approx(macro["auroc"], abs=0.02)
    assert [kind["name"] for kind in content["perturbations"]] == [one.name for one in PERTURBATIONS]
    assert not recorder.warnings
    assert not [note for note in recorder.notes if "another model" in note]
    (table,) = recorder.texts
    assert len(table) == 1 + 3 * len(PERTURBATIONS)
    assert recorder.advanced["Films in 36 versions"] == 20


def test_films_are_read_once(other: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = image.read_film

    def counting(path: Path, **settings: Any) -> Any:
        read.append(path.name)
        return plain(path, **settings)

    monkeypatch.setattr("cxrlt_cli.data.loading.read_film", counting)
    perturbed(other, run / "best.safetensors")
    assert sorted(read) == sorted(read_labels(other, findings=FINDINGS).ids)


def test_the_report_and_the_terminal_show_it(other: Path, run: Path) -> None:
    page = other.with_name("page.html")
    content, recorder = perturbed(other, run / "best.safetensors", report=page)
    html = page.read_text()
    assert "<h2>Perturbed films</h2>" in html
    assert html.count("macro AP by strength") == len(PERTURBATIONS)
    assert f"{content['plain']['ap']:.3f}" in recorder.results[0]
    assert f"macro AP {content['plain']['ap']:.3f}" in recorder.results[0]


def test_films_that_it_learned_from_are_warned_of_and_those_held_out_are_not(
    run: Path, labels: Path, tmp_path: Path
) -> None:
    shutil.copytree(labels.parent, tmp_path / "set")
    given = {"csv": labels, "image_dir": labels.parent / "images", "missing": "leave-out", "json": tmp_path / "s.json"}
    held_out = run / "val_predictions.csv"
    recorder = Recorder()
    options = {"predictions": [held_out], "perturb": run, "bootstrap": 0, **given}
    evaluate(EvaluateOptions.model_validate(options), recorder)
    assert not [warning for warning in recorder.warnings if "learned from" in warning]
    frame = pd.read_csv(labels, dtype=str)
    every = np.random.default_rng(0).random((len(frame), 3))
    Predictions(frame["ImageID"].to_numpy(object), FINDINGS, every).write(tmp_path / "all.csv")
    evaluate(EvaluateOptions.model_validate({**options, "predictions": [tmp_path / "all.csv"]}), recorder)
    assert "learned from 34 of these films" in recorder.warnings[-1]
    assert any("it is of another model" in note for note in recorder.notes)


def test_what_is_missing_or_damaged_is_told_before_and_nothing_is_written(
    other: Path, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(other.parent, tmp_path / "set", ignore=shutil.ignore_patterns("s.json"))
    csv = tmp_path / "set" / "labels.csv"
    first = csv.parent / "images" / "film500.png"
    first.write_bytes(first.read_bytes()[:100])
    with pytest.raises(DataError, match=r"1 of 20 films cannot be read:\n.*film500\.png"):
        perturbed(csv, run / "best.safetensors")
    first.unlink()
    with pytest.raises(DataError, match="film500"):
        perturbed(csv, run / "best.safetensors")
    with pytest.raises(CheckpointError):
        perturbed(csv, tmp_path / "nothing.safetensors")
    torch.manual_seed(0)
    Classifier(Architecture("test_convnext", "linear"), ["else"], Preprocessing(64)).checkpoint().write(tmp_path / "m")
    with pytest.raises(DataError, match="has none of the findings that are scored"):
        perturbed(other, tmp_path / "m")
    assert not (tmp_path / "set" / "s.json").exists()


def test_findings_that_the_model_lacks_are_left_out_and_said(other: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Classifier(Architecture("test_convnext", "linear"), ["else", "nodule"], Preprocessing(64)).eval()
    model.checkpoint().write(tmp_path / "m.safetensors")
    content, recorder = perturbed(other, tmp_path / "m.safetensors", bootstrap=0)
    assert content["findings"] == ["nodule"]
    assert "does not know, so not scored on perturbed films: Normal, effusion" in recorder.warnings[0]
    assert content["plain"]["ap_ci"] is None
    truth = read_labels(other, findings=FINDINGS).select(["nodule"])
    films = np.stack([model.preprocessing(image.read_film(other.parent / "images" / name)) for name in truth.ids])
    with torch.inference_mode():
        logits = model(model.normalize(torch.from_numpy(films[:, None])))[:, 1:]
    assert content["plain"]["ap"] == pytest.approx(
        score(truth.targets, logits.sigmoid().numpy(), ["nodule"]).macro()["ap"]
    )


def test_decisions_and_studies_are_not_perturbed(other: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="--perturb is for films: leave it out with --per-study"):
        EvaluateOptions.model_validate({"predictions": ["p.csv"], "per_study": "mean", "perturb": run})
    films = pd.read_csv(other, dtype=str)["ImageID"].to_numpy(object)
    decided = (np.random.default_rng(0).random((len(films), 3)) < 0.5).astype(float)
    Predictions(films, FINDINGS, decided).write(tmp_path / "d.csv")
    with pytest.raises(OptionError, match="--perturb is for probabilities"):
        perturbed(other, run / "best.safetensors", predictions=[tmp_path / "d.csv"])


def test_films_without_a_prediction_are_not_perturbed_either(other: Path, run: Path, tmp_path: Path) -> None:
    every = Predictions.read(other.with_name("p.csv"))
    every.rows(list(every.ids[:15])).write(tmp_path / "p.csv")
    content, recorder = perturbed(
        other, run / "best.safetensors", predictions=[tmp_path / "p.csv"], missing="leave-out"
    )
    assert content["num_films"] == recorder.advanced["Films in 36 versions"] == 15
