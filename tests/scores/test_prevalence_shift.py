import numpy as np
import pytest
from scipy.special import expit, logit

from cxrlt_cli.scores.prevalence_shift import offset_of_shift, shifted_prevalence


def em(probabilities: np.ndarray, before: float, steps: int = 20_000) -> float:
    """Saerens et al. 2002, as they write it."""
    now = before
    for _ in range(steps):
        positive, negative = now / before * probabilities, (1 - now) / (1 - before) * (1 - probabilities)
        now = float((positive / (positive + negative)).mean())
    return now


def drawn(prevalence: float, number: int, rng: np.random.Generator, before: float = 0.2) -> np.ndarray:
    """Probabilities that are calibrated where ``before`` of the films have it, of films of which ``prevalence`` do."""
    positive = rng.random(number) < prevalence
    z = rng.normal(np.where(positive, 1.0, -1.0), 1.2)
    return np.asarray(expit(2 * z / 1.2**2 + logit(before)))


@pytest.mark.parametrize("prevalence", [0.02, 0.2, 0.6])
def test_it_is_where_em_ends(prevalence: float) -> None:
    probabilities = drawn(prevalence, 500, np.random.default_rng(0))
    assert shifted_prevalence(probabilities, 0.2) == pytest.approx(em(probabilities, 0.2), abs=1e-4)


@pytest.mark.parametrize("prevalence", [0.02, 0.2, 0.6])
def test_it_finds_the_prevalence_that_the_mean_probability_misses(prevalence: float) -> None:
    probabilities = drawn(prevalence, 20_000, np.random.default_rng(1))
    assert shifted_prevalence(probabilities, 0.2) == pytest.approx(prevalence, abs=0.015)
    if prevalence != 0.2:
        assert abs(probabilities.mean() - prevalence) > 0.05


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(2)
    probabilities, times = drawn(0.4, 200, rng), rng.integers(0, 4, 200)
    again = shifted_prevalence(np.repeat(probabilities, times), 0.2)
    assert shifted_prevalence(probabilities, 0.2, times.astype(float)) == pytest.approx(again)


def test_films_that_say_nothing_or_everything() -> None:
    assert shifted_prevalence(np.zeros(50), 0.2) < 1e-9
    assert shifted_prevalence(np.ones(50), 0.2) > 1 - 1e-9


def test_a_shifted_line_is_calibrated_there() -> None:
    rng = np.random.default_rng(3)
    positive = rng.random(50_000) < 0.6
    z = rng.normal(np.where(positive, 1.0, -1.0), 1.2)
    moved = expit(2 * z / 1.2**2 + logit(0.2) + offset_of_shift(0.2, 0.6))
    assert moved.mean() == pytest.approx(0.6, abs=0.01)
    assert positive[moved > 0.8].mean() == pytest.approx(moved[moved > 0.8].mean(), abs=0.01)
    assert np.isfinite(offset_of_shift(0.2, 0.0))
