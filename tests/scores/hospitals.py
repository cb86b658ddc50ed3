"""Simulated hospitals: patients with 1 to 4 positive films, whose scores are alike; films of others around 0."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from cxrlt_cli.scores.risk_control import highest_threshold, lowest_scores

SEPARATIONS = (1.0, 2.0, 3.5)  # AUROC 0.76, 0.92, 0.99
PROMISES = ((0.05, 0.95), (0.1, 0.9))  # missed at most, sure


@dataclass(frozen=True)
class Outcome:
    """Of thresholds fitted in many hospitals: how often the promise was broken, and what it cost."""

    broken: int
    missed: float  # the mean of the true shares of missed patients
    specificity: float  # the mean
    oracle: float  # the specificity of the threshold that misses just as many as may be


def lowest(patients: int, separation: float, rng: np.random.Generator) -> np.ndarray:
    """Of each patient the lowest score of a positive film."""
    whose = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    own = 0.8 * rng.standard_normal(patients)
    scores = separation + own[whose] + 0.6 * rng.standard_normal(len(whose))
    return lowest_scores(np.ones(len(scores)), scores, whose.astype(object))


def outcome(hospitals: int, separation: float, miss: float, sure: float, rng: np.random.Generator) -> Outcome:
    """Hospitals of 60 to 500 positive patients, each judged by 200,000 others."""
    truth = lowest(200_000, separation, rng)
    sizes = rng.integers(60, 501, hospitals)
    kept = [highest_threshold(lowest(int(size), separation, rng), miss, sure).threshold for size in sizes]
    thresholds = np.array(kept, np.float64)  # a None would be no number
    rates = np.searchsorted(truth, thresholds) / len(truth)
    oracle = float(norm.cdf(np.quantile(truth, miss)))
    return Outcome(int((rates > miss).sum()), float(rates.mean()), float(norm.cdf(thresholds).mean()), oracle)
