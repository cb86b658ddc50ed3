"""Thresholds for a wanted sensitivity or predictive value on labelled films, and what decisions are worth.

Letters: N films. A film is decided positive at or above a threshold. A threshold is too good on the films that it was
chosen on: what it is worth is told of other patients, fold by fold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.proportions import Share, share_of

LEAST_FLAGGED = 10  # patients with a positive decision, from which a predictive value is believed

ThresholdOf = Callable[[Doubles, Doubles, NDArray[Any]], float | None]  # of targets, scores, patients


@dataclass(frozen=True)
class Worth:
    """What decisions for films with known labels are worth; undecided films count in none."""

    sensitivity: Share
    specificity: Share
    ppv: Share


def for_sensitivity(share: float) -> ThresholdOf:
    """The highest threshold that finds the share of the positive films; none without any."""

    def threshold(targets: Doubles, scores: Doubles, patients: NDArray[Any]) -> float | None:
        found = np.sort(scores[targets == 1])[::-1]
        return float(found[int(np.ceil(share * len(found) - 1e-9)) - 1]) if len(found) else None

    return threshold


def for_ppv(share: float) -> ThresholdOf:
    """The lowest threshold at which the share of the films decided positive are; none where no threshold does.

    Those must be of ``LEAST_FLAGGED`` patients: the highest scores of a few say nothing.
    """

    def threshold(targets: Doubles, scores: Doubles, patients: NDArray[Any]) -> float | None:
        order = np.argsort(-scores, kind="stable")
        values, hits = scores[order], np.cumsum(targets[order] == 1)
        last = np.flatnonzero(np.append(values[1:] != values[:-1], True)) if len(values) else order
        _, first = np.unique(patients[order].astype(str), return_index=True)
        flagged = np.cumsum(np.bincount(first, minlength=len(order)))
        good = last[(hits[last] >= share * (last + 1) - 1e-9) & (flagged[last] >= LEAST_FLAGGED)]
        return float(values[good[-1]]) if len(good) else None

    return threshold


def held_out(
    rule: ThresholdOf,
    targets: Doubles,
    scores: Doubles,
    patients: NDArray[Any],
    fold: NDArray[np.int64],
) -> Doubles:
    """Each film decided by the threshold of the other folds, ``[N]``: 1, 0, and NaN where those have none."""
    decided = np.full(len(targets), np.nan)
    for one in np.unique(fold):
        others, mine = fold != one, fold == one
        threshold = rule(targets[others], scores[others], patients[others])
        if threshold is not None:
            decided[mine] = scores[mine] >= threshold
    return decided


def worth_of(targets: Doubles, decided: Doubles, patients: NDArray[Any]) -> Worth:
    """Of decisions ``[N]`` (1, 0, NaN) for films with labels ``[N]`` (1, 0)."""
    taken = ~np.isnan(decided)
    positive, flagged = targets == 1, decided == 1
    return Worth(
        sensitivity=share_of(flagged[taken & positive], patients[taken & positive]),
        specificity=share_of(~flagged[taken & ~positive], patients[taken & ~positive]),
        ppv=share_of(positive[taken & flagged], patients[taken & flagged]),
    )
