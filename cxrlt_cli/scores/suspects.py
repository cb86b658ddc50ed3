"""Labels that are probably wrong, by predictions of models that did not learn from them (out of fold).

Letters: N films, C findings, R resamples of patients, B places on the scale of a finding's probabilities.

Each finding's labels are those of a logistic regression on the logit of the probability, of which some were turned: a
share of the labels 1, and a share of the films with the finding (label-noise robust logistic regression: Bootkrajang &
Kabán, ECML PKDD 2012). Both shares are drawn towards those of all findings together, since few positives tell little.
Confident learning (Northcutt et al., JAIR 2021), which counts labels that a probability contradicts beyond the mean of
its class, ranks no better and calls twice as many right labels wrong.

From scores alone, a sign that the model cannot see looks the same as a label 1 that is wrong: where signs are hard to
see the numbers are too high, and where many labels are wrong too low (``tests/benchmarks/wrong_labels.py``). The
intervals are over patients alone, and do not hold that error: of labels drawn from this model itself, 95 % intervals of
all findings together held the true number in 41 of 60 sets (711 films, 14 findings, classes 1.4 standard deviations
apart), where the numbers were 19 % too high in the mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import LEVEL, Interval, drawn_patients, numbered
from cxrlt_cli.scores.calibration import EDGE, LEAST_SLOPE
from cxrlt_cli.scores.merging import TINY

USUAL = 0.05  # share of labels that are wrong, before anything is known: that of labels read from reports
ALONE, TOGETHER = 10.0, 30.0  # positives at which a finding's own shares weigh as much as the usual, and the pooled
LARGEST = 0.45  # share of a class whose labels are turned
PENALTY = np.array([0.5, 1e-3])  # that keep the slope near 1 and the offset finite
PLACES, FEWER_PLACES = 256, 64  # B, of all films and of resamples


class Stop(NamedTuple):
    """When EM ends: after so many steps, or when one moves no share by as much as is ``enough``."""

    steps: int
    enough: float


FIRST, AGAIN = Stop(300, 1e-6), Stop(150, 1e-4)  # of all films, and of resamples, which start there


@dataclass(frozen=True)
class Suspicion:
    """How probably each label is wrong, ``wrong [N, C]`` (NaN: not labelled), and how many are of each finding.

    ``expected [C]``, with 95 % intervals over patients of each finding and of all; None without resamples.
    """

    wrong: Doubles
    expected: Doubles
    intervals: Sequence[Interval | None]
    interval: Interval | None = None

    @property
    def total(self) -> float:
        return float(self.expected.sum())

    @property
    def numbers(self) -> NDArray[np.int64]:
        """``expected [C]`` in whole labels that add up to the whole of ``total``: the largest parts are rounded up."""
        whole = np.floor(self.expected).astype(np.int64)
        order = np.argsort(whole - self.expected, kind="stable")
        whole[order[: round(self.total) - int(whole.sum())]] += 1
        return whole

    def ranked(self, finding: int) -> NDArray[np.int64]:
        """Films of a finding that are labelled, the most suspect first."""
        order = np.argsort(-self.wrong[:, finding], kind="stable")  # NaN comes last
        return order[: int((~np.isnan(self.wrong[:, finding])).sum())]


@dataclass
class _Fit:
    """Of R sets of films at once: the line ``w [R, 2]``, ``a``: labelled 1 without, ``b``: labelled 0 with it, [R]."""

    w: Doubles
    a: Doubles
    b: Doubles


def suspicion(
    targets: NDArray[Any],
    probabilities: Doubles,
    patients: NDArray[Any],
    num_resamples: int = 0,
    *,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Suspicion:
    """How probably each label is wrong. ``targets [N, C]``: 1, 0, NaN; ``patients [N]``: for the intervals."""
    known = ~np.isnan(targets)
    numbers = numbered(patients)
    num_patients = int(numbers.max()) + 1
    columns = [
        _Column(_standard(probabilities[rows, c]), targets[rows, c] == 1, numbers[rows])
        for c, rows in enumerate(known.T)
    ]
    fits = _fit_together([one.counts(np.ones((1, num_patients)), PLACES) for one in columns], None, FIRST)
    wrong = np.full(targets.shape, np.nan)
    for c, (fit, one) in enumerate(zip(fits, columns, strict=True)):
        of_ones, of_zeros = _wrong(fit, one.z)
        wrong[known[:, c], c] = np.where(one.present, of_ones[0], of_zeros[0])
    expected = np.nansum(wrong, axis=0)
    if not num_resamples:
        return Suspicion(wrong, expected, [None] * len(expected))
    times = np.concatenate(list(drawn_patients(num_patients, num_resamples, seed)))
    drawn = [one.counts(times, FEWER_PLACES) for one in columns]
    fits = _fit_together(drawn, fits, AGAIN)
    sums = np.stack([_expected(fit, one) for fit, one in zip(fits, drawn, strict=True)])
    advance(num_resamples)
    bounds = [_interval(row, value) for row, value in zip(sums, expected, strict=True)]
    return Suspicion(wrong, expected, bounds, _interval(sums.sum(axis=0), float(expected.sum())))


Counts = tuple[Doubles, Doubles, Doubles]  # z [B], and how many labels 1 and 0 stand there, [R, B] each


@dataclass(frozen=True)
class _Column:
    """The labelled films of a finding: where each stands, whether it is labelled 1, and whose it is, ``[N]``."""

    z: Doubles
    present: NDArray[np.bool_]
    patients: NDArray[np.int64]

    def counts(self, times: NDArray[Any], places: int) -> Counts:
        """How many labels stand at each of so many places, each patient counted ``times [R, P]``."""
        edges = np.unique(np.quantile(self.z, np.linspace(0, 1, places + 1)[1:-1])) if len(self.z) else self.z
        place = np.searchsorted(edges, self.z)
        centers = np.bincount(place, self.z, places) / np.maximum(np.bincount(place, minlength=places), 1)
        cell = place + places * self.present
        counts = np.stack([np.bincount(cell, one[self.patients], 2 * places) for one in times]).astype(float)
        return centers, counts[:, places:], counts[:, :places]


def _standard(probabilities: Doubles) -> Doubles:
    z = np.asarray(logit(np.clip(probabilities, EDGE, 1 - EDGE)))
    return (z - z.mean()) / max(float(z.std()), 1e-3) if len(z) else z


def _fit_together(findings: list[Counts], start: list[_Fit] | None, stop: Stop) -> list[_Fit]:
    """Each finding by itself, then drawn towards what all have in common."""
    usual = np.full(len(findings[0][1]), USUAL)
    starts: Sequence[_Fit | None] = start or [None] * len(findings)
    first = [_fit(one, usual, usual, ALONE, fit, stop) for one, fit in zip(findings, starts, strict=True)]
    turned, ones, missed, present = (sum(parts) for parts in zip(*map(_shares, first, findings), strict=True))
    with_all = (np.asarray(turned) / np.maximum(ones, 1e-9), np.asarray(missed) / np.maximum(present, 1e-9))
    return [_fit(one, *with_all, TOGETHER, fit, stop) for one, fit in zip(findings, first, strict=True)]


def _fit(counts: Counts, turned: Doubles, missed: Doubles, strength: float, start: _Fit | None, stop: Stop) -> _Fit:
    """EM; ``turned`` and ``missed [R]``: shares of labels 1, and of films with the finding, that are labelled wrong."""
    z, ones, zeros = counts
    num_ones, number = ones.sum(axis=1), (ones + zeros).sum(axis=1)
    if start is None:
        offset = logit(np.clip((num_ones + 0.5) / (number + 1), 1e-6, 1 - 1e-6))
        start = _Fit(np.stack([np.ones_like(offset), offset], axis=1), USUAL * num_ones / np.maximum(number, 1), missed)
    fit = _Fit(np.broadcast_to(start.w, (len(ones), 2)).copy(), start.a, start.b)
    for _ in range(stop.steps):
        of_ones, of_zeros = _wrong(fit, z)
        with_finding = ones * (1 - of_ones) + zeros * of_zeros  # [R, B] films
        fit.w = _newton(fit.w, z, with_finding, ones + zeros)
        present = with_finding.sum(axis=1)
        share = ((ones * of_ones).sum(axis=1) + strength * turned) / (num_ones + strength)
        a = np.minimum(share * num_ones / np.maximum(number - present, 1), LARGEST)
        b = np.minimum(((zeros * of_zeros).sum(axis=1) + strength * missed) / (present + strength), LARGEST)
        of_all_ones = np.abs(a - fit.a) * number / np.maximum(num_ones, 1)
        moved = max(float(of_all_ones.max()), float(np.abs(b - fit.b).max()))
        fit.a, fit.b = a, b
        if moved < stop.enough:
            break
    return fit


def _newton(w: Doubles, z: Doubles, positive: Doubles, number: Doubles) -> Doubles:
    """Two steps of a logistic regression on ``positive`` of ``number [R, B]`` films."""
    for _ in range(2):
        q = expit(w[:, :1] * z + w[:, 1:])
        error, curve = number * q - positive, number * q * (1 - q)
        gradient = np.stack([error @ z, error.sum(axis=1)], axis=1) + PENALTY * (w - np.array([1.0, 0.0]))
        hessian = np.empty((len(w), 2, 2))
        hessian[:, 0, 0], hessian[:, 1, 1] = curve @ z**2 + PENALTY[0], curve.sum(axis=1) + PENALTY[1]
        hessian[:, 0, 1] = hessian[:, 1, 0] = curve @ z
        w = w - np.clip(np.linalg.solve(hessian, gradient[..., None])[..., 0], -1, 1)
        w[:, 0] = np.maximum(w[:, 0], LEAST_SLOPE)
    return w


def _wrong(fit: _Fit, z: Doubles) -> tuple[Doubles, Doubles]:
    """How probably a label 1, and a label 0, is wrong at each place, ``[R, B]``."""
    q = expit(fit.w[:, :1] * z + fit.w[:, 1:])
    a, b = np.reshape(fit.a, (-1, 1)), np.reshape(fit.b, (-1, 1))
    turned, missed = a * (1 - q), b * q
    return turned / (turned + (1 - b) * q + TINY), missed / (missed + (1 - a) * (1 - q) + TINY)


def _shares(fit: _Fit, counts: Counts) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Labels 1 that are wrong, of how many; films with the finding that are labelled 0, of how many: ``[R]`` each."""
    z, ones, zeros = counts
    of_ones, of_zeros = _wrong(fit, z)
    turned, missed = (ones * of_ones).sum(axis=1), (zeros * of_zeros).sum(axis=1)
    return turned, ones.sum(axis=1), missed, ones.sum(axis=1) - turned + missed


def _expected(fit: _Fit, counts: Counts) -> Doubles:
    turned, _, missed, _ = _shares(fit, counts)
    return turned + missed


def _interval(values: Doubles, estimate: float) -> Interval:
    low, high = np.percentile(values, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return min(float(low), estimate), max(float(high), estimate)
