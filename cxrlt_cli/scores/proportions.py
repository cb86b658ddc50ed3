"""Shares of films with 95 % intervals that know whose films they are, and how many patients a narrow one takes.

Films of one patient are alike, so that they say less than as many of different patients; and of few positives every one
may be found by luck, where resampling patients would give an interval without any width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, t

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import LEVEL, Interval

FEW = 30  # patients who have a finding, below which a threshold or a calibration says little
MOST = 10_000_000  # patients, more than which nobody has


@dataclass(frozen=True)
class Share:
    """``hits`` of ``films``, which are of ``patients`` patients; without a film, nothing is known of it."""

    hits: int
    films: int
    patients: int
    low: float = 0.0
    high: float = 1.0

    @property
    def value(self) -> float | None:
        return self.hits / self.films if self.films else None

    def __str__(self) -> str:
        return "–" if self.value is None else f"{told(self.value)} ({told(self.low)}–{told(self.high)})"


def told(share: float) -> str:
    """With two decimals, or three close to 0 and to 1, which are said of 0 and 1 alone."""
    if share in (0, 1) or 0.01 <= share <= 0.99:
        return f"{share:.2f}"
    return f"{min(0.999, max(0.001, share)):.3f}"


def exact_interval(hits: float, trials: float) -> Interval:
    """The 95 % interval of a share (Clopper & Pearson 1934); numbers need not be whole."""
    tail = (1 - LEVEL) / 2
    low = 0.0 if hits <= 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits >= trials else float(beta.ppf(1 - tail, hits + 1, trials - hits))
    return low, high


def share_of(hit: NDArray[np.bool_], patients: NDArray[Any]) -> Share:
    """The share of films ``[N]`` that are hit, with an interval over patients ``[N]``.

    Clopper and Pearson's interval of as many films as are worth the same (Korn & Graubard, Survey Methodology 1998):
    the films divided by the design effect, the variance over patients against that of independent films, at least 1.
    Where all films are hit or none is, films of a patient count as one.
    """
    films = len(hit)
    if not films:
        return Share(0, 0, 0)
    names = patients if patients.dtype.kind == "i" else patients.astype(str)
    _, place = np.unique(names, return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    found = np.bincount(place, hit).astype(np.float64)
    hits, number = int(hit.sum()), len(sizes)
    value = hits / films
    worth = kish(sizes)
    if 0 < hits < films and 1 < number < films:
        spread = number / (number - 1) * float(((found - value * sizes) ** 2).sum()) / films**2
        if spread > 0:
            worth = value * (1 - value) / spread
        worth *= float(t.ppf((1 + LEVEL) / 2, films - 1) / t.ppf((1 + LEVEL) / 2, number - 1)) ** 2  # as few tell less
    worth = min(worth, float(films))
    return Share(hits, films, number, *exact_interval(value * worth, worth))


def kish(sizes: Doubles) -> float:
    """How many independent films these are worth, if the films ``[P]`` of each patient are all the same (Kish 1965)."""
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def patients_for_width(share: float, width: float) -> int | None:
    """How many patients, one film each, make the interval of a share no wider than ``width``; None: above ``MOST``."""

    def too_wide(number: int) -> bool:
        low, high = exact_interval(share * number, number)
        return high - low > width

    return smallest(too_wide)


def smallest(too_few: Callable[[int], bool]) -> int | None:
    """The smallest number that is not ``too_few``, as all above it; None where ``MOST`` are too few."""
    below, enough = 0, 1
    while too_few(enough):
        below, enough = enough, 2 * enough
        if below >= MOST:
            return None
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (middle, enough) if too_few(middle) else (below, middle)
    return enough if enough <= MOST else None
