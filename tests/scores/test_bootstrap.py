import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlt_cli.scores.bootstrap import Ranking, resample
from tests.scores.simulated import simulate


@pytest.mark.parametrize("seed", range(40))
def test_weighted_scores_are_scikit_learns(seed: int) -> None:
    """With ties, with films of nobody who was drawn, with unlabelled films."""
    rng = np.random.default_rng(seed)
    number = int(rng.integers(2, 60))
    targets = (rng.random(number) < 0.3).astype(float)
    targets[rng.random(number) < 0.1] = np.nan
    probabilities = np.round(rng.random(number), int(rng.integers(1, 4)))
    _, patients = np.unique(rng.integers(0, max(1, number // 2), number), return_inverse=True)
    weights = rng.integers(0, 4, patients.max() + 1).astype(float)
    ap, auroc = Ranking(targets, probabilities, patients)(weights)
    known = ~np.isnan(targets)
    y, p, w = targets[known], probabilities[known], weights[patients][known]
    if (w * y).sum() == 0:
        assert np.isnan(ap)
        return
    assert ap == pytest.approx(average_precision_score(y, p, sample_weight=w), abs=1e-12)
    if (w * (1 - y)).sum():
        assert auroc == pytest.approx(roc_auc_score(y, p, sample_weight=w), abs=1e-12)
    else:
        assert np.isnan(auroc)


def naive_ap(targets: list[float], scores: list[float], weights: list[float], prevalence: float) -> float:
    """Step by step down the thresholds, with a positive worth ``prevalence`` of all, and a negative the rest."""
    films = list(zip(targets, scores, weights, strict=True))
    positives = sum(w for y, _, w in films if y == 1)
    negatives = sum(w for y, _, w in films if y == 0)
    ap = recall_before = 0.0
    for threshold in sorted({p for _, p, _ in films}, reverse=True):
        recall = sum(w for y, p, w in films if y == 1 and p >= threshold) / positives
        false_positive_rate = sum(w for y, p, w in films if y == 0 and p >= threshold) / negatives
        hits, alarms = prevalence * recall, (1 - prevalence) * false_positive_rate
        if hits + alarms:
            ap += (recall - recall_before) * hits / (hits + alarms)
        recall_before = recall
    return ap


@pytest.mark.parametrize("seed", range(20))
def test_ap_at_a_prevalence_equals_a_naive_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = np.r_[1, 0, rng.random(38) < 0.3].astype(float)
    targets[10:14] = np.nan
    probabilities = np.round(targets.clip(0, 1) * 0.2 + rng.random(40), int(rng.integers(1, 3)))
    probabilities[10:14] = 0.5
    patients = np.arange(40) // 2
    weights, prevalence = rng.integers(0, 3, 20), float(rng.uniform(0.02, 0.9))
    weights[0] = 1
    ap, auroc = Ranking(targets, probabilities, patients, prevalence)(weights)
    known = ~np.isnan(targets)
    films = [one[known].tolist() for one in (targets, probabilities, weights[patients])]
    assert ap == pytest.approx(naive_ap(films[0], films[1], films[2], prevalence))
    assert auroc == Ranking(targets, probabilities, patients)(weights)[1]


def test_at_its_own_prevalence_ap_is_itself_and_without_negatives_it_is_none() -> None:
    rng = np.random.default_rng(0)
    targets, scores, each = (rng.random(80) < 0.2).astype(float), rng.random(80), np.arange(80)
    ones = np.ones(80)
    own = Ranking(targets, scores, each, float(targets.mean()))(ones)[0]
    assert own == pytest.approx(average_precision_score(targets, scores))
    rarer = Ranking(targets, scores, each, 0.02)(ones)[0]
    assert rarer < own < Ranking(targets, scores, each, 0.9)(ones)[0]
    assert np.isnan(Ranking(np.ones(80), scores, each, 0.5)(ones)).all()


def test_patients_are_drawn_and_not_films() -> None:
    """Ten films of each patient who score alike: intervals of films would be a third as wide."""
    rng = np.random.default_rng(0)
    targets, scores = ((values[:100] > 0.5).astype(float) for values in rng.random((2, 100, 1)))
    scores = scores + 0.3 * targets + 0.01 * rng.random((100, 1))
    targets, scores = targets.repeat(10, axis=0), scores.repeat(10, axis=0)
    whose = np.arange(100).repeat(10)
    (clustered,), (single,) = (resample(targets, [scores], patients, 300) for patients in (whose, np.arange(1000)))
    assert clustered.ap.std() > 2 * single.ap.std()


def test_pairs_share_their_resamples_on_any_number_of_threads() -> None:
    targets, scores, patients = simulate(60, np.random.default_rng(3))
    first, second = resample(targets, [scores, scores], patients, 70, seed=1, num_threads=3)
    np.testing.assert_array_equal(first.ap, second.ap)
    np.testing.assert_array_equal(first.ap, resample(targets, [scores], patients, 70, seed=1)[0].ap)
    assert (first.ap != resample(targets, [scores], patients, 70, seed=2)[0].ap).any()


def test_a_resample_without_a_positive_counts_as_asked() -> None:
    targets = np.zeros((40, 2))
    targets[:20, 0] = 1
    targets[0, 1] = 1
    scores = np.random.default_rng(0).random((40, 2))
    skip, zero = (resample(targets, [scores], np.arange(40), 200, empty=empty)[0] for empty in ("skip", "zero"))
    lost = np.isnan(skip.ap[:, 1])
    assert 0.2 < lost.mean() < 0.5  # (1 - 1/40)^40
    np.testing.assert_allclose(zero.macro_ap()[lost], skip.macro_ap()[lost] / 2)


def test_it_is_far_faster_than_scoring_each_resample() -> None:
    rng = np.random.default_rng(0)
    targets, scores = (rng.random((20_000, 2)) < 0.05).astype(float), rng.random((20_000, 2))
    start = time.perf_counter()
    resample(targets, [scores], np.arange(20_000), 50)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(5):
        rows = rng.integers(0, 20_000, 20_000)
        for c in range(2):
            average_precision_score(targets[rows, c], scores[rows, c])
            roc_auc_score(targets[rows, c], scores[rows, c])
    assert 10 * (time.perf_counter() - start) > 5 * ours
