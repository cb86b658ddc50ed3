"""AP and AUROC of resampled patients: exact scores of weighted films, each finding sorted once.

Letters: N films, C findings, P patients, R resamples. Patients are drawn, not films: films of a patient are alike, and
taking them for independent makes intervals too narrow. Memory does not grow with R beyond the scores themselves.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.scores import Doubles

Interval = tuple[float, float]

LEVEL = 0.95
CHUNK = 32  # resamples whose weights are held at once


@dataclass(frozen=True)
class Resampled:
    """AP and AUROC ``[R, C]`` of resampled patients; NaN where a resample has no positive (or no negative) film."""

    ap: Doubles
    auroc: Doubles
    num_patients: int
    positive_patients: NDArray[np.int64]  # [C], who have the finding
    fewest: NDArray[np.int64]  # [C], who have it or have it not: the fewer of both
    empty: Literal["skip", "zero"] = "skip"

    def macro_ap(self) -> Doubles:
        """Means ``[R]`` over the findings that a resample has a positive of; with ``zero`` the others count 0."""
        return _row_means(np.nan_to_num(self.ap, nan=0.0) if self.empty == "zero" else self.ap)

    def macro_auroc(self) -> Doubles:
        return _row_means(self.auroc)


class Ranking:
    """The films of one finding from the highest probability down; called with a weight for each patient.

    Gives AP (step-wise, ties grouped) and AUROC as scikit-learn has them with ``sample_weight``, in one pass over the
    films. ``targets [N]`` (NaN: left out), ``probabilities [N]``, ``patients [N]``: numbers from 0 to P - 1.

    ``prevalence``: AP is then what it would be if that share of the films were positive. Precision at each threshold
    follows from sensitivity and false-positive rate, which do not depend on how many films are positive:
    ``P = q TPR / (q TPR + (1 - q) FPR)`` with q the prevalence; the same as AP of films of which each positive weighs
    ``q / positives`` and each negative ``(1 - q) / negatives``. It wants a negative film.
    """

    def __init__(
        self,
        targets: NDArray[Any],
        probabilities: NDArray[Any],
        patients: NDArray[np.int64],
        prevalence: float | None = None,
    ) -> None:
        self._prevalence = prevalence
        films = np.flatnonzero(~np.isnan(targets))
        films = films[np.argsort(-probabilities[films], kind="stable")]
        values = probabilities[films]
        starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if len(films) else films
        ends = np.concatenate([starts[1:], [len(films)]]).astype(np.int64)
        self._positives = np.flatnonzero(targets[films] == 1)
        tie = np.searchsorted(starts, self._positives, side="right") - 1
        last = np.flatnonzero(np.concatenate([tie[1:] != tie[:-1], [True]])) if len(tie) else tie
        self._last = last  # the last positive of each tie that has one
        self._starts, self._ends = starts[tie[last]], ends[tie[last]]
        self._patients = patients[films].astype(np.int32)

    def __call__(self, weights: NDArray[Any]) -> tuple[float, float]:
        """AP and AUROC of films that count as often as ``weights [P]`` says of their patients; NaN without any.

        Fastest with int32: what is summed up stays in it, so that the films that are drawn must be below 2^31.
        """
        if not len(self._positives):
            return float("nan"), float("nan")
        each = np.take(weights, self._patients, mode="clip")
        through = np.cumsum(each, dtype=weights.dtype)  # weight of the films down to each
        hits = np.cumsum(each[self._positives], dtype=np.float64)[self._last]
        total, positive = float(through[-1]), hits[-1]
        if positive == 0:
            return float("nan"), float("nan")
        gained = np.diff(hits, prepend=0.0)
        reached = through[self._ends - 1].astype(np.float64)
        before = np.where(self._starts > 0, through[self._starts - 1], 0).astype(np.float64)
        wrong, wrong_before = reached - hits, before - (hits - gained)
        worth = 1.0  # of a negative film, where a positive one is worth 1
        if self._prevalence is not None:
            if total == positive:
                return float("nan"), float("nan")
            worth = (1 - self._prevalence) / self._prevalence * positive / (total - positive)
        ap = float((gained * hits / np.maximum(hits + worth * wrong, 1e-300)).sum() / positive)
        if total == positive:
            return ap, float("nan")
        below = (total - positive) - 0.5 * (wrong + wrong_before)  # negatives of lower probability, ties by half
        return ap, float((gained * below).sum() / (positive * (total - positive)))


def resample(
    targets: NDArray[Any],
    members: Sequence[NDArray[Any]],
    patients: NDArray[Any],
    num_resamples: int,
    *,
    seed: int = 0,
    num_threads: int = 1,
    empty: Literal["skip", "zero"] = "skip",
    advance: Callable[[int], None] = lambda _: None,
) -> list[Resampled]:
    """Scores of each of ``members`` (probabilities ``[N, C]``) on the same resamples of patients, so that they pair.

    ``targets [N, C]``: 1, 0, NaN; ``patients [N]``: whose film it is. Same seed, same resamples, on any number of
    threads.
    """
    numbers = numbered(patients)
    rankings = [[Ranking(targets[:, c], member[:, c], numbers) for c in range(targets.shape[1])] for member in members]
    scores = resample_rankings(
        rankings, numbers.max() + 1, num_resamples, seed=seed, num_threads=num_threads, advance=advance
    )
    having, fewest = deciding_patients(targets, numbers)
    number = int(numbers.max()) + 1
    return [Resampled(ap, auroc, number, having, fewest, empty) for ap, auroc in zip(*scores, strict=True)]


def resample_rankings(
    rankings: Sequence[Sequence[Ranking]],
    num_patients: int,
    num_resamples: int,
    *,
    seed: int = 0,
    num_threads: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> Doubles:
    """AP and AUROC ``[2, M, R, C]`` of M rows of C rankings of the same patients, all on the same resamples."""
    num_findings = len(rankings[0])
    scores = np.full((2, len(rankings), num_resamples, num_findings), np.nan)

    def judge(place: tuple[int, int]) -> None:
        member, finding = place
        for row, counts in enumerate(chunk):
            scores[:, member, first + row, finding] = rankings[member][finding](counts)

    places = [(m, c) for m in range(len(rankings)) for c in range(num_findings)]
    with ThreadPoolExecutor(num_threads) as pool:
        first = 0
        for chunk in drawn_patients(num_patients, num_resamples, seed):
            list(pool.map(judge, places))
            first += len(chunk)
            advance(len(chunk))
    return scores


def numbered(patients: NDArray[Any]) -> NDArray[np.int64]:
    """Each film's patient as a number from 0, ``[N]``."""
    names = list(dict.fromkeys(patients))
    place = {name: number for number, name in enumerate(sorted(names, key=str))}
    return np.fromiter(map(place.__getitem__, patients), np.int64, len(patients))


def patients_with(films: NDArray[np.bool_], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many patients have one of the films that a column marks, ``[N, C] -> [C]``."""
    return np.array([len(set(numbers[films[:, c]])) for c in range(films.shape[1])], np.int64)


def fewest_patients(targets: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many patients have a finding, or have it not: the fewer of both, ``[N, C] -> [C]``."""
    return np.minimum(patients_with(targets == 1, numbers), patients_with(targets == 0, numbers))


def deciding_patients(targets: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many patients decide how sure AP is (who have the finding), and AUROC (the fewer), ``[N, C] -> [2, C]``."""
    return np.stack([patients_with(targets == 1, numbers), fewest_patients(targets, numbers)])


def drawn_patients(num_patients: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """How often each patient was drawn, ``[chunk, P]``, a chunk of resamples after another."""
    rng = np.random.default_rng(seed)
    for first in range(0, num_resamples, CHUNK):
        number = min(CHUNK, num_resamples - first)
        draws = [rng.integers(0, num_patients, num_patients) for _ in range(number)]
        yield np.stack([np.bincount(row, minlength=num_patients).astype(np.int32) for row in draws])


def _row_means(values: Doubles) -> Doubles:
    """Means over the columns that are no NaN; NaN where all are."""
    known = ~np.isnan(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan))
