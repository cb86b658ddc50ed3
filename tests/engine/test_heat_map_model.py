"""Heat maps of a run with folds are, of each film, those of the member that did not learn from it."""

from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.film_looks import seen_by
from cxrlt_cli.engine.heat_map_model import HeatMapModel
from cxrlt_cli.errors import CheckpointError, OptionError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_labels
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder


@pytest.fixture(scope="module")
def folds(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folds") / "run"
    train(run_options(labels, out, epochs=1, image_size=32, folds=2), Recorder())
    return out


def test_each_film_has_the_maps_of_the_member_that_held_it_out(folds: Path) -> None:
    held_out = [str(Predictions.read(folds / f"fold-{number}" / "val_predictions.csv").ids[0]) for number in (1, 2)]
    film = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    model = HeatMapModel.read(folds, Recorder())
    seen = model.seen({held_out[1]: film, held_out[0]: film, "new.png": film}, Recorder())
    assert list(seen) == [held_out[1], held_out[0], "new.png"]
    for name, number in ((held_out[0], 1), (held_out[1], 2), ("new.png", 1)):
        member = folds / f"fold-{number}"
        alone = seen_by(Checkpoint.read(member), member, {name: film})[name]
        np.testing.assert_array_equal(seen[name].features, alone.features)
    assert not np.array_equal(seen[held_out[0]].features, seen[held_out[1]].features)


def test_a_member_is_not_told_to_look_at_its_own_training_films(folds: Path, labels: Path) -> None:
    table = read_labels(labels)
    run = HeatMapModel.read(folds, Recorder())
    assert run.warning(table) == ""
    assert run.told(table) == f"Heat maps: of each film by the member of {folds} that was not trained on it."
    one = folds / "fold-1"
    trained_on = len(table) - len(Predictions.read(one / "val_predictions.csv").ids)
    for path in (one, one / "best.safetensors"):
        told = HeatMapModel.read(path, Recorder()).told(table)
        assert told.startswith(f"{path} was trained on {trained_on} of these {len(table)} films")
        assert told.endswith(f"With --checkpoint {folds}, each film has the member that was not trained on it.")
    own = table.rows(np.isin(table.ids, Predictions.read(one / "val_predictions.csv").ids))
    assert HeatMapModel.read(one, Recorder()).told(own) == ""


def test_a_run_that_lacks_a_member_or_has_not_ended_is_refused(folds: Path) -> None:
    best = folds / "fold-2" / "best.safetensors"
    hidden = best.rename(best.with_name("hidden"))
    with pytest.raises(CheckpointError, match=r"fold-2 has no best\.safetensors"):
        HeatMapModel.read(folds, Recorder())
    hidden.rename(best)
    metrics = folds / "metrics.json"
    hidden = metrics.rename(folds / "hidden")
    with pytest.raises(CheckpointError, match="has not ended"):
        HeatMapModel.read(folds, Recorder())
    hidden.rename(metrics)


def test_pages_say_whose_maps_they_show(folds: Path, labels: Path, tmp_path: Path) -> None:
    given = {"predictions": [folds], "csv": labels, "bootstrap": 0, "report": tmp_path / "page.html",
             "suspects": tmp_path / "suspects.csv"}  # fmt: skip
    recorder = Recorder()
    evaluate(EvaluateOptions.model_validate({**given, "checkpoint": folds}), recorder)
    assert not [text for text in recorder.warnings if "was trained on" in text]
    pages = [tmp_path / name for name in ("page.html", "suspects.html")]
    assert all("that was not trained on it" in page.read_text() for page in pages)
    evaluate(EvaluateOptions.model_validate({**given, "checkpoint": folds / "fold-1"}), recorder)
    assert "was trained on" in recorder.warnings[-1]
    assert all("was trained on" in page.read_text() for page in pages)
    assert not any("out of fold" in text for text in recorder.warnings)
    with pytest.raises(OptionError, match="--among is of one checkpoint"):
        evaluate(EvaluateOptions.model_validate({**given, "checkpoint": folds, "among": labels}), recorder)


def test_a_run_is_read_by_the_id_column_that_it_was_trained_with(folds: Path, labels: Path, tmp_path: Path) -> None:
    renamed = {name: tmp_path / f"{name}.csv" for name in ("labels", "predictions")}
    for source, path in ((labels, renamed["labels"]), (folds / "oof_predictions.csv", renamed["predictions"])):
        path.write_text(source.read_text().replace("ImageID", "film", 1))
    given = {"predictions": [renamed["predictions"]], "csv": renamed["labels"], "id_column": "film", "bootstrap": 0}
    page = tmp_path / "page.html"
    evaluate(EvaluateOptions.model_validate({**given, "checkpoint": folds, "report": page}), Recorder())
    assert "by the member of" in page.read_text()
