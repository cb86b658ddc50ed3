"""What released versions wrote is read for ever, or refused in words: a folder a version, made by that version.

``run.yaml`` says how: on the films of ``tests.helpers.make_films``.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from cxrlt_cli.cli.options import build, read_config
from cxrlt_cli.config import EvaluateOptions, InferOptions, TrainOptions
from cxrlt_cli.errors import CxrltError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.infer import infer
from tests.helpers import Recorder

HERE = Path(__file__).parent
VERSIONS = sorted(path.name for path in HERE.iterdir() if path.is_dir() and path.name[0].isdigit())


def test_there_are_versions() -> None:
    assert "0.1.0" in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_checkpoint_predicts_what_it_did(version: str, labels: Path, tmp_path: Path) -> None:
    expected = Predictions.read(HERE / version / "val_predictions.csv")
    given = {"checkpoint": HERE / version / "best.safetensors", "csv": labels, "out": tmp_path / "p.csv"}
    infer(InferOptions.model_validate({**given, "device": "cpu", "precision": "fp32", "workers": 0}), Recorder())
    found = Predictions.read(tmp_path / "p.csv").rows(list(expected.ids))
    assert found.findings == expected.findings
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_options_and_predictions_are_read(version: str, labels: Path) -> None:
    configured = read_config(TrainOptions, HERE / version / "run.yaml")
    options = build(TrainOptions, {}, configured, HERE / version / "run.yaml")
    written = yaml.safe_load((HERE / version / "run.yaml").read_text())
    assert (options.backbone, options.head, options.loss) == (written["backbone"], written["head"], written["loss"])
    predictions = HERE / version / "val_predictions.csv"
    given = {"predictions": [predictions], "csv": labels, "bootstrap": 0, "missing": "leave-out"}
    scores = evaluate(EvaluateOptions.model_validate(given), Recorder())
    then = json.loads((HERE / version / "metrics.json").read_text())
    assert scores.macro()["ap"] == pytest.approx(then["macro"]["ap"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cache_is_read_or_refused_in_words(version: str, run: Path, labels: Path, tmp_path: Path) -> None:
    shutil.copytree(HERE / version / "cache", tmp_path / "cache")
    given = {"checkpoint": run, "csv": labels, "out": tmp_path / "p.csv", "cache": tmp_path / "cache"}
    options = InferOptions.model_validate({**given, "device": "cpu", "workers": 0})
    if version != "0.1.0":
        infer(options, Recorder())
        return
    with pytest.raises(CxrltError, match=r"cxrlt 0\.1\.0") as caught:
        infer(options, Recorder())
    assert caught.value.hint
