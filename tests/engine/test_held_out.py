"""Predictions that are not out of fold are told apart from those of the run, by film."""

from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.held_out import warning_of_source
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder


@pytest.fixture(scope="module")
def folds(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folds") / "run"
    train(run_options(labels, out, epochs=1, image_size=32, folds=2), Recorder())
    return out


def changed(path: Path, rows: slice, by: float) -> Predictions:
    """Some films of a file with other probabilities."""
    one = Predictions.read(path)
    one.probabilities[rows] = np.clip(one.probabilities[rows] + by, 0, 1)
    return one


def test_films_with_other_probabilities_are_counted(folds: Path) -> None:
    oof = folds / "oof_predictions.csv"
    own = [oof, folds / "fold-1" / "val_predictions.csv", folds / "fold-2" / "val_predictions.csv"]
    for path in own:
        assert warning_of_source(Predictions.read(path), folds) == ""
    assert warning_of_source(changed(oof, slice(None), 1e-4), folds) == "", "rounded"
    assert warning_of_source(changed(oof, slice(5), 0.1), folds).startswith("5 of these 48 films have other")
    assert warning_of_source(Predictions.read(oof), folds / "fold-1") == "", "no run with folds"


def test_the_page_and_the_terminal_say_so(folds: Path, labels: Path, tmp_path: Path) -> None:
    given = {"csv": labels, "bootstrap": 0, "report": tmp_path / "page.html", "suspects": tmp_path / "s.csv"}
    changed(folds / "oof_predictions.csv", slice(9), 0.1).write(tmp_path / "p.csv")
    recorder = Recorder()
    options = {**given, "predictions": [tmp_path / "p.csv"]}
    evaluate(EvaluateOptions.model_validate({**options, "checkpoint": folds}), recorder)
    assert any(text.startswith("9 of these 48 films") for text in recorder.warnings)
    assert all("9 of these 48 films" in (tmp_path / page).read_text() for page in ("page.html", "s.html"))
    recorder = Recorder()
    evaluate(EvaluateOptions.model_validate(options), recorder)
    assert any("not checked without --checkpoint RUN" in text for text in recorder.notes)
    recorder = Recorder()
    evaluate(EvaluateOptions.model_validate({**given, "predictions": [folds]}), recorder)
    assert not any("not checked" in text for text in recorder.notes)
