"""``python -m tests.legacy.make FOLDER``: one file of every kind that this version writes, for the versions to come.

A release adds its folder, ``tests/legacy/VERSION``; ``test_legacy`` reads it for ever. All is made in a folder of
``/tmp``, so that the paths in these files are nobody's.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from cxrlt_cli.cli.options import build, read_config
from cxrlt_cli.config import CalibrateOptions, EnsembleOptions, InferOptions, OodOptions, TrainOptions
from cxrlt_cli.engine.reporter import EpochSummary
from cxrlt_cli.verbs.calibrate import calibrate
from cxrlt_cli.verbs.ensemble import ensemble
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.ood import ood
from cxrlt_cli.verbs.train import train
from tests.helpers import Recorder, make_films
from tests.legacy import tiny_backbone

NUM_FILMS = 24
SECONDS = 1_700_000_000  # when each film was changed last: caches know films by it, and git does not keep it
HERE = {"device": "cpu", "precision": "fp32", "workers": 0}
RECIPE = {
    "preset": "challenge",
    "backbone": tiny_backbone.NAME,
    "weights": "none",
    "image_size": 32,
    "drop_path": 0.0,
    "warmup_epochs": 1,
    "epochs": 2,
    "ema_decay": 0.9,
    "batch_size": 4,
    "val_fraction": 0.5,
    "track": "none",
}
FROZEN = {name: value for name, value in RECIPE.items() if name not in ("warmup_epochs", "drop_path", "ema_decay")}


class Stopped(BaseException):
    """As a power cut, after the second epoch."""


class StopsAfterTwoEpochs(Recorder):
    def epoch(self, summary: EpochSummary) -> None:
        super().epoch(summary)
        if len(self.epochs) == 2:
            raise Stopped


def make(folder: Path) -> None:
    """Write the folder, which must not exist."""
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "made"
        csv = dated(make_films(made / "films", NUM_FILMS))
        _runs(made, csv)
        _predictions(made, csv)
        for needless in made.rglob("*.lock"):
            needless.unlink()
        shutil.copytree(made, folder)


def dated(csv: Path) -> Path:
    """The CSV, after each of its films was given the time that caches and features of this folder know it by."""
    for film in (csv.parent / "images").iterdir():
        os.utime(film, (SECONDS, SECONDS))
    return csv


def _runs(made: Path, csv: Path) -> None:
    """A run, one that was stopped, and the frozen features of a third."""
    _train(made / "run", csv, RECIPE, cache=made / "cache")
    _train(made / "frozen", csv, FROZEN, frozen=True, features=made / "frozen-features")
    shutil.rmtree(made / "frozen")
    try:
        _train(made / "stopped", csv, RECIPE, reporter=StopsAfterTwoEpochs(), checkpoint_minutes=0)
    except Stopped:
        return
    raise AssertionError("the run was to be stopped")


def _train(out: Path, csv: Path, recipe: dict[str, Any], reporter: Recorder | None = None, **changes: Any) -> None:
    train(TrainOptions.model_validate({"csv": csv, "out": out, **recipe, **HERE, **changes}), reporter or Recorder())


def _predictions(made: Path, csv: Path) -> None:
    """What a checkpoint and the zero-shot model make of the films, and what is fitted on that."""
    best = made / "run" / "best.safetensors"
    films = {"csv": csv, **HERE}

    def inferred(**changes: Any) -> None:
        infer(InferOptions.model_validate({**films, "checkpoint": best, **changes}), Recorder())

    inferred(embeddings=made / "embeddings.npz", out=made / "predictions.csv")
    inferred(calibration="platt", out=made / "platt.csv")
    calibrate(CalibrateOptions.model_validate({**films, "model": best, "out": made / "local.json"}), Recorder())
    inferred(calibration="platt", fitted=made / "local.json", out=made / "local.csv")
    fit = {"members": [best], "fit": True, "out": made / "fit.csv"}
    ensemble(EnsembleOptions.model_validate({**films, **fit}), Recorder())
    again = {**films, "calibration": "platt", "out": made / "fitted.csv"}
    ensemble(build(EnsembleOptions, again, read_config(EnsembleOptions, made / "fit.yaml")), Recorder())
    zero_shot = {"model": "phantom-clip", "features": made / "features", "out": made / "ood.csv"}
    ood(OodOptions.model_validate({**films, **zero_shot}), Recorder())


if __name__ == "__main__":
    make(Path(sys.argv[1]))
