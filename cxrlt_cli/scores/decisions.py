"""Decisions, 0 or 1 or none, held against the truth: sensitivity, specificity, predictive values, with intervals.

Letters: N films, C findings, P patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.labels import band
from cxrlt_cli.scores import Floats
from cxrlt_cli.scores.metrics import FindingScore, Scores, Unit, prevalence
from cxrlt_cli.scores.predictions import LEFT_ASIDE, Decisions, Predictions
from cxrlt_cli.scores.proportions import Share, share_of
from cxrlt_cli.tables.number_table import read_numbers


def read_predicted(path: Path, id_column: str = "ImageID") -> Predictions:
    """What a table holds: decisions where every cell is 0, 1 or empty and not all are empty, else probabilities.

    Raises DataError as ``Predictions.read`` does.
    """
    table = read_numbers(path, id_column, LEFT_ASIDE)
    if table.decided:
        return Decisions.of_table(table)
    table.require_numbers()
    return Predictions.of_table(table)


@dataclass(frozen=True)
class DecisionScore:
    """Decisions on one finding; shares are of the films that were decided."""

    name: str
    positives: int  # films that are labelled, decided or not
    negatives: int
    undecided: int
    undecided_positives: int
    sensitivity: Share
    specificity: Share
    ppv: Share
    npv: Share
    f1: float | None


def score_decisions(
    targets: NDArray[Any], values: NDArray[Any], patients: NDArray[Any], findings: Sequence[str]
) -> tuple[DecisionScore, ...]:
    """Of ``targets [N, C]`` (1, 0, NaN: not labelled), ``values [N, C]`` (1, 0, NaN: left open), ``patients [N]``.

    Predictive values are those at the prevalence of these films: where a finding is rarer, a positive one is lower.
    """
    return tuple(_one(name, targets[:, c], values[:, c], patients) for c, name in enumerate(findings))


def _one(name: str, targets: NDArray[Any], values: NDArray[Any], patients: NDArray[Any]) -> DecisionScore:
    has, lacks, open_ = targets == 1, targets == 0, np.isnan(values)
    said, denied = values == 1, values == 0

    def share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Share:
        return share_of(hits[among], patients[among])

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
