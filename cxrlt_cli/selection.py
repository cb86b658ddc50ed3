"""Which weights, which merge and which gating suit an ensemble, by macro AP on labelled films.

Letters: N films, C findings. What is chosen on films scores too well on them; that is said where the choice is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.bootstrap import Interval, Ranking, interval, resample
from cxrlt_cli.predictions import Predictions, blend, normal_gating

MERGES = ("mean", "logit_mean", "gmean", "rank")
ALPHAS = (0.25, 0.5, 1.0)
MAX_DRAWS = 20  # of members, with replacement: weights are multiples of one over their number


@dataclass(frozen=True)
class Choice:
    """An ensemble, its macro AP on the films it was chosen on, and how much it is above all members alike."""

    weights: tuple[float, ...]
    merge: str
    alpha: float  # of normal_gating; 0: none
    ap: float
    ap_ci: Interval | None
    gain: float
    gain_ci: Interval | None


def choose(
    members: Sequence[Predictions],
    targets: NDArray[Any],
    patients: NDArray[Any],
    *,
    normal: str | None,
    num_resamples: int,
    seed: int,
    num_threads: int,
) -> Choice:
    """The ensemble of ``members`` with the best macro AP on ``targets [N, C]`` (1, 0, NaN).

    Weights by greedy selection with replacement (Caruana et al., ICML 2004) for each merge. Gating is only taken where
    the 95 % interval of what it adds, from resampled patients, lies above 0: it is known to hurt.
    """
    candidates = [(mode, _greedy(members, targets, mode)) for mode in MERGES]
    mode, weights = max(candidates, key=lambda candidate: _ap(blend(members, candidate[1], candidate[0]), targets))
    chosen = blend(members, weights, mode)
    plain = blend(members, None, "mean")
    gated = {alpha: normal_gating(chosen, alpha, normal) for alpha in ALPHAS} if normal else {}
    best = max(gated, key=lambda alpha: _ap(gated[alpha], targets), default=0.0)
    judged = [plain, chosen, *([gated[best]] if gated else [])]
    resampled = resample(
        targets,
        [one.probabilities for one in judged],
        patients,
        num_resamples,
        seed=seed,
        num_threads=num_threads,
    )
    macro = [one.macro_ap() for one in resampled]
    aps = [_ap(one, targets) for one in judged]
    added = interval(macro[-1] - macro[1], aps[-1] - aps[1]) if gated else None
    last = 2 if added is not None and added[0] > 0 else 1
    gain = aps[last] - aps[0]
    return Choice(
        weights=weights,
        merge=mode,
        alpha=best if last == 2 else 0.0,
        ap=aps[last],
        ap_ci=interval(macro[last], aps[last]),
        gain=gain,
        gain_ci=interval(macro[last] - macro[0], gain),
    )


def _greedy(members: Sequence[Predictions], targets: NDArray[Any], mode: str) -> tuple[float, ...]:
    """Draw the member that helps most, again and again; the shares of the draws up to the best."""
    drawn = np.zeros(len(members))
    best, weights = -1.0, drawn
    for _ in range(MAX_DRAWS):
        trials = [drawn + np.eye(len(members))[index] for index in range(len(members))]
        scores = [_ap(blend(members, trial, mode), targets) for trial in trials]
        drawn = trials[int(np.argmax(scores))]
        if max(scores) > best + 1e-9:
            best, weights = max(scores), drawn
    return tuple(float(weight) for weight in weights / weights.sum())


def _ap(predictions: Predictions, targets: NDArray[Any]) -> float:
    """Macro AP over the findings that have a positive."""
    films = np.arange(len(targets))
    ones = np.ones(len(targets))
    columns = zip(targets.T, predictions.probabilities.T, strict=True)
    return float(np.nanmean([Ranking(target, column, films)(ones)[0] for target, column in columns]))
