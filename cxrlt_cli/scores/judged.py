"""Predictions held against the truth: their scores as ``evaluate`` was asked for them, with intervals."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.machine import num_cores
from cxrlt_cli.scores import Doubles, Floats
from cxrlt_cli.scores.bootstrap import Resampled, resample
from cxrlt_cli.scores.metrics import Scores, compare, score
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable


@dataclass(frozen=True)
class Judged:
    """Predictions and truth for the same films and findings, and how they agree."""

    path: Path
    predictions: Predictions
    truth: LabelTable
    scores: Scores
    resampled: Resampled | None = None
    warning: str = ""  # where films may have been predicted by a model that was trained on them

    def share_below(self, c: int) -> Doubles:
        """Of the films labelled for a finding, the share with a lower probability than each film, ``[N]``."""
        values = self.predictions.probabilities[:, c]
        ordered = np.sort(values[~np.isnan(self.truth.targets[:, c])])
        return np.searchsorted(ordered, values) / max(len(ordered), 1)


def scored(
    predictions: Predictions,
    truth: LabelTable,
    options: EvaluateOptions,
    frequencies: Floats | None,
    has_patients: bool,
) -> Scores:
    return score(
        truth.targets,
        predictions.probabilities,
        predictions.findings,
        frequencies=frequencies,
        threshold=options.threshold,
        empty=options.empty,
        num_patients=truth.num_patients if has_patients else None,
        unit="film" if options.per_study is None else "study",
    )


def with_intervals(judged: list[Judged], options: EvaluateOptions, advance: Callable[[int], None]) -> list[Judged]:
    """The scores with intervals, on the same resampled patients."""
    resampled: list[Resampled] = []
    if options.bootstrap:
        resampled = resample(
            judged[0].truth.targets,
            [one.predictions.probabilities for one in judged],
            judged[0].truth.patients,
            options.bootstrap,
            seed=options.seed,
            num_threads=num_cores(),
            empty=options.empty,
            advance=advance,
        )
        judged = [
            replace(one, scores=one.scores.with_intervals(mine), resampled=mine)
            for one, mine in zip(judged, resampled, strict=True)
        ]
    return judged


def with_comparison(first: Judged, second: Judged) -> Judged:
    """The first, with what it is above the second."""
    resampled = [one.resampled for one in (first, second) if one.resampled is not None]
    return replace(first, scores=replace(first.scores, comparison=compare(first.scores, second.scores, resampled)))
