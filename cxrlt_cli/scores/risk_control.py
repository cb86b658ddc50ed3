"""Thresholds with a promise: at most a share of the patients who have a finding is missed, as good as surely.

Learn then Test (Angelopoulos et al. 2021, arXiv:2110.01052): each threshold, from the lowest on, is held against the
hypothesis that it misses too many, by the exact binomial p-value, until the first that cannot be refused. Tested in a
fixed order, the first error is the only one, so that the number of thresholds costs nothing. As a higher threshold
never misses fewer, the last that passes is a patient's own score, and the bound is that of risk-controlling prediction
sets (Bates et al. 2021, arXiv:2101.02703), and of Wilks (1941): it holds for any model and any number of patients.

A patient is missed where any film of theirs that shows the finding is below the threshold. So the mean over patients of
the share of missed films is bounded too. What it rests on: patients to come are drawn as those it was fitted on
(exchangeable), with as many films each. The promise is of one finding; of several at once by Bonferroni.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from cxrlt_cli.scores import Doubles


@dataclass(frozen=True)
class Kept:
    """A threshold that keeps a promise; None where too few patients have the finding, ``needed`` with none missed."""

    threshold: float | None
    patients: int  # who have the finding
    missed: int  # of them, at the threshold
    needed: int


def patients_needed(miss: float, sure: float) -> int:
    """The fewest patients with a finding of whom a threshold can promise anything: ``(1 - miss)^n <= 1 - sure``."""
    number = max(1, math.ceil(math.log(1 - sure) / math.log1p(-miss)) - 1)
    while (1 - miss) ** number > 1 - sure:
        number += 1
    return number


def most_missed(num_patients: int, miss: float, sure: float) -> int:
    """How many of these may be missed: the largest k with ``P(Binomial(n, miss) <= k) <= 1 - sure``; -1: not even 0."""
    chances = binom.cdf(np.arange(num_patients), num_patients, miss)
    return int(np.searchsorted(chances, 1 - sure, side="right")) - 1


def lowest_scores(targets: NDArray[np.floating], scores: Doubles, patients: NDArray[np.object_]) -> Doubles:
    """Of each patient who has the finding, the lowest score of a film that shows it: ``[P]``, ascending.

    ``targets [N]``: 1, 0, NaN; ``scores [N]``; ``patients [N]``.
    """
    positive = targets == 1
    names, place = np.unique(patients[positive].astype(str), return_inverse=True)
    lowest = np.full(len(names), np.inf)
    np.minimum.at(lowest, place, scores[positive])
    return np.sort(lowest)


def highest_threshold(lowest: Doubles, miss: float, sure: float) -> Kept:
    """The highest threshold, at or above which a film is positive, that misses at most ``miss`` of patients.

    With a probability of at least ``sure`` over the draw of the patients whose ``lowest_scores`` are given.
    """
    allowed = most_missed(len(lowest), miss, sure)
    needed = patients_needed(miss, sure)
    if allowed < 0:
        return Kept(None, len(lowest), 0, needed)
    threshold = float(lowest[allowed])
    return Kept(threshold, len(lowest), int((lowest < threshold).sum()), needed)
