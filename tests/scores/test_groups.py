from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlt_cli.scores.bootstrap import Ranking, numbered, resample, resample_rankings
from cxrlt_cli.scores.groups import Group, GroupComparison, compare_groups, large_enough
from cxrlt_cli.scores.intervals import Student, interval
from cxrlt_cli.scores.metrics import score

NAMES = ("a", "b", "c")
Films = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def made(num_patients: int, rng: np.random.Generator, factor: float = 1.0) -> Films:
    """Targets, scores, patients and the group of each film; patients resemble themselves, and have films in both.

    Positives score as much above negatives in both groups; in the second, findings are ``factor`` times as frequent.
    """
    patients = np.repeat(np.arange(num_patients), rng.geometric(0.5, num_patients))
    group = (rng.random(len(patients)) < 0.5).astype(int)
    shares = np.outer((1, factor), (0.3, 0.2, 0.12))
    thresholds = np.vectorize(NormalDist().inv_cdf)(1 - shares)

    def mixed() -> np.ndarray:
        own = rng.standard_normal((num_patients, 3))[patients]
        return np.asarray(np.sqrt(0.6) * own + np.sqrt(0.4) * rng.standard_normal((len(patients), 3)))

    targets = (mixed() > thresholds[group]).astype(float)
    return targets, mixed() + 1.5 * targets, patients, group


def compared(films: Films, resamples: int = 0, seed: int = 0) -> GroupComparison:
    targets, scores, patients, group = films
    groups = [Group("0", np.flatnonzero(group == 0)), Group("1", np.flatnonzero(group == 1), "0")]
    return compare_groups(["g"], groups, [], NAMES, targets, scores, patients, resamples, seed=seed)


def test_scores_are_those_of_weighted_films() -> None:
    """Positives weigh so that each group has the prevalence of all films; AUROC does not know of weights."""
    targets, scores, patients, group = made(300, np.random.default_rng(0), 0.6)
    found = compared((targets, scores, patients, group))
    assert found.findings == NAMES
    for place, one in enumerate(found.groups):
        own = group == place
        for c in range(3):
            y, p, share = targets[own, c], scores[own, c], targets[:, c].mean()
            weights = np.where(y == 1, share / y.sum(), (1 - share) / (1 - y).sum())
            assert one.findings[c].ap == pytest.approx(average_precision_score(y, p, sample_weight=weights))
            assert one.findings[c].auroc == pytest.approx(roc_auc_score(y, p))
        assert one.macro is not None
        assert one.macro.ap == pytest.approx(np.mean([each.ap for each in one.findings]))
        assert (one.num_films, one.num_patients) == (own.sum(), len(set(patients[own])))
    difference = found.groups[1].findings[2].auroc_difference
    assert difference is not None
    assert difference.value == pytest.approx(found.groups[1].findings[2].auroc - found.groups[0].findings[2].auroc)
    assert found.groups[0].findings[2].auroc_difference is None


def test_the_interval_of_a_group_is_that_of_its_scores() -> None:
    """All films in one group: at their own prevalence nothing is weighed, and its means are those of all films."""
    targets, scores, patients, _ = made(200, np.random.default_rng(5))
    probabilities = 1 / (1 + np.exp(-scores))
    every = Group("all", np.arange(len(targets)))
    (one,) = compare_groups(["g"], [every], [], NAMES, targets, probabilities, patients, 40, seed=3).groups
    (drawn,) = resample(targets, [probabilities], patients, 40, seed=3)
    known = score(targets, probabilities, NAMES).with_intervals(drawn)
    assert one.macro is not None
    assert one.macro.auroc_ci == pytest.approx(known.auroc_ci)
    assert one.macro.ap_ci == pytest.approx(known.ap_ci, abs=0.01)  # a resample has another prevalence
    assert one.findings[1].auroc_ci == pytest.approx(known.findings[1].auroc_ci)


def test_a_finding_that_most_have_is_as_sure_in_a_group_as_in_all_films() -> None:
    """AP by the patients who have the finding, AUROC by the fewer, who have it not: here 20 of 200."""
    rng = np.random.default_rng(6)
    targets = np.repeat((np.arange(200) >= 20).astype(float)[:, None], 3, axis=1)
    probabilities = 1 / (1 + np.exp(-rng.standard_normal(targets.shape) - targets))
    patients = np.arange(200)
    (one,) = compare_groups(["g"], [Group("all", patients)], [], NAMES, targets, probabilities, patients, 400).groups
    (drawn,) = resample(targets, [probabilities], patients, 400)
    assert one.macro is not None
    assert one.macro.auroc_ci == pytest.approx(
        interval(drawn.auroc.mean(axis=1), one.macro.auroc, Student.of(drawn.auroc, np.full(3, 20)), "logit")
    )
    weighed = [Ranking(targets[:, c], probabilities[:, c], numbered(patients), 0.9) for c in range(3)]
    ap = resample_rankings([weighed], 200, 400)[0, 0]
    assert one.macro.ap_ci == pytest.approx(interval(ap.mean(axis=1), one.macro.ap, Student.of(ap, np.full(3, 180))))


def test_prevalence_does_not_pass_for_skill() -> None:
    """Findings half as frequent, seen as well: AP itself falls, AP at the common prevalence does not."""
    targets, scores, patients, group = made(20_000, np.random.default_rng(1), 0.5)
    found = compared((targets, scores, patients, group))
    plain = [average_precision_score(targets[group == g], scores[group == g], average="macro") for g in (0, 1)]
    common = [one.macro.ap for one in found.groups if one.macro is not None]
    assert plain[0] - plain[1] > 0.1
    assert abs(common[0] - common[1]) < 0.02


def test_only_findings_that_every_group_has_are_compared() -> None:
    """Ten patients of a group with c are enough, nine with ten films are not; unlabelled films are none."""
    targets, scores, patients, group = made(300, np.random.default_rng(2))
    patients = np.arange(len(patients))
    rows = np.flatnonzero(group == 1)
    targets[rows, 2] = 0
    targets[rows[:10], 2] = 1
    assert compared((targets, scores, patients, group)).findings == NAMES
    patients[rows[1]] = patients[rows[0]]
    assert compared((targets, scores, patients, group)).findings == ("a", "b")
    targets[rows[20:], 1] = np.nan
    targets[rows[:20], 1] = 1
    nothing = compared((targets, scores, patients, group))
    assert nothing.findings == ("a",)
    assert nothing.groups[1].findings[0].ap_difference is not None
    targets[:, 0] = np.nan
    assert compared((targets, scores, patients, group), 5).groups[0].macro is None


def test_a_group_is_compared_with_the_largest_that_differs_in_the_last_column_alone() -> None:
    sizes = {("AP", "F"): 90, ("AP", "M"): 40, ("PA", "F"): 30, ("PA", "M"): 60, ("PA", "O"): 29, ("L", "M"): 31}
    ends = np.cumsum(list(sizes.values()))
    rows = [np.arange(end - size, end) for size, end in zip(sizes.values(), ends, strict=True)]
    groups, small = large_enough(list(zip(sizes, rows, strict=True)), np.arange(ends[-1]))
    assert small == (("PA, O", 29),)
    assert {one.name: one.reference for one in groups} == {
        "AP, F": "AP, M", "AP, M": None, "PA, F": "PA, M", "PA, M": None, "L, M": None
    }, "131 films are of M, and 120 of F"  # fmt: skip
    twice = [(name, np.concatenate([own, own])) for name, own in zip(sizes, rows, strict=True)]
    assert len(large_enough(twice, np.arange(ends[-1]) // 2)[0]) == 2, "patients are counted, not films"


def test_patients_of_several_groups_are_drawn_for_all_at_once() -> None:
    """Each patient has the same film in both groups: no resample finds a difference, no interval has a width."""
    targets, scores, patients, _ = made(200, np.random.default_rng(3))
    twice = tuple(np.concatenate([one, one]) for one in (targets, scores, patients))
    group = np.repeat([0, 1], len(patients))
    found = compared((twice[0], twice[1], twice[2], group), 40)
    assert found.groups[1].macro is not None
    assert found.groups[1].macro.auroc_difference is not None
    assert found.groups[1].macro.auroc_difference.ci == pytest.approx((0.0, 0.0), abs=1e-12)
    apart = compared((twice[0], twice[1], np.arange(len(group)), group), 40)
    assert apart.groups[1].macro is not None
    assert apart.groups[1].macro.auroc_difference is not None
    bounds = apart.groups[1].macro.auroc_difference.ci
    assert bounds is not None
    assert bounds[1] - bounds[0] > 0.05


def test_means_and_findings_are_corrected_apart() -> None:
    found = compared(made(300, np.random.default_rng(4)), 60)
    means, findings = found.groups[1].macro, found.groups[1].findings
    assert means is not None
    of_means = [means.ap_difference, means.auroc_difference]
    of_findings = [one for each in findings for one in (each.ap_difference, each.auroc_difference)]
    for family in (of_means, of_findings):
        least = min((one for one in family if one is not None and one.p is not None), key=lambda one: one.p or 0)
        assert least.p is not None
        assert least.p_holm == pytest.approx(min(1.0, len(family) * least.p))


@pytest.mark.soak
def test_95_percent_intervals_hold_the_difference_as_often() -> None:
    """Of groups that share patients, and differ in prevalence; and 5 % of true nothings are called something."""
    shares = np.array([0.3, 0.2, 0.12]) * 0.8
    truth = true_difference(made(100_000, np.random.default_rng(0), 0.6), shares)
    held, called = np.zeros(2), np.zeros(2)
    for seed in range(120):
        found = compared(made(300, np.random.default_rng(seed), 0.6), 100, seed)
        macro = found.groups[1].macro
        assert macro is not None
        for index, one in enumerate((macro.ap_difference, macro.auroc_difference)):
            assert one is not None
            assert one.ci is not None
            assert one.p is not None
            held[index] += one.ci[0] <= truth[index] <= one.ci[1]
            called[index] += one.p < 0.05
    assert (held >= 106).all(), held
    assert (called <= 14).all(), called


def true_difference(films: Films, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    targets, scores, patients, group = films
    ones = np.ones(len(patients))
    values = [
        [
            Ranking(targets[group == g, c], scores[group == g, c], patients[group == g], shares[c])(ones)
            for c in range(3)
        ]
        for g in (0, 1)
    ]
    return np.asarray(np.mean(values[1], axis=0) - np.mean(values[0], axis=0), np.float64)
