import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm, t

from cxrlt_cli.scores.bootstrap import Ranking, resample
from cxrlt_cli.scores.intervals import (
    NORMAL,
    Scale,
    Student,
    error_of,
    gain_interval,
    interval,
    p_of_score,
    signed_interval,
)
from cxrlt_cli.scores.proportions import exact_interval
from tests.scores.simulated import SHARES, simulate

VALUES = 0.4 + 0.02 * norm.ppf((np.arange(2000) + 0.5) / 2000)


def test_it_stands_about_the_estimate_on_the_scale_of_the_logit() -> None:
    """s.e. by the delta method: 0.02 / (0.4 * 0.6); a bias of 0.03 makes the error the root of 0.02^2 + 0.03^2."""
    low, high = interval(VALUES, 0.4, NORMAL, "logit") or (0, 0)
    assert logit(high) - logit(0.4) == pytest.approx(logit(0.4) - logit(low)) == pytest.approx(1.96 * 0.02 / 0.24, 1e-2)
    biased = interval(VALUES + 0.03, 0.4, NORMAL, "logit") or (0, 0)
    wide = 1.96 * np.hypot(0.02, 0.03) / 0.24
    assert biased == pytest.approx(expit(logit(0.4) + np.array([-wide, wide])), abs=1e-3)
    assert error_of(np.r_[VALUES + 0.03, np.nan], 0.4) == pytest.approx(np.hypot(VALUES.std(), 0.03))
    assert interval(np.array([np.nan]), 0.4) is None is signed_interval(np.array([np.nan]), 0.4)


def test_it_stands_about_the_estimate_on_the_scale_of_the_arcsine() -> None:
    """s.e. by the delta method: 0.02 / (2 (0.4 * 0.6)^(1/2)); cut where AP ends."""
    low, high = np.arcsin(np.sqrt(interval(VALUES, 0.4) or (0, 0)))
    middle = np.arcsin(np.sqrt(0.4))
    assert high - middle == pytest.approx(middle - low)
    assert high - middle == pytest.approx(1.96 * 0.01 / np.sqrt(0.24), 1e-2)
    least, most = interval(VALUES - 0.399, 0.001) or (1, 1)
    assert least == 0.0 < 0.001 < most < 0.8
    near = interval(np.clip(VALUES / 4 + 0.895, 0, 1), 0.998) or (0, 0)
    assert 0.9 < near[0] < 0.998 < near[1] == 1.0, "no wider than what was drawn allows"


def test_a_difference_stands_in_the_middle_and_ends_where_scores_do() -> None:
    assert signed_interval(VALUES - 0.4, 0.0) == pytest.approx((-0.0392, 0.0392), abs=1e-3)
    assert signed_interval(VALUES - 1.39, -0.99) == pytest.approx((-1.0, -0.9508), abs=1e-3)


def test_few_patients_make_it_wider() -> None:
    """Of 6 patients with one finding: t of 5 degrees of freedom, and an s.e. of the root of 6 / 5."""
    student = Student.of(VALUES[:, None], np.array([6]))
    assert (student.freedom, student.stretch) == pytest.approx((5, np.sqrt(1.2)))
    assert student.errors == pytest.approx(t.ppf(0.975, 5) * np.sqrt(1.2))
    assert student.p(3.0) == pytest.approx(2 * t.sf(3 / np.sqrt(1.2), 5))
    assert NORMAL.errors == pytest.approx(1.96, abs=1e-3)
    assert NORMAL.p(1.96) == pytest.approx(0.05, abs=1e-3)
    two = Student.of(np.stack([VALUES, VALUES], axis=1), np.array([6, 6]))
    assert two.freedom == pytest.approx(10), "Welch and Satterthwaite"
    lone = Student.of(np.stack([VALUES, np.full(2000, np.nan)], axis=1), np.array([6, 0]))
    assert lone == student, "a finding that nobody has says nothing of it"


def test_perfect_scores_are_bounded_by_the_mean_of_their_bounds() -> None:
    """Not by the bound of the finding that the fewest have; a finding that nobody has says nothing."""
    scores = np.array([[1.0, 1.0, np.nan]] * 50)
    low, high = interval(scores[:, 0], 1.0, Student.of(scores, np.array([2, 40, 0]))) or (0, 0)
    assert (low, high) == pytest.approx(((0.025 ** (1 / 2) + 0.025 ** (1 / 40)) / 2, 1.0))


@pytest.mark.parametrize("number", [5, 6, 30])
def test_a_perfect_score_has_the_bound_of_as_many_patients(number: int) -> None:
    ones = np.ones(50)
    student = Student.of(ones[:, None], np.array([number]))
    assert interval(ones, 1.0 - 1e-15, student) == interval(ones, 1.0, student), "a sum that falls short of 1"
    assert interval(ones, 1.0, student) == pytest.approx(exact_interval(number, number))
    assert interval(0 * ones, 0.0, student) == pytest.approx(exact_interval(0, number))
    p = p_of_score(ones, 1.0, 0.5, student)
    assert p == pytest.approx(2 * 0.5**number)


def test_p_agrees_with_the_interval() -> None:
    student = Student.of(VALUES[:, None], np.array([8]))
    for estimate in np.linspace(0.4, 0.6, 21):
        values = VALUES - 0.4 + estimate
        low, high = interval(values, estimate, student, "logit") or (0, 0)
        p = p_of_score(values, estimate, 0.5, student)
        assert p is not None
        assert (p < 0.05) == (not low <= 0.5 <= high)
    assert p_of_score(np.full(9, 0.5), 0.5, 0.5, student) == 1.0
    assert p_of_score(np.full(9, np.nan), 0.5, 0.5, student) is None


def covered(kind: str, signal: float, num_patients: int, times: int, num_resamples: int) -> dict[str, list[int]]:
    """How often intervals of macro AP and macro AUROC, and plain percentiles, hold what 60,000 patients have."""
    rng = np.random.default_rng(0)
    columns = range(len(SHARES[kind]))

    def scored(targets: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> np.ndarray:
        ones = np.ones(patients.max() + 1)
        each = [Ranking(targets[:, c], scores[:, c], patients)(ones) for c in columns]
        return np.asarray(np.nanmean(each, axis=0))

    truth = scored(*simulate(60_000, rng, kind, signal))
    held = {"ours": [0, 0], "percentiles": [0, 0]}
    for seed in range(times):
        targets, scores, patients = simulate(num_patients, rng, kind, signal)
        estimates = scored(targets, scores, patients)
        (drawn,) = resample(targets, [scores], patients, num_resamples, seed=seed)
        of_ap, of_auroc = Student.of(drawn.ap, drawn.positive_patients), Student.of(drawn.auroc, drawn.fewest)
        both = ((drawn.macro_ap(), of_ap), (drawn.macro_auroc(), of_auroc))
        for index, (values, student) in enumerate(both):
            scale: Scale = "logit" if index else "arcsine"
            bounds = interval(values, float(estimates[index]), student, scale)
            assert bounds is not None
            low, high = np.nanpercentile(values, (2.5, 97.5))
            held["ours"][index] += bounds[0] <= truth[index] <= bounds[1]
            held["percentiles"][index] += low <= truth[index] <= high
    return held


@pytest.mark.parametrize("kind", ["usual", "long tail"])
def test_95_percent_intervals_hold_the_truth_as_often(kind: str) -> None:
    """Of 60 samples of 300 patients; percentiles of a long tail stand beside it."""
    held = covered(kind, 1.5, 300, 60, 40)
    assert min(held["ours"]) >= 52, held
    assert kind == "usual" or held["percentiles"][0] < 45 < held["ours"][0], held


@pytest.mark.soak
@pytest.mark.parametrize("signal", [0.0, 0.6, 1.5, 2.5])
@pytest.mark.parametrize("kind", sorted(SHARES))
def test_the_coverage_that_the_readme_tells_of(kind: str, signal: float) -> None:
    held = covered(kind, signal, 300, 500, 200)
    print(kind, signal, held)
    assert min(held["ours"]) >= 435, held


def test_a_gain_is_of_pairs_on_the_same_resamples() -> None:
    targets, scores, patients = simulate(200, np.random.default_rng(1))
    better = scores + 0.8 * targets
    before, after = resample(targets, [scores, better], patients, 100)
    ones = np.ones(200)
    ap = [[Ranking(targets[:, c], one[:, c], patients)(ones)[0] for c in range(4)] for one in (scores, better)]
    gain = float(np.mean(ap[1]) - np.mean(ap[0]))
    low, high = gain_interval(before, after, gain) or (0, 0)
    assert 0 < low < gain < high
    assert gain_interval(before, before, 0.0) == (0.0, 0.0)
