"""Scores over seeds: mean, standard deviation, and an interval that holds seeds and patients."""

import numpy as np
import pytest

from cxrlt_cli.scores.bootstrap import resample
from cxrlt_cli.scores.metrics import score
from cxrlt_cli.scores.spread import over_seeds, spread_over_seeds


def test_draws_of_seeds_spread_as_their_mean_does() -> None:
    """Without a spread over patients, the variance is that of a mean of S values: s^2 / S, s^2 with S - 1."""
    for values in ([0.2, 0.3], [0.1, 0.2, 0.6], [0.1, 0.15, 0.3, 0.35, 0.9]):
        drawn = over_seeds([np.full(200_000, value) for value in values], seed=1)
        assert drawn.mean() == pytest.approx(np.mean(values), abs=2e-3)
        assert drawn.var() == pytest.approx(np.var(values, ddof=1) / len(values), rel=0.03)


def test_equal_seeds_leave_the_spread_of_the_patients() -> None:
    rng = np.random.default_rng(0)
    patients = rng.normal(0.5, 0.1, 1000)
    np.testing.assert_allclose(over_seeds([patients, patients, patients], seed=1), patients)


def test_scores_over_seeds() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 3)) < (0.4, 0.2, 0.01)).astype(np.float64)
    targets[:, 2] = 0
    targets[:3, 2] = 1
    predicted = [np.clip(0.3 * targets + 0.7 * rng.random(targets.shape), 0, 1) for _ in range(3)]
    patients = np.array([f"p{index // 2}" for index in range(200)], object)
    scores = [score(targets, one, ("a", "b", "c")) for one in predicted]
    resampled = resample(targets, predicted, patients, 300)
    spread = spread_over_seeds(scores, resampled, seed=1)
    assert spread.ap is not None
    assert spread.ap.ci is not None
    values = [one.macro()["ap"] for one in scores]
    assert spread.ap.mean == pytest.approx(np.mean(np.array(values, float)))
    assert spread.ap.sd == pytest.approx(np.std(np.array(values, float), ddof=1))
    low, high = spread.ap.ci
    assert low < spread.ap.mean < high
    (a, b, c) = spread.findings.values()
    assert a is not None
    assert b is not None
    assert a.ci is not None
    assert b.ci is not None
    assert c is not None
    assert c.ci is None, "two patients have it"
    assert spread.to_json()["ap"]["ci"] == spread.ap.ci
    assert spread_over_seeds(scores, resampled, seed=1) == spread
