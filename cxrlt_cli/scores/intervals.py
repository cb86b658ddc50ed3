"""95 % intervals of scores and of their differences, and p values, from what resampled patients show.

Letters: R resamples, K findings that a mean is over. An interval stands about its estimate. AP of few positives is too
high, in a resample as in the sample itself, since a positive film outranks what it displaces and ties with its own
copies: percentiles of resamples lie beside the truth. The error of an estimate is therefore taken to be the root mean
square distance of its resamples from it, their spread and their bias together.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri, stdtr, stdtrit

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import LEVEL, Interval, Resampled

TAIL = (1 + LEVEL) / 2
NO_SPREAD = 1e-12
Scale = Literal["arcsine", "logit"]


@dataclass(frozen=True)
class Student:
    """How much wider few patients make an interval: Student's t, and a standard error that is ``stretch`` as large."""

    freedom: float = math.inf
    stretch: float = 1.0

    @classmethod
    def of(cls, resampled: Doubles, deciding: NDArray[Any]) -> "Student":
        """Of a mean, or a difference of means, over scores ``[R, K]`` that ``deciding [K]`` patients decide.

        These are, of AP, the patients who have the finding, and of AUROC those of the smaller class.

        Resamples of few patients spread too little, by (n - 1) / n in the variance (Hesterberg, The American
        Statistician 2015); the degrees of freedom are those of Welch and Satterthwaite, ``n - 1`` for each finding.
        """
        number = np.maximum(np.asarray(deciding, np.float64), 2.0)
        known = ~np.isnan(resampled)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, resampled, 0.0).sum(axis=0) / count
        variance = (np.where(known, resampled - mean, 0.0) ** 2).sum(axis=0) / count
        if variance.sum() < NO_SPREAD**2:
            return cls(_alike(number[known.any(axis=0)]) - 1)
        whole = variance * number / (number - 1)
        freedom = whole.sum() ** 2 / (whole**2 / (number - 1)).sum()
        return cls(float(freedom), float(np.sqrt(whole.sum() / variance.sum())))

    @property
    def errors(self) -> float:
        """How many standard errors of the resamples an interval reaches to each side."""
        quantile = ndtri(TAIL) if math.isinf(self.freedom) else stdtrit(self.freedom, TAIL)
        return self.stretch * float(quantile)

    def p(self, distance: float) -> float:
        """Two-sided p of an estimate that lies so many standard errors of the resamples from what is tested."""
        return 2 * float(stdtr(min(self.freedom, 1e9), -abs(distance) / self.stretch))


NORMAL = Student()


def _alike(number: Doubles) -> float:
    """As how many patients of one score those of several ``[K]`` bound the mean, where all scores are 0, or all 1.

    Their bounds are ``tail ** (1 / number)``, and the mean of bounds is one of the mean.
    """
    if not len(number):
        return math.inf
    return float(np.log(1 - TAIL) / np.log(np.mean((1 - TAIL) ** (1 / number))))


def interval(values: Doubles, estimate: float, student: Student = NORMAL, scale: Scale = "arcsine") -> Interval | None:
    """Of a score between 0 and 1 with its resampled ``values [R]``; None where none of these exists.

    With the error of this module, on a ``scale`` on which it varies alike wherever it is: the arcsine of its root for
    AP, a mean of shares, and the logit for AUROC. Of a score of 0 or 1 all resamples are alike and say nothing: its
    bound is that of as many patients who were all right, or all wrong (Clopper & Pearson 1934).
    """
    error = error_of(values, estimate)
    if error is None:
        return None
    if not NO_SPREAD < estimate < 1 - NO_SPREAD:
        least = float(((1 - LEVEL) / 2) ** (1 / (student.freedom + 1)))
        return (least, 1.0) if estimate > 0.5 else (0.0, 1 - least)
    sides = np.array([-1.0, 1.0]) * student.errors * error
    if scale == "logit":
        low, high = expit(logit(estimate) + sides / (estimate * (1 - estimate)))
    else:
        angle = np.arcsin(np.sqrt(estimate)) + sides / (2 * np.sqrt(estimate * (1 - estimate)))
        low, high = np.sin(np.clip(angle, 0, np.pi / 2)) ** 2
    return min(float(low), estimate), max(float(high), estimate)


def signed_interval(values: Doubles, estimate: float, student: Student = NORMAL) -> Interval | None:
    """Of a difference, between -1 and 1, with its resampled ``values [R]``; None where none of these exists."""
    error = error_of(values, estimate)
    if error is None:
        return None
    reach = student.errors * error
    return max(-1.0, estimate - reach), min(1.0, estimate + reach)


def p_of_score(values: Doubles, estimate: float, chance: float, student: Student) -> float | None:
    """Two-sided p of an AUROC against a value of ``chance``; below 0.05 where ``interval`` is beside it.

    None where no resample has the score.
    """
    error = error_of(values, estimate)
    if error is None:
        return None
    if not NO_SPREAD < estimate < 1 - NO_SPREAD:
        return float(min(1.0, 2 * chance ** (student.freedom + 1)))
    distance = float(logit(estimate) - logit(chance))
    if error < NO_SPREAD:
        return 1.0 if distance == 0 else 0.0
    return student.p(distance * estimate * (1 - estimate) / error)


def error_of(values: Doubles, estimate: float) -> float | None:
    """The root mean square distance of resampled ``values [R]`` from their estimate; NaN are no values."""
    known = values[~np.isnan(values)]
    return float(np.sqrt(np.mean((known - estimate) ** 2))) if len(known) else None


def gain_interval(before: Resampled, after: Resampled, gain: float) -> Interval | None:
    """Of a gain in macro AP on the same resamples."""
    student = Student.of(after.ap - before.ap, after.positive_patients)
    return signed_interval(after.macro_ap() - before.macro_ap(), gain, student)
