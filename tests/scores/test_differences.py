import numpy as np
import pytest
from scipy.stats import norm, t

from cxrlt_cli.scores.differences import Difference, Sampled, difference, holm, told_difference, told_p, with_holm


def naive_holm(values: list[float]) -> list[float]:
    """The smallest level at which Holm's procedure rejects each, found by carrying the procedure out."""
    found = []
    for place in range(len(values)):
        candidates = sorted({min(1.0, k * p) for k in range(1, len(values) + 1) for p in values})
        found.append(next(level for level in candidates if place in rejected(values, level) or level == 1.0))
    return found


def rejected(values: list[float], level: float) -> set[int]:
    """Step down from the smallest p; stop at the first that is too large."""
    out: set[int] = set()
    order = sorted(range(len(values)), key=lambda place: values[place])
    for rank, place in enumerate(order):
        if (len(values) - rank) * values[place] > level:
            break
        out.add(place)
    return out


@pytest.mark.parametrize("seed", range(30))
def test_holm_is_the_level_at_which_the_procedure_rejects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.random(int(rng.integers(1, 8))) ** 3, 3).tolist()
    assert holm(values) == pytest.approx(naive_holm(values))


def test_holm_by_hand_and_what_is_no_comparison_counts_for_none() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([None, 0.01, None, 0.04, 0.03]) == pytest.approx([None, 0.03, None, 0.06, 0.06])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([]) == []


def sampled(drawn: np.ndarray, fewest: int = 10**6) -> Sampled:
    return Sampled(drawn[:, None], np.array([fewest]))


DRAWN = 0.12 + 0.05 * norm.ppf((np.arange(1000) + 0.5) / 1000)
NOTHING = sampled(np.zeros(1000))


def test_a_difference_is_judged_by_the_spread_of_its_resamples() -> None:
    """Resamples about 0.1 + b: what they are off by is their spread and their bias b together."""
    one = difference(0.1, sampled(DRAWN), NOTHING)
    error = np.hypot(DRAWN.std(), 0.02)
    assert one.p == pytest.approx(2 * norm.sf(0.1 / error), rel=1e-3)
    assert one.ci == pytest.approx((0.1 - 1.96 * error, 0.1 + 1.96 * error), abs=1e-4)
    assert difference(-0.1, NOTHING, sampled(DRAWN)).p == pytest.approx(one.p)
    lost = sampled(np.concatenate([DRAWN, [np.nan] * 5]))
    assert difference(0.1, lost, sampled(np.zeros(1005))) == one


def test_few_patients_make_it_wider_by_students_t() -> None:
    """Of ten patients on one side alone: t with 9 degrees of freedom, and the variance times 10 / 9."""
    one = difference(0.1, sampled(DRAWN, 10), NOTHING)
    error = np.hypot(DRAWN.std(), 0.02) * np.sqrt(10 / 9)
    assert one.p == pytest.approx(2 * t.sf(0.1 / error, 9))
    assert one.ci is not None
    assert one.ci[1] - one.ci[0] == pytest.approx(2 * t.isf(0.025, 9) * error, rel=5e-3)
    both = difference(0.1, sampled(DRAWN, 10), sampled(DRAWN[np.random.default_rng(0).permutation(1000)] - 0.1, 10))
    assert both.p is not None
    spread = np.sqrt(2 * 10 / 9) * 0.05
    assert both.p == pytest.approx(2 * t.sf(0.1 / spread, 18), rel=0.15), "Welch: twice 9 degrees of freedom"


def test_a_mean_over_findings_is_as_sure_as_its_parts() -> None:
    """Two findings that vary alike, of 10 patients each: 18 degrees of freedom, not 9."""
    other = DRAWN[np.random.default_rng(1).permutation(1000)]
    two = Sampled(np.stack([DRAWN, other], axis=1), np.array([10, 10]))
    none = Sampled(np.zeros((1000, 2)), np.array([10, 10]))
    one = difference(0.1, two, none)
    mean = (DRAWN + other) / 2
    assert one.p == pytest.approx(2 * t.sf(0.1 / (np.hypot(mean.std(), 0.02) * np.sqrt(10 / 9)), 18))


def test_without_resamples_there_is_a_difference_alone() -> None:
    assert difference(0.2, sampled(np.zeros(0)), sampled(np.zeros(0))) == Difference(0.2)
    assert difference(0.2, sampled(np.full(9, np.nan)), NOTHING_OF_9) == Difference(0.2)
    assert difference(0.0, NOTHING_OF_9, NOTHING_OF_9).p is None


NOTHING_OF_9 = sampled(np.zeros(9))


def test_corrected_p_stands_beside_its_own() -> None:
    both = with_holm([Difference(0.1, None, 0.01), Difference(0.2), Difference(0.1, None, 0.02)])
    assert [one.p_holm for one in both] == [0.02, None, 0.02]
    assert [one.p for one in both] == [0.01, None, 0.02]


def test_how_it_is_told() -> None:
    assert told_difference(Difference(-0.0121, (-0.05, 0.031))) == "-0.012 (-0.050 to +0.031)"
    assert told_difference(Difference(0.5)) == "+0.500"
    assert [told_p(Difference(0, None, 0, p)) for p in (None, 0.0004, 0.031)] == ["–", "< 0.001", "0.031"]
