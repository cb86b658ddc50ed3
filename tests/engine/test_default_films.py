import shutil
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.config import EvaluateOptions, FinetuneOptions, InferOptions, TrainOptions
from cxrlt_cli.engine import default_films
from cxrlt_cli.engine.default_films import phantom_test_csv
from cxrlt_cli.errors import OptionError
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.phantom.folder import PhantomRecipe
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.finetune import finetune
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.helpers import Recorder


def test_without_films_train_draws_some_and_infer_finds_their_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(default_films, "DEFAULT", PhantomRecipe(films=80, size=64))
    recorder = Recorder()
    settings = {"out": tmp_path / "run", "backbone": "test_convnext", "image_size": 64, "max_steps": 2, "workers": 0}
    train(TrainOptions.model_validate({**settings, "device": "cpu"}), recorder)
    assert "synthetic" in recorder.plans[0]["why"]
    checkpoint = tmp_path / "run" / "best.safetensors"
    infer(InferOptions(checkpoint=checkpoint, out=tmp_path / "p.csv", workers=0, device="cpu"), recorder)
    predictions = Predictions.read(tmp_path / "p.csv")
    assert predictions.findings == CXR_LT_2026
    assert len(predictions.ids) == 12
    scores = evaluate(EvaluateOptions(predictions=(tmp_path / "p.csv",)), recorder)
    assert scores.num_films == 12
    assert recorder.notes[-1].endswith("test_task1_truth.csv.") or "Without a positive" in recorder.notes[-1]


def test_phantoms_that_are_gone_are_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(default_films, "DEFAULT", PhantomRecipe(films=80, size=64))
    settings = {"backbone": "test_convnext", "image_size": 64, "max_steps": 1, "workers": 0, "device": "cpu"}
    train(TrainOptions.model_validate({**settings, "out": tmp_path / "run"}), Recorder())
    shutil.rmtree(tmp_path / "cache")
    checkpoint = tmp_path / "run" / "best.safetensors"
    infer(InferOptions(checkpoint=checkpoint, out=tmp_path / "p.csv", workers=0, device="cpu"), Recorder())
    assert len(Predictions.read(tmp_path / "p.csv").ids) == 12
    options = {"checkpoint": checkpoint, "out": tmp_path / "two", "max_steps": 1, "workers": 0, "device": "cpu"}
    recorder = Recorder()
    finetune(FinetuneOptions.model_validate(options), recorder)
    assert "synthetic" in recorder.plans[0]["why"]


def test_train_leaves_out_what_its_removal_list_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(default_films, "DEFAULT", PhantomRecipe(films=100, size=64))
    recorder = Recorder()
    train(TrainOptions(image_size=64, workers=0, device="cpu", dry_run=True), recorder)
    assert "Left out by --exclude: 1 film." in recorder.notes


def test_only_phantoms_have_a_truth_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Predictions(np.array(["x.png"], object), ("Mass",), np.array([[0.5]])).write(tmp_path / "p.csv")
    with pytest.raises(OptionError, match="--csv is missing"):
        evaluate(EvaluateOptions(predictions=(tmp_path / "p.csv",)), Recorder())


def test_a_test_split_belongs_to_phantoms_alone(tmp_path: Path) -> None:
    assert phantom_test_csv(None, Recorder()) is None
    assert phantom_test_csv(str(tmp_path / "train.csv"), Recorder()) is None
