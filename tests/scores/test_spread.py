"""Scores over seeds: mean, standard deviation, and an interval that holds seeds and patients."""

import numpy as np
import pytest

from cxrlt_cli.scores.bootstrap import resample
from cxrlt_cli.scores.intervals import Student
from cxrlt_cli.scores.metrics import score
from cxrlt_cli.scores.spread import SeedVariance, over_seeds, spread_over_seeds, student_of_seeds


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


def test_degrees_of_freedom_are_those_of_welch_and_satterthwaite() -> None:
    rng = np.random.default_rng(0)
    patients, seeds = 0.02 * rng.standard_normal(500), np.array([0.40, 0.43, 0.52])
    values = [seed + patients for seed in seeds]
    varies = SeedVariance.of(values)
    assert varies.value == pytest.approx(np.var(seeds, ddof=1) / 3)
    assert varies.freedom == 2
    mean, known = np.mean(values, axis=0), Student(19.0, np.sqrt(20 / 19))
    student = student_of_seeds(known, mean, [varies])
    vp, vs = patients.var() * 20 / 19, varies.value
    assert student.freedom == pytest.approx((vp + vs) ** 2 / (vp**2 / 19 + vs**2 / 2))
    assert student.stretch**2 == pytest.approx((vp + vs) / (patients.var() + vs))
    alike = student_of_seeds(known, patients, [SeedVariance.of([patients] * 3)])
    assert (alike.freedom, alike.stretch) == pytest.approx((known.freedom, known.stretch))
    still = [np.full(10, seed) for seed in seeds]
    assert student_of_seeds(known, np.mean(still, axis=0), [SeedVariance.of(still)]).freedom == pytest.approx(2)


def test_resamples_without_a_score_are_left_out_of_the_variance_of_seeds() -> None:
    values = [np.array([0.1, np.nan, 0.3]), np.array([0.2, 0.9, 0.5])]
    assert SeedVariance.of(values).value == pytest.approx((0.005 + 0.02) / 2 / 2)
    nothing = [np.full(3, np.nan)] * 2
    assert SeedVariance.of(nothing).value == 0
    known = Student(5.0)
    assert student_of_seeds(known, nothing[0], [SeedVariance.of(nothing)]) == known


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
