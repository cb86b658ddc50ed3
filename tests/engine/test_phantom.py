from pathlib import Path

import pytest

from cxrlt_cli.config import DataPhantomOptions, InferOptions, TrainOptions
from cxrlt_cli.data.phantom.dataset import Recipe
from cxrlt_cli.engine import phantom
from cxrlt_cli.engine.infer import infer
from cxrlt_cli.engine.phantom import draw_phantoms, phantom_test_csv
from cxrlt_cli.engine.train import train
from cxrlt_cli.errors import OptionError
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.predictions import Predictions
from tests.helpers import Recorder


def test_without_films_train_draws_some_and_infer_finds_their_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(phantom, "DEFAULT", Recipe(films=80, size=64))
    recorder = Recorder()
    settings = {"out": tmp_path / "run", "backbone": "test_convnext", "image_size": 64, "max_steps": 2, "workers": 0}
    train(TrainOptions.model_validate({**settings, "device": "cpu"}), recorder)
    assert "synthetic" in recorder.plans[0]["why"]
    checkpoint = tmp_path / "run" / "best.safetensors"
    infer(InferOptions(checkpoint=checkpoint, out=tmp_path / "p.csv", workers=0, device="cpu"), recorder)
    predictions = Predictions.read(tmp_path / "p.csv")
    assert predictions.findings == CXR_LT_2026
    assert len(predictions.ids) == 12


def test_a_test_split_belongs_to_phantoms_alone(tmp_path: Path) -> None:
    assert phantom_test_csv(None) is None
    assert phantom_test_csv(str(tmp_path / "train.csv")) is None


def test_films_of_somebody_else_are_not_drawn_over(tmp_path: Path) -> None:
    recorder = Recorder()
    draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=10, size=64), recorder)
    draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=10, size=64), recorder)
    assert recorder.results[0] == recorder.results[1]
    with pytest.raises(OptionError, match="holds other films"):
        draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=12, size=64), recorder)
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is a file"):
        draw_phantoms(DataPhantomOptions(directory=tmp_path / "file", films=10), recorder)
