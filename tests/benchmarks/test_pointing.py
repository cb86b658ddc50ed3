"""What is learned from phantoms is in the films, not in the split: at a small scale."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.data.phantom import draw
from cxrlt_cli.engine.train import train
from cxrlt_cli.metrics import Scores
from cxrlt_cli.nets.classifier import load
from tests.benchmarks.pointing import pointing_game
from tests.helpers import Recorder, write_csv

FINDINGS = ("cardiomegaly", "pleural effusion", "Bulla")
NUM_FILMS, SIZE = 240, 96


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], tuple[Path, Scores]]:
    """A run on gross phantoms, with their labels or with somebody else's."""
    folder = tmp_path_factory.mktemp("phantoms")
    rng = np.random.default_rng(0)
    labels = (rng.random((NUM_FILMS, len(FINDINGS))) < 0.3).astype(int)
    for index, row in enumerate(labels):
        names = [name for name, label in zip(FINDINGS, row, strict=True) if label]
        film, _ = draw(names, patient_seed=index // 2, film_seed=index, size=SIZE, severity=0.9)
        cv2.imwrite(str(folder / f"{index}.png"), film)

    def fit(shuffled: bool) -> tuple[Path, Scores]:
        name = "shuffled" if shuffled else "true"
        targets = rng.permutation(labels) if shuffled else labels
        rows = [(f"{index}.png", index // 2, *row) for index, row in enumerate(targets)]
        csv = write_csv(folder / f"{name}.csv", ["ImageID", "PatientID", *FINDINGS], rows)
        options = {
            "csv": csv, "out": folder / name, "backbone": "resnet10t", "weights": "none", "image_size": SIZE,
            "drop_path": 0.0, "warmup_epochs": 0, "epochs": 6, "batch_size": 16, "val_fraction": 0.4, "loss": "bce",
            "sampler": "uniform", "ema_decay": 0.9, "workers": 0, "device": "cpu",
        }  # fmt: skip
        scores = train(TrainOptions.model_validate(options), Recorder())
        assert scores is not None
        return folder / name, scores

    return fit


def test_shuffled_labels_teach_nothing(fitted: Callable[[bool], tuple[Path, Scores]]) -> None:
    run, scores = fitted(False)
    _, chance = fitted(True)
    baseline = np.mean([finding.prevalence for finding in chance.findings])
    learned, guessed = scores.macro()["ap"], chance.macro()["ap"]
    assert learned is not None
    assert guessed is not None
    assert learned > 2 * baseline
    assert guessed < 1.45 * baseline  # the best of 6 epochs on 96 films is a little above it
    games = pointing_game(load(run / "best.safetensors"), FINDINGS, 24, SIZE)
    hits, shares = np.mean([(game.hit_rate, game.box_share) for game in games], axis=0)
    assert hits > 1.5 * shares
