"""Decisions, 0 or 1 or none, held against the truth: sensitivity, specificity, predictive values, with intervals.

Letters: N films, C findings, P patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.labels import band
from cxrlt_cli.scores import Floats
from cxrlt_cli.scores.bootstrap import LEVEL, Interval, numbered
from cxrlt_cli.scores.metrics import FindingScore, Scores, Unit, prevalence
from cxrlt_cli.scores.predictions import Predictions, numbers_of, read_cells
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tables.values import MISSING

Z = float(ndtri((1 + LEVEL) / 2))


@dataclass(frozen=True)
class Decisions:
    """``ids [N]``, ``findings [C]`` and ``values [N, C]``: 1, 0, or NaN where it is left open."""

    ids: Texts
    findings: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(set(self.ids)) < len(self.ids):
            films, times = np.unique(self.ids.astype(str), return_counts=True)
            raise DataError(f"Decisions hold a film more than once: {listed(list(films[times > 1]))}.")

    def select(self, findings: Sequence[str]) -> "Decisions":
        """These findings, in this order."""
        columns = [self.findings.index(name) for name in findings]
        return Decisions(self.ids, tuple(findings), self.values[:, columns])

    def rows(self, ids: Sequence[str]) -> "Decisions":
        """These films, in this order."""
        position = {film: row for row, film in enumerate(self.ids)}
        keep = [position[film] for film in ids]
        return Decisions(self.ids[keep], self.findings, self.values[keep])


def read_predicted(path: Path, id_column: str = "ImageID") -> Predictions | Decisions:
    """What a table holds: decisions where every cell is 0, 1 or empty and not all are empty, else probabilities.

    Raises DataError as ``Predictions.read`` does.
    """
    ids, frame = read_cells(path, id_column)
    empty = np.stack([frame[name].str.lower().isin(MISSING) for name in frame.columns], axis=1)
    numbers = numbers_of(frame)
    if empty.all() or not (np.isin(numbers, (0, 1)) | empty).all():
        return Predictions.of_cells(path, ids, frame)
    try:
        return Decisions(ids, tuple(frame.columns), np.where(empty, np.nan, numbers))
    except DataError as error:
        raise DataError(f"{path}: {error.message}") from error


@dataclass(frozen=True)
class Share:
    """A share of films, such as the sensitivity, and its 95 % interval; of how many films it is one."""

    value: float
    ci: Interval
    num_films: int


@dataclass(frozen=True)
class DecisionScore:
    """Decisions on one finding; shares are of the films that were decided, None where there are no such films."""

    name: str
    positives: int  # films that are labelled, decided or not
    negatives: int
    undecided: int
    undecided_positives: int
    sensitivity: Share | None
    specificity: Share | None
    ppv: Share | None
    npv: Share | None
    f1: float | None


def score_decisions(
    targets: NDArray[Any], values: NDArray[Any], patients: NDArray[Any], findings: Sequence[str]
) -> tuple[DecisionScore, ...]:
    """Of ``targets [N, C]`` (1, 0, NaN: not labelled), ``values [N, C]`` (1, 0, NaN: left open), ``patients [N]``.

    Predictive values are those at the prevalence of these films: where a finding is rarer, a positive one is lower.
    """
    numbers = numbered(patients)
    return tuple(_one(name, targets[:, c], values[:, c], numbers) for c, name in enumerate(findings))


def _one(name: str, targets: NDArray[Any], values: NDArray[Any], patients: NDArray[np.int64]) -> DecisionScore:
    has, lacks, open_ = targets == 1, targets == 0, np.isnan(values)
    said, denied = values == 1, values == 0

    def share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Share | None:
        films = np.flatnonzero(among)
        if not len(films):
            return None
        return share_of(hits[films], patients[films])

    right, wrong = int((has & said).sum()), int((has & denied).sum() + (lacks & said).sum())
    decided = has & ~open_
    return DecisionScore(
        name=name,
        positives=int(has.sum()),
        negatives=int(lacks.sum()),
        undecided=int((open_ & (has | lacks)).sum()),
        undecided_positives=int((open_ & has).sum()),
        sensitivity=share(said, decided),
        specificity=share(denied, lacks & ~open_),
        ppv=share(has, said & (has | lacks)),
        npv=share(lacks, denied & (has | lacks)),
        f1=2 * right / (2 * right + wrong) if decided.any() else None,
    )


def share_of(hits: NDArray[np.bool_], patients: NDArray[Any]) -> Share:
    """The share of films ``[N]`` that are ``hits``, with Wilson's interval (JASA 1927) over patients.

    Films of a patient are alike: they count as n / d films, where d is the variance of the share over patients by that
    of as many independent films (the design effect), at least 1; few patients make d uncertain, and count for less by
    Student's t (Korn & Graubard, Survey Methodology 1998). Where all or no films are hits d is not known, and each
    patient counts once. With one film a patient it is Wilson's as it is.
    """
    share, number = float(hits.mean()), len(hits)
    whose = numbered(patients)
    films = np.bincount(whose)
    num_patients = len(films)
    worth = float(num_patients)
    if 0 < share < 1 and 1 < num_patients < number:
        spread = np.bincount(whose, hits) - share * films
        variance = num_patients / (num_patients - 1) * float((spread**2).sum()) / number**2
        effect = max(1.0, variance / (share * (1 - share) / number))
        worth = number / effect * float(Z / stdtrit(num_patients - 1, (1 + LEVEL) / 2)) ** 2
    return Share(share, wilson(share, worth), number)


def wilson(share: float, number: float) -> Interval:
    """Wilson's 95 % interval of a share of ``number`` films, which need be no whole number."""
    middle = (share + Z**2 / (2 * number)) / (1 + Z**2 / number)
    half = Z / (1 + Z**2 / number) * float(np.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2)))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def as_scores(
    scores: Sequence[DecisionScore],
    targets: NDArray[Any],
    frequencies: Floats | None,
    num_patients: int | None,
    unit: Unit = "film",
) -> Scores:
    """F1 of decisions, in the shape of the scores of probabilities; what decisions do not have is None."""
    prevalences = prevalence(targets)
    bands = prevalences if frequencies is None else frequencies
    findings = tuple(
        FindingScore(
            name=one.name,
            positives=one.positives,
            prevalence=float(prevalences[c]),
            frequency=float(bands[c]),
            band=band(float(bands[c])),
            ap=None,
            auroc=None,
            f1=one.f1,
            threshold=None,
            ece=None,
        )
        for c, one in enumerate(scores)
    )
    return Scores(findings, len(targets), num_patients, None, unit=unit)
