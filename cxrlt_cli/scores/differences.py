"""Differences between scores of films of other patients: with intervals, and p values that many comparisons share.

Letters: R resamples, K findings that a mean is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import Interval
from cxrlt_cli.scores.intervals import NO_SPREAD, Student, error_of, signed_interval

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
    """Resampled scores ``[R, K]`` of one side, and how many patients are ``deciding [K]``, as ``Student.of`` has it."""

    scores: Doubles
    deciding: NDArray[np.int64]


def difference(value: float, first: Sampled, second: Sampled) -> Difference:
    """A difference of means over K findings, with the interval of its resamples; without one where there are none.

    The interval and p are those of ``intervals``, with Student's t of the patients of both sides.
    """
    drawn = first.scores.mean(axis=1) - second.scores.mean(axis=1)
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) < 2 or drawn.std() < NO_SPREAD:
        return Difference(value, signed_interval(drawn, value))
    both = np.concatenate([first.scores, second.scores], axis=1)
    student = Student.of(both, np.concatenate([first.deciding, second.deciding]))
    error = error_of(drawn, value)
    assert error is not None, "there are resamples"
    return Difference(value, signed_interval(drawn, value, student), student.p(value / error))


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
