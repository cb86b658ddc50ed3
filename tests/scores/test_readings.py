import numpy as np
import pytest

from cxrlt_cli.scores.operating_points import for_sensitivity
from cxrlt_cli.scores.proportions import Share
from cxrlt_cli.scores.readings import net_benefit, operating_points, reads


def test_net_benefit_equals_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    targets, probabilities = (rng.random(200) < 0.2).astype(float), np.round(rng.random(200), 1)
    thresholds = np.array([0.05, 0.1, 0.3, 0.35, 0.9])
    naive = []
    for t in thresholds:
        right = sum(y == 1 and p >= t for y, p in zip(targets, probabilities, strict=True))
        wrong = sum(y == 0 and p >= t for y, p in zip(targets, probabilities, strict=True))
        naive.append(right / 200 - wrong / 200 * t / (1 - t))
    assert net_benefit(targets, probabilities, thresholds) == pytest.approx(naive)


def test_perfect_decisions_have_the_prevalence_and_none_have_nothing() -> None:
    targets = np.array([1.0, 1, 0, 0, 0])
    thresholds = np.array([0.2, 0.4, 0.8])
    assert net_benefit(targets, targets, thresholds) == pytest.approx(0.4)
    assert net_benefit(targets, np.zeros(5), thresholds) == pytest.approx(0)
    assert net_benefit(targets, np.ones(5), np.array([0.4])) == pytest.approx(0), "to act on all is worth 0 there"


def test_points_are_worth_what_they_are_on_other_patients() -> None:
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(300), 2)
    targets = (rng.random((600, 3)) < (0.3, 0.1, 0.004)).astype(float)
    targets[:20, 0] = np.nan
    probabilities = np.clip(0.3 * np.nan_to_num(targets) + 0.7 * rng.random(targets.shape), 0, 1)
    fold = patients % 5
    points = operating_points(targets, probabilities, patients, fold, ["a", "b", "rare"])
    assert [(one.finding, one.wanted) for one in points] == [(n, s) for n in "ab" for s in (0.8, 0.9, 0.95)]
    rows = np.arange(20, 600)
    rule = for_sensitivity(0.9)
    y, p = targets[rows, 0], probabilities[rows, 0]
    hits = sum(
        int(np.sum((p >= rule(y[fold[rows] != f], p[fold[rows] != f], patients)) & (y == 1) & (fold[rows] == f)))
        for f in range(5)
    )
    assert points[1].threshold == rule(y, p, patients)
    assert points[1].worth.sensitivity.hits == hits
    assert points[1].worth.specificity.films == int((y == 0).sum())
    told = points[1].to_json()
    assert told["reads"]["value"] == pytest.approx(1 / told["ppv"]["value"])
    assert told["reads"]["ci"] == pytest.approx([1 / told["ppv"]["ci"][1], 1 / told["ppv"]["ci"][0]])


def test_nothing_is_read_for_one_where_none_was_right() -> None:
    assert reads(Share(0, 10, 10, 0.0, 0.3)) is None
    assert reads(Share(0, 0, 0)) is None
    assert reads(Share(1, 4, 4, 0.01, 0.8)) == {"value": 4.0, "ci": [1.25, 100.0]}
