"""Which weights, which merge and which gating suit an ensemble, by macro AP on labelled films.

Letters: N films, C findings. What is chosen on films scores too well on them; that is said where the choice is shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.scores.bootstrap import Interval, Ranking, interval, resample
from cxrlt_cli.scores.merging import MERGES, weighted_mean
from cxrlt_cli.scores.predictions import Predictions, blend, normal_gating

CHOSEN_AMONG = tuple(name for name, merge in MERGES.items() if merge.combine is weighted_mean)
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
    merged: Callable[[str], Sequence[Predictions]],
    targets: NDArray[Any],
    patients: NDArray[Any],
    *,
    findings: Sequence[str],
    normal: str | None,
    num_resamples: int,
    seed: int,
    num_threads: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Choice:
    """The ensemble with the best macro AP of ``findings`` on ``targets [N, C]`` (1, 0, NaN; in their order).

    ``merged``: the members, as a merge makes them of their views. Weights by greedy selection with replacement (Caruana
    et al., ICML 2004) for each merge. Gating by ``normal`` is only taken where the 95 % interval of what it adds, from
    resampled patients, lies above 0, since it is known to hurt; ranks are never gated.
    """
    best: tuple[float, str, tuple[float, ...]] = (-1.0, "mean", ())
    for mode in CHOSEN_AMONG:
        stack = [MERGES[mode].of_probabilities(member.select(findings).probabilities) for member in merged(mode)]
        ap, weights = _greedy(np.stack(stack), targets)
        best = max(best, (ap, mode, weights), key=lambda one: one[0])
        advance(1)
    _, mode, weights = best
    chosen = blend(merged(mode), weights, mode)
    plain = blend(merged("mean"), None, "mean")
    gates = normal is not None and mode != "rank"
    gated = {alpha: normal_gating(chosen, alpha, normal) for alpha in ALPHAS} if gates and normal else {}
    values = {alpha: one.select(findings).probabilities for alpha, one in gated.items()}
    strongest = max(values, key=lambda alpha: _ap(values[alpha], targets), default=0.0)
    judged = [plain.select(findings).probabilities, chosen.select(findings).probabilities]
    judged += [values[strongest]] if values else []
    resampled = resample(targets, judged, patients, num_resamples, seed=seed, num_threads=num_threads)
    macro = [one.macro_ap() for one in resampled]
    aps = [_ap(one, targets) for one in judged]
    added = interval(macro[2] - macro[1], aps[2] - aps[1], (-1.0, 1.0)) if values else None
    last = 2 if added is not None and added[0] > 0 else 1
    gain = aps[last] - aps[0]
    return Choice(
        weights=weights,
        merge=mode,
        alpha=strongest if last == 2 else 0.0,
        ap=aps[last],
        ap_ci=interval(macro[last], aps[last]),
        gain=gain,
        gain_ci=interval(macro[last] - macro[0], gain, (-1.0, 1.0)),
    )


def _greedy(stack: NDArray[np.float64], targets: NDArray[Any]) -> tuple[float, tuple[float, ...]]:
    """Draw the member that helps most, again and again; the best macro AP, and the shares of the draws up to there.

    ``stack [M, N, C]``: whose weighted mean ranks the films.
    """
    drawn, total = np.zeros(len(stack)), np.zeros(stack.shape[1:])
    best, weights = -1.0, drawn
    for _ in range(MAX_DRAWS):
        scores = [_ap(total + member, targets) for member in stack]
        index = int(np.argmax(scores))
        drawn, total = drawn + np.eye(len(stack))[index], total + stack[index]
        if scores[index] > best + 1e-9:
            best, weights = scores[index], drawn
    return best, tuple(float(weight) for weight in weights / weights.sum())


def _ap(values: NDArray[np.float64], targets: NDArray[Any]) -> float:
    """Macro AP over the findings that have a positive."""
    films, ones = np.arange(len(targets)), np.ones(len(targets))
    columns = zip(targets.T, values.T, strict=True)
    return float(np.nanmean([Ranking(target, column, films)(ones)[0] for target, column in columns]))
