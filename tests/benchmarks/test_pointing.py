"""What is learned from phantoms is in the films, not in the split: at a small scale."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.heads import CSRA
from cxrlt_cli.phantom import draw
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.verbs.train import train
from tests.benchmarks.pointing import FIRST, pointing_game
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


@pytest.mark.soak  # a training of its own: a minute
def test_shuffled_labels_teach_nothing(fitted: Callable[[bool], tuple[Path, Scores]]) -> None:
    _, scores = fitted(False)
    _, chance = fitted(True)
    baseline = np.mean([finding.prevalence for finding in chance.findings])
    learned, guessed = scores.macro()["ap"], chance.macro()["ap"]
    assert learned is not None
    assert guessed is not None
    assert learned > 2 * baseline
    assert guessed < 1.45 * baseline  # the best of 6 epochs on 96 films is a little above it


def test_a_hit_is_a_peak_inside_the_box() -> None:
    """Against boxes looked at one by one, for a model that always points at the same cell of a 5 x 5 map."""
    model = Classifier(Architecture("test_convnext", "csra"), ("pleural effusion", "cardiomegaly"), Preprocessing(SIZE))
    for row, column in ((2, 1), (3, 3), (0, 0)):
        model.head = Fixed(row, column)
        games = pointing_game(model.eval(), ["cardiomegaly", "pleural effusion"], 12, SIZE)
        for game in games:
            boxes = [
                draw([game.name], patient_seed=seed, film_seed=seed, size=SIZE)[1][0].box
                for seed in range(FIRST, FIRST + 12)
            ]
            x, y = (column + 0.5) / 5, (row + 0.5) / 5
            hits = [x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes]
            assert game.hit_rate == pytest.approx(np.mean(hits))
            assert game.box_share == pytest.approx(np.mean([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]))


def test_a_map_that_is_0_everywhere_points_nowhere() -> None:
    """Of all cells the first would be its peak; here the box of the finding holds it."""
    model = Classifier(Architecture("test_convnext", "csra"), ("cardiomegaly",), Preprocessing(SIZE)).eval()
    hits = {}
    for height in (0.0, 1.0):
        model.head = Fixed(0, 0, side=1, height=height)
        (hits[height],) = (game.hit_rate for game in pointing_game(model, ["cardiomegaly"], 12, SIZE))
    assert hits[0.0] == 0 < hits[1.0]


class Fixed(CSRA):
    """Always points at one cell."""

    def __init__(self, row: int, column: int, side: int = 5, height: float = 1) -> None:
        super().__init__(64, 2)
        self._map = torch.zeros(side, side)
        self._map[row, column] = height

    def attend(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(features), 2), self._map.expand(len(features), 2, -1, -1)
