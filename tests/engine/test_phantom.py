import shutil
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.config import DataPhantomOptions, EvaluateOptions, FinetuneOptions, InferOptions, TrainOptions
from cxrlt_cli.data.phantom.dataset import Recipe
from cxrlt_cli.engine import phantom
from cxrlt_cli.engine.evaluate import evaluate
from cxrlt_cli.engine.infer import infer
from cxrlt_cli.engine.phantom import draw_phantoms, phantom_test_csv
from cxrlt_cli.engine.train import finetune, train
from cxrlt_cli.errors import OptionError
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.predictions import Predictions
from tests.helpers import Recorder, flipped


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
    scores = evaluate(EvaluateOptions(predictions=(tmp_path / "p.csv",)), recorder)
    assert scores.num_films == 12
    assert recorder.notes[-1].endswith("test_task1_truth.csv.") or "Without a positive" in recorder.notes[-1]


def test_phantoms_that_are_gone_are_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(phantom, "DEFAULT", Recipe(films=80, size=64))
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
    monkeypatch.setattr(phantom, "DEFAULT", Recipe(films=100, size=64))
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


def test_films_of_somebody_else_are_not_drawn_over(tmp_path: Path) -> None:
    recorder = Recorder()
    draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=10, size=64), recorder)
    draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=10, size=64), recorder)
    assert recorder.results[0] == recorder.results[1]
    with pytest.raises(OptionError, match="holds other files"):
        draw_phantoms(DataPhantomOptions(directory=tmp_path / "a", films=12, size=64), recorder)
    assert len(list((tmp_path / "a" / "images").iterdir())) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(OptionError, match=r"a sheet is a \.png or a \.jpg"):
        draw_phantoms(DataPhantomOptions(directory=tmp_path / "b", films=10, sheet=tmp_path / "s.gif"), recorder)
    assert "29 of 29 findings are drawn more often than asked" in recorder.notes[0]
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is a file"):
        draw_phantoms(DataPhantomOptions(directory=tmp_path / "file", films=10), recorder)


def test_every_flipped_bit_of_a_recipe_is_noticed(tmp_path: Path) -> None:
    """Never a traceback, never films that are taken for others."""
    folder = tmp_path / "films"
    recipe = Recipe(films=40, size=64)
    (folder / "images").mkdir(parents=True)
    options = DataPhantomOptions(directory=folder, films=40, size=64)
    (folder / "phantom.json").write_text(recipe.to_json())
    draw_phantoms(options, Recorder())
    data = recipe.to_json().encode()
    for spoilt in [*flipped(data, 200), b"[" * 100_000, b"", b"[]", b"null", data.replace(b"3", b"99", 1)]:
        (folder / "phantom.json").write_bytes(spoilt)
        with pytest.raises(OptionError, match=r"holds other files already: (phantom\.json is|its films)"):
            draw_phantoms(options, Recorder())
    (folder / "phantom.json").write_bytes(data.replace(b'"version": 3', b'"version": 99'))
    with pytest.raises(OptionError, match="are of version 99, and this cxrlt draws version 3"):
        draw_phantoms(options, Recorder())
