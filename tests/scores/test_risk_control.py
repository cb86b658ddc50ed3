import numpy as np
import pytest
from scipy.stats import binom, norm

from cxrlt_cli.scores.risk_control import highest_threshold, lowest_scores, most_missed, patients_needed
from tests.scores.hospitals import PROMISES, SEPARATIONS, outcome


def test_how_many_patients_it_takes() -> None:
    assert patients_needed(0.05, 0.95) == 59
    assert patients_needed(0.1, 0.95) == 29
    for miss, sure in ((0.05, 0.95), (0.2, 0.8), (0.5, 0.5), (0.01, 0.999), (0.9, 0.5)):
        number = patients_needed(miss, sure)
        assert (1 - miss) ** number <= 1 - sure < (1 - miss) ** (number - 1)
        assert most_missed(number, miss, sure) >= 0
        assert most_missed(number - 1, miss, sure) == -1


def test_the_most_that_may_be_missed_is_the_largest_that_a_test_lets_pass() -> None:
    for number in (1, 58, 59, 100, 500):
        most = most_missed(number, 0.05, 0.95)
        passed = [k for k in range(number) if binom.cdf(k, number, 0.05) <= 0.05]
        assert most == (max(passed) if passed else -1)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_learn_then_test_from_the_lowest_threshold_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    miss, sure = 0.1, 0.9
    lowest = np.sort(np.round(rng.random(rng.integers(10, 120)), 2 if seed % 2 else 12))
    chosen = None
    for threshold in np.unique(lowest):
        missed = int((lowest < threshold).sum())
        if binom.cdf(missed, len(lowest), miss) > 1 - sure:
            break
        chosen = threshold
    kept = highest_threshold(lowest, miss, sure)
    assert kept.threshold == chosen
    assert kept.patients == len(lowest)
    if chosen is not None:
        assert kept.missed == (lowest < chosen).sum()


def test_too_few_patients_get_no_threshold_and_are_told_how_many_it_takes() -> None:
    kept = highest_threshold(np.linspace(0, 1, 58), 0.05, 0.95)
    assert (kept.threshold, kept.patients, kept.needed) == (None, 58, 59)
    assert highest_threshold(np.linspace(0.3, 1, 59), 0.05, 0.95).threshold == 0.3
    assert highest_threshold(np.zeros(0), 0.05, 0.95).threshold is None


def test_a_patient_counts_by_the_lowest_of_their_positive_films() -> None:
    targets = np.array([1, 1, 0, 1, np.nan, 0, 1])
    scores = np.array([0.8, 0.3, 0.1, 0.6, 0.0, 0.2, 0.7])
    patients = np.array(["b", "b", "b", "a", "a", "c", "a"], object)
    assert lowest_scores(targets, scores, patients).tolist() == [0.3, 0.6]


def test_the_promise_is_kept_in_a_thousand_hospitals_and_is_not_idle() -> None:
    """Three models, two promises. Kept by a threshold of nothing missed, it would be of no use."""
    rng = np.random.default_rng(0)
    for separation in SEPARATIONS:
        for miss, sure in PROMISES:
            found = outcome(170, separation, miss, sure, rng)
            assert found.broken <= binom.ppf(0.999, 170, 1 - sure), (separation, miss, found)
            assert found.missed > 0.5 * miss
            assert found.specificity > 0.55 * found.oracle, (separation, miss, found)


def test_the_promise_is_as_tight_as_it_can_be() -> None:
    """Of continuous scores the chance to break it is that of the binomial itself, not far below."""
    rng = np.random.default_rng(1)
    lowest = np.sort(rng.random((4000, 200)), axis=1)
    thresholds = np.array([highest_threshold(row, 0.1, 0.95).threshold for row in lowest], float)
    expected = binom.cdf(most_missed(200, 0.1, 0.95), 200, 0.1)
    assert expected > 0.03
    assert (thresholds > 0.1).mean() == pytest.approx(expected, abs=0.01)


def test_a_joint_promise_is_kept_of_all_findings_at_once() -> None:
    rng = np.random.default_rng(2)
    broken = 0
    for _ in range(400):
        own = rng.standard_normal(120)
        alike = np.sort(0.3 * own + rng.standard_normal((5, 120)), axis=1)  # patients with all five
        thresholds = [highest_threshold(row, 0.1, 1 - 0.1 / 5).threshold for row in alike]
        broken += any(value is not None and norm.cdf(value / np.sqrt(1.09)) > 0.1 for value in thresholds)
    assert broken <= binom.ppf(0.999, 400, 0.1)
    assert broken > 4
