import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlt_cli.scores.places import Change, Place, compare_places


def made(num_films: int, seed: int, shares: tuple[float, ...] = (0.3, 0.15), skill: float = 1.5) -> Place:
    rng = np.random.default_rng(seed)
    targets = (rng.random((num_films, len(shares))) < shares).astype(float)
    return Place(targets, rng.standard_normal(targets.shape) + skill * targets, np.arange(num_films))


def compared(first: Place, second: Place, resamples: int = 0) -> tuple[Change, ...]:
    found = compare_places(first, second, ["a", "b"], resamples)
    assert found.macro is not None
    return found.macro, *found.findings


def test_a_difference_is_what_is_prevalence_and_the_rest() -> None:
    first, second = made(900, 0, (0.1, 0.3), 1.2), made(700, 1)
    macro, *findings = compared(first, second)
    for c, one in enumerate(findings):
        share = second.targets[:, c].mean()
        y, p = first.targets[:, c], first.probabilities[:, c]
        weights = np.where(y == 1, share / y.sum(), (1 - share) / (1 - y).sum())
        assert one.ap == pytest.approx(average_precision_score(y, p))
        assert one.ap_at_prevalence == pytest.approx(average_precision_score(y, p, sample_weight=weights))
        assert one.ap_against == pytest.approx(
            average_precision_score(second.targets[:, c], second.probabilities[:, c])
        )
        assert one.auroc == pytest.approx(roc_auc_score(y, p))
    for one in (macro, *findings):
        assert one.difference.value == pytest.approx(one.ap - one.ap_against)
        assert one.by_prevalence + one.rest.value == pytest.approx(one.difference.value)
        assert one.auroc_difference.value == pytest.approx(one.auroc - one.auroc_against)
    assert macro.rest.value == pytest.approx(np.mean([one.rest.value for one in findings]))


def test_a_drop_that_is_prevalence_alone_leaves_no_rest() -> None:
    macro, _, rare = compared(made(60_000, 0, (0.3, 0.02)), made(60_000, 1, (0.3, 0.2)))
    assert rare.difference.value < -0.3
    assert abs(rare.rest.value) < 0.03
    assert abs(macro.auroc_difference.value) < 0.01


def test_a_drop_at_one_prevalence_is_all_rest() -> None:
    first, second = made(4000, 0, skill=0.5), made(4000, 1)
    second.targets[:] = first.targets
    second.probabilities[:] = np.random.default_rng(1).standard_normal(first.targets.shape) + 1.5 * first.targets
    for one in compared(first, second, 40):
        assert one.by_prevalence == pytest.approx(0, abs=1e-12)
        assert one.rest.value == pytest.approx(one.difference.value)
        assert one.rest.p_holm is not None
        assert one.rest.p_holm < 1e-6
        assert one.rest.ci is not None
        assert one.rest.ci[0] < one.rest.value < one.rest.ci[1] < 0


def test_patients_of_both_are_drawn_apart() -> None:
    """The same films as two places: no difference, and an interval, as two independent samples have."""
    one = compared(made(400, 0), made(400, 0), 60)[0].auroc_difference
    assert one.value == 0
    assert one.ci is not None
    assert one.ci[0] < -0.02 < 0.02 < one.ci[1]


def test_findings_that_one_place_hardly_has_are_left_out() -> None:
    first, second = made(400, 0), made(400, 1)
    second.targets[:, 1] = 0
    second.targets[:9, 1] = 1
    found = compare_places(first, second, ["a", "b"], 0)
    assert [one.name for one in found.findings] == ["a"]
    assert found.macro is not None
    assert found.macro.ap == found.findings[0].ap
    second.targets[:, 0] = 1
    assert compare_places(first, second, ["a", "b"], 0).to_json() == {"macro": None, "findings": []}


@pytest.mark.soak
def test_95_percent_intervals_hold_the_rest_as_often() -> None:
    """Skill is the same, prevalence is not; the truth is no rest."""
    held = sum(
        (ci := compared(made(200, seed, (0.2, 0.1)), made(260, 10_000 + seed), 100)[0].rest.ci) is not None
        and ci[0] <= 0 <= ci[1]
        for seed in range(150)
    )
    assert held >= 134, held
