import numpy as np
import pytest

from cxrlt_cli.scores.operating_points import LEAST_FLAGGED, for_ppv, for_sensitivity, held_out, worth_of


def films(seed: int, number: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, scores with ties, and patients of about two films each."""
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, number // 2, number).astype(str).astype(object)
    targets = (rng.random(number) < 0.3).astype(float)
    return targets, np.round(rng.normal(0.5 * targets, 0.4), 1 if seed % 2 else 9), patients


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 1.0])
def test_a_threshold_for_sensitivity_is_the_highest_that_finds_enough(seed: int, share: float) -> None:
    targets, scores, patients = films(seed)
    threshold = for_sensitivity(share)(targets, scores, patients)
    found = [t for t in scores if (scores[targets == 1] >= t).mean() >= share - 1e-12]
    assert threshold == max(found)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.95])
def test_a_threshold_for_a_predictive_value_is_the_lowest_that_reaches_it(seed: int, share: float) -> None:
    targets, scores, patients = films(seed)
    threshold = for_ppv(share)(targets, scores, patients)
    good = [
        t for t in scores if targets[scores >= t].mean() >= share and len(set(patients[scores >= t])) >= LEAST_FLAGGED
    ]
    assert threshold == (min(good) if good else None)


def test_a_few_high_scores_promise_no_predictive_value() -> None:
    targets, scores = np.array([1.0] * 5 + [0.0] * 50), np.linspace(1, 0, 55)
    one_each = np.arange(55).astype(object)
    assert for_ppv(0.9)(targets, scores, one_each) is None
    assert for_ppv(0.5)(targets, scores, one_each) == scores[9]
    assert for_sensitivity(0.9)(np.zeros(3), np.ones(3), np.arange(3).astype(object)) is None
    assert for_ppv(0.9)(np.zeros(0), np.zeros(0), np.zeros(0, object)) is None


def test_each_film_is_decided_by_a_threshold_of_other_folds() -> None:
    targets, scores, patients = films(0)
    fold = np.arange(len(targets)) % 4
    decided = held_out(for_sensitivity(0.9), targets, scores, patients, fold)
    for row in range(len(targets)):
        others = fold != fold[row]
        threshold = for_sensitivity(0.9)(targets[others], scores[others], patients[others])
        assert threshold is not None
        assert decided[row] == (scores[row] >= threshold)
    alone = np.where(fold == 1, targets, 0.0)
    undecided = np.isnan(held_out(for_sensitivity(0.9), alone, scores, patients, fold))
    assert (undecided == (fold == 1)).all(), "no other fold has a positive"


def test_what_decisions_are_worth() -> None:
    targets = np.array([1, 1, 1, 0, 0, 0, 0, 1.0])
    decided = np.array([1, 1, 0, 0, 1, 0, np.nan, np.nan])
    worth = worth_of(targets, decided, np.arange(8).astype(object))
    assert (worth.sensitivity.hits, worth.sensitivity.films) == (2, 3)
    assert (worth.specificity.hits, worth.specificity.films) == (2, 3)
    assert (worth.ppv.hits, worth.ppv.films) == (2, 3)
    nothing = worth_of(targets, np.full(8, np.nan), np.arange(8).astype(object))
    assert nothing.sensitivity.value is nothing.specificity.value is nothing.ppv.value is None
