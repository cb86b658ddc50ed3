"""What a finding's probabilities are worth to whoever reads by them: operating points, and net benefit.

Letters: N films, C findings, T thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.scores import Doubles, Floats
from cxrlt_cli.scores.bootstrap import fewest_patients, numbered
from cxrlt_cli.scores.differences import MIN_EACH
from cxrlt_cli.scores.operating_points import Worth, for_sensitivity, held_out, worth_of
from cxrlt_cli.scores.proportions import Share

SENSITIVITIES = (0.8, 0.9, 0.95)
NUM_FOLDS = 5


@dataclass(frozen=True)
class Point:
    """The threshold for a wanted sensitivity, and what such thresholds are worth on patients of other folds."""

    finding: str
    wanted: float
    threshold: float
    worth: Worth

    def to_json(self) -> dict[str, Any]:
        """Shares as value and 95 % interval; ``reads``: films that are read for one with the finding, 1 / PPV."""
        shares = {"sensitivity": self.worth.sensitivity, "specificity": self.worth.specificity, "ppv": self.worth.ppv}
        named = {name: {"value": one.value, "ci": [one.low, one.high]} for name, one in shares.items() if one.films}
        return {"finding": self.finding, "wanted": self.wanted, "threshold": self.threshold, **named,
                "reads": reads(self.worth.ppv)}  # fmt: skip


def reads(ppv: Share) -> dict[str, Any] | None:
    """How many films are flagged for one that has the finding, with its interval; None where none that has it is."""
    if not ppv.hits or ppv.value is None:
        return None
    return {"value": 1 / ppv.value, "ci": [1 / ppv.high, 1 / ppv.low]}


def operating_points(
    targets: NDArray[Any],
    probabilities: Doubles,
    patients: NDArray[Any],
    fold: NDArray[np.int64],
    findings: Sequence[str],
    sensitivities: Sequence[float] = SENSITIVITIES,
) -> list[Point]:
    """Of the findings that ``MIN_EACH`` patients have and as many have not.

    ``targets [N, C]`` (1, 0, NaN), ``probabilities [N, C]``, ``patients [N]``, and ``fold [N]``, in which no patient is
    twice. A threshold is too good on the films that it was chosen on: its worth is that of the thresholds of the other
    folds on the films of each.
    """
    numbers = numbered(patients)
    points = []
    for c in np.flatnonzero(fewest_patients(targets, numbers) >= MIN_EACH).tolist():
        rows = np.flatnonzero(~np.isnan(targets[:, c]))
        y, p, whose = targets[rows, c].astype(np.float64), probabilities[rows, c], numbers[rows]
        for wanted in sensitivities:
            rule = for_sensitivity(wanted)
            threshold = rule(y, p, whose)
            assert threshold is not None, "it has positives"
            worth = worth_of(y, held_out(rule, y, p, whose, fold[rows]), whose)
            points.append(Point(findings[c], wanted, threshold, worth))
    return points


def net_benefit(targets: Floats, probabilities: Floats, thresholds: Doubles) -> Doubles:
    """``TP/N - FP/N * t / (1 - t)`` at each threshold t, ``[T]``, of the decisions ``probability >= t``.

    Vickers & Elkin, Medical Decision Making 2006: whoever acts at t weighs a needless act against a needed one as t to
    1 - t. To act on nobody has 0; to act on all is what all probabilities of 1 have.
    """
    order = np.argsort(-probabilities, kind="stable")
    hits = np.concatenate([[0.0], np.cumsum(targets[order] == 1)])
    flagged = np.searchsorted(-probabilities[order], -thresholds, side="right")
    right = hits[flagged]
    odds = thresholds / (1 - thresholds)
    return np.asarray((right - (flagged - right) * odds) / len(targets), np.float64)
