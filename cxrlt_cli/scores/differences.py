"""Differences between scores of films of other patients: with intervals, and p values that many comparisons share.

Letters: R resamples, K findings that a mean is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import LEVEL, Interval, interval

MIN_EACH = 10  # patients with a finding, and without, from which on it is compared


@dataclass(frozen=True)
class Difference:
    """A difference of two scores, its 95 % interval, and its two-sided p before and after Holm's correction."""

    value: float
    ci: Interval | None = None
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Sampled:
    """Resampled scores ``[R, K]`` of one side, and how many patients the smaller class of each finding has, ``[K]``."""

    scores: Doubles
    fewest: NDArray[np.int64]


def difference(value: float, first: Sampled, second: Sampled) -> Difference:
    """A difference of means over K findings, with the interval of its resamples; without one where there are none.

    Resamples of few patients spread too little. The interval is that of ``interval``, stretched as Student's t is
    (Hesterberg, The American Statistician 2015), with the degrees of freedom of Welch and Satterthwaite: ``fewest - 1``
    of the variance of each finding on each side. p is by the same t, about the value less the bias of the resamples.
    """
    drawn = first.scores.mean(axis=1) - second.scores.mean(axis=1)
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) < 2 or drawn.std() < 1e-12:
        return Difference(value, interval(drawn, value, (-1.0, 1.0)))
    number = np.concatenate([first.fewest, second.fewest]).astype(np.float64)
    variance = np.nanvar(np.concatenate([first.scores, second.scores], axis=1), axis=0)
    whole = variance * number / (number - 1)
    freedom = whole.sum() ** 2 / (whole**2 / (number - 1)).sum()
    stretch = float(np.sqrt(whole.sum() / variance.sum()))
    wide = stretch * float(stdtrit(freedom, (1 + LEVEL) / 2) / ndtri((1 + LEVEL) / 2))
    mean = float(drawn.mean())
    center, error = 2 * value - mean, stretch * float(drawn.std(ddof=1))
    held = interval(mean + wide * (drawn - mean), value, (-1.0, 1.0))
    return Difference(value, held, 2 * float(stdtr(freedom, -abs(center) / error)))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for as many comparisons as there are: none of them is below 0.05 by chance in 95 % of cases.

    The k-th smallest of m counts ``m - k + 1`` times, and no less than those before it (Holm, Scand. J. Stat. 1979).
    What is None is no comparison.
    """
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[place] = highest
    return corrected


def with_holm(differences: Sequence[Difference]) -> list[Difference]:
    """The same with p values corrected for all of them together."""
    corrected = holm([one.p for one in differences])
    return [replace(one, p_holm=p) for one, p in zip(differences, corrected, strict=True)]


def told_difference(one: Difference) -> str:
    """``-0.012 (-0.050 to +0.031)``."""
    held = "" if one.ci is None else f" ({one.ci[0]:+.3f} to {one.ci[1]:+.3f})"
    return f"{one.value:+.3f}{held}"


def told_p(one: Difference) -> str:
    """p after Holm's correction: ``0.031``, ``< 0.001``."""
    if one.p_holm is None:
        return "–"
    return "< 0.001" if one.p_holm < 0.001 else f"{one.p_holm:.3f}"
