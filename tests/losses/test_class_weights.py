"""Class weights and margins against their formulas, written out for each finding."""

import math

import numpy as np
import pytest
import torch

from cxrlt_cli.losses import class_weights as weights

COUNTS = (5000.0, 400.0, 30.0, 1.0)
NUM_FILMS = [10_000.0]


@pytest.mark.parametrize("beta", [0.0, 0.99, 0.9999])
def test_effective_numbers_are_those_of_the_formula(beta: float) -> None:
    each = np.array([(1 - beta) / (1 - beta**n) for n in COUNTS])
    found = weights.effective_number_weights(COUNTS, beta)
    np.testing.assert_allclose(found, each / each.mean(), rtol=1e-9)
    assert found.mean() == pytest.approx(1)


def test_effective_numbers_do_not_cancel_out_close_to_1() -> None:
    """(1 - beta) / (1 - beta^n) tends to 1 / n; in float32, 1 - beta^n would be 0."""
    found = weights.effective_number_weights(COUNTS, 1 - 1e-12)
    inverse = 1 / np.array(COUNTS)
    np.testing.assert_allclose(found, inverse / inverse.mean(), rtol=1e-4)


def test_margins_fall_with_the_fourth_root_of_the_count() -> None:
    found = weights.ldam_margins(COUNTS, 0.5)
    np.testing.assert_allclose(found, [0.5 * (1 / n) ** 0.25 for n in COUNTS])


def test_shares_and_odds_are_of_the_films() -> None:
    np.testing.assert_allclose(weights.prevalences(COUNTS, NUM_FILMS), np.array(COUNTS) / 10_000)
    odds = [(10_000 - n) / n for n in COUNTS]
    np.testing.assert_allclose(weights.log_odds_against(COUNTS, NUM_FILMS), np.log(odds))
    np.testing.assert_allclose(weights.odds_weights(COUNTS, NUM_FILMS, 0.5, 20), [min(o**0.5, 20) for o in odds])
    np.testing.assert_allclose(weights.inverse_counts(COUNTS, NUM_FILMS), 1 / np.array(COUNTS))


def test_a_finding_on_no_film_or_on_every_film_has_finite_weights() -> None:
    """A count of 0 is taken for 1; one of all films, where odds are asked for, for all but one."""
    counts, number = (0.0, 100.0), [100.0]
    np.testing.assert_allclose(weights.inverse_counts(counts, number), np.array([1, 1 / 99]))
    np.testing.assert_allclose(weights.log_odds_against(counts, number), np.log([99, 100 / 99 - 1]))
    assert torch.equal(weights.odds_weights(counts, number, 1.0, 50), torch.tensor([50.0, 0.0]).double())
    for found in (weights.ldam_margins(counts), weights.multi_grain_factors(counts),
                  weights.effective_number_weights(counts, 0.999)):  # fmt: skip
        assert torch.isfinite(found).all()


def test_factors_of_rare_findings_rise_slowly_from_1() -> None:
    found = weights.multi_grain_factors(COUNTS)
    np.testing.assert_allclose(found, [(1 - math.log(n / 5000)) ** (1 / 6) for n in COUNTS])
    assert found[0] == 1
    assert torch.all(found.diff() > 0)


def test_head_margins_run_from_0_to_the_largest() -> None:
    found = weights.head_margins(torch.tensor([4.0, 2.0, 1.0]), 0.3)
    np.testing.assert_allclose(found, [0, 0.1, 0.3], atol=1e-5)
    assert torch.equal(weights.head_margins(torch.ones(3), 0.3), torch.zeros(3)), "all weigh alike"
