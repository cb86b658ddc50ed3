"""Views from features: as scikit-learn's discriminant tells them, and kept in a checkpoint."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.view_classifier import ViewClassifier
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder, ensemble, made_up_film, write_csv

RNG = np.random.default_rng(0)
VIEWS = np.array(RNG.choice(["AP", "LL", "PA"], 300, p=[0.2, 0.3, 0.5]), object)
CENTRES = {"AP": 0.0, "LL": 2.5, "PA": 0.8}


def drawn(views: list[str], seed: int) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(size=(len(views), 6)) @ np.diag([3, 1, 1, 0.5, 0.2, 1])
    return torch.from_numpy(noise + np.array([CENTRES.get(view, 0.0) for view in views])[:, None])


def test_views_are_told_as_by_the_discriminant_of_scikit_learn() -> None:
    views = VIEWS.tolist()
    told = ViewClassifier.fit(drawn(views, 1), views)
    assert told is not None
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=None).fit(drawn(views, 1).numpy(), VIEWS.astype(str))
    other = drawn(views, 2)
    mine = np.array(told.tell(other))
    assert np.mean(mine == theirs.predict(other.numpy())) > 0.98, "their covariance is not shrunk"
    assert np.mean(mine == VIEWS) > 0.75
    judged = told.judged(other, views)
    assert sum(wrong for wrong, _ in judged.wrong.values()) == int((mine != VIEWS).sum())
    assert {name: films for name, (_, films) in judged.wrong.items()} == dict(pd.Series(VIEWS).value_counts())
    total = int((mine != VIEWS).sum())
    assert judged.told_error().startswith(f"wrong on {total} of 300 validation films: AP ")
    rare = told.judged(other, ["oblique", "", *views[2:]]).wrong
    assert rare["oblique"] == (1, 1), "it can only be told wrongly"
    assert sum(films for _, films in rare.values()) == 299


def test_too_few_films_teach_no_view() -> None:
    views = ["PA"] * 100 + ["LL"] * 19 + [""] * 50
    assert ViewClassifier.fit(drawn(views, 0), views) is None
    views = ["PA"] * 100 + ["LL"] * 20 + ["x"] + [""] * 50
    told = ViewClassifier.fit(drawn(views, 0), views)
    assert told is not None
    assert told.names == ("LL", "PA")


@pytest.fixture
def films(labels: Path, tmp_path: Path) -> Path:
    """Labels with views, of which the lateral films are white; and a film of each whose view is not told."""
    (tmp_path / "images").mkdir()
    rows = []
    for number in range(50):
        view = ("PA", "LL", "")[number % 2 if number < 48 else 2]
        film = made_up_film((1, 0, 0), number) // 8
        film = 255 - film if number % 2 else film
        cv2.imwrite(str(tmp_path / "images" / f"{number:02d}.png"), film)
        rows.append([f"{number:02d}.png", f"p{number}", view, int(number % 3 == 0), int(number % 5 == 0)])
    return write_csv(tmp_path / "views.csv", ["ImageID", "PatientID", "ViewPosition", "nodule", "effusion"], rows)


def test_a_run_learns_views_and_a_router_uses_them(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlt_cli.nets.view_classifier.MIN_FILMS", 10)
    train(run_options(films, tmp_path / "run", image_size=32, epochs=1), Recorder())
    checkpoint = Checkpoint.read(tmp_path / "run" / "best.safetensors")
    assert checkpoint.training["views"]["names"] == ["LL", "PA"]
    recorder = Recorder()
    run = tmp_path / "run"
    options = EnsembleOptions(members=(Path(f"lateral={run}"),), by_view=(f"frontal={run}",), csv=films,
                              out=tmp_path / "p.csv", device="cpu", workers=0)  # fmt: skip
    ensemble(options, recorder)
    (told,) = [warning for warning in recorder.warnings if "without a view" in warning]
    assert told.startswith(f"2 films without a view: told by the features of {run} to be one of LL, PA (wrong on ")
    assert "validation films" in told
