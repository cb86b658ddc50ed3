import numpy as np
import pytest
from scipy.special import expit

from cxrlt_cli.scores.merging import MERGES, merge_members, merge_views

OF_VIEWS = [name for name, merge in MERGES.items() if merge.of_logits is not None]


@pytest.mark.parametrize("mode", OF_VIEWS)
@pytest.mark.parametrize("number", [1, 2, 3, 4, 6, 8])
def test_equal_films_stay_equal_wherever_they_stand(mode: str, number: int) -> None:
    """A tie that is broken by rounding is an order that nobody predicted: AP would count it."""
    views = np.random.default_rng(number).normal(0, 3, (number, 1, 7)).repeat(37, axis=1)
    merged = merge_views(views, mode)
    assert (merged == merged[0]).all()


@pytest.mark.parametrize("mode", OF_VIEWS)
def test_views_are_merged_as_members_of_the_same_probabilities(mode: str) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (4, 5, 3))
    theirs = merge_members(expit(logits), np.full(4, 0.25), mode)
    np.testing.assert_allclose(merge_views(logits, mode), theirs, rtol=1e-12)


def test_logits_that_a_sigmoid_rounds_to_1_are_told_apart() -> None:
    high, higher = (merge_views(np.array([[[value]], [[-value / 2]]]), "logit_mean") for value in (60.0, 80.0))
    assert high < higher


@pytest.mark.parametrize("mode", MERGES)
def test_a_member_without_weight_changes_nothing(mode: str) -> None:
    members = np.random.default_rng(1).random((3, 6, 2))
    with_it = merge_members(list(members), np.array([0.5, 0.5, 0.0]), mode)
    np.testing.assert_allclose(with_it, merge_members(list(members[:2]), np.array([0.5, 0.5]), mode), rtol=1e-12)
