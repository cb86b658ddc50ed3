"""Which weights, which merge and which gating suit an ensemble, by macro AP on labelled films, and how good that is.

Letters: N films, C findings, M members, K folds. What is chosen on films scores too well on them. So it is chosen once
more for each fold of patients, on all others, and judged by how that blends the films of the fold.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import Interval, resample
from cxrlt_cli.scores.calibration import Calibration, CalibrationKind
from cxrlt_cli.scores.intervals import Student, gain_interval, interval
from cxrlt_cli.scores.merging import MERGES, weighted_mean
from cxrlt_cli.scores.metrics import expected_calibration_error
from cxrlt_cli.scores.predictions import Predictions, blend, normal_gating

CHOSEN_AMONG = tuple(name for name, merge in MERGES.items() if merge.combine is weighted_mean)
ALPHAS = (0.25, 0.5, 1.0)
MAX_DRAWS = 20  # of members, with replacement: weights are multiples of one over their number

ViewWeights = Mapping[str, float] | None
Merged = Callable[[str, ViewWeights], Sequence[Predictions]]  # the members, by how views and films of a study merge
Mask = NDArray[np.bool_]
Column = tuple[NDArray[Any], Doubles]  # targets and values of a finding


@dataclass(frozen=True)
class Gating:
    """The strength of ``normal_gating`` that was best, and what it adds to macro AP on the films it was chosen on."""

    alpha: float
    gain: float
    gain_ci: Interval | None  # None where it adds nothing

    @property
    def helps(self) -> bool:
        return self.gain_ci is not None and self.gain_ci[0] > 0


@dataclass(frozen=True)
class Recipe:
    """How members become one prediction."""

    weights: tuple[float, ...]
    merge: str
    gating: Gating | None = None  # None: there was none to choose
    view_weights: ViewWeights = None  # of films in the mean of a study

    @property
    def alpha(self) -> float:
        """Of ``normal_gating``; 0: none."""
        return self.gating.alpha if self.gating is not None and self.gating.helps else 0.0

    def blend(self, merged: Merged, normal: str | None) -> Predictions:
        blended = blend(merged(self.merge, self.view_weights), self.weights, self.merge)
        return normal_gating(blended, self.alpha, normal) if self.alpha and normal is not None else blended


@dataclass(frozen=True)
class Choice:
    """What was chosen on all films, and what such a choice is worth on films that it was not made on.

    ``ap`` and ``gain`` (over the mean of all members alike) are those of ``blended``, in which each film is blended as
    was best on the films of other folds. Without folds, ``blended`` and they are of the films that were chosen on.
    """

    recipe: Recipe
    num_folds: int  # 0: none
    blended: Predictions
    ap: float
    ap_ci: Interval | None
    gain: float
    gain_ci: Interval | None
    calibration: Calibration | None  # of the blend for use, fitted on all films; None of ranks
    ece: Mapping[str, float]  # mean calibration error of ``blended`` as it is, and calibrated, by the same folds


def choose(
    merged: Merged,
    targets: NDArray[Any],
    patients: NDArray[Any],
    *,
    findings: Sequence[str],
    normal: str | None,
    fold: NDArray[np.int64] | None,
    num_resamples: int,
    seed: int,
    num_threads: int,
    view_weights: Sequence[ViewWeights] = (None,),
    advance: Callable[[int], None] = lambda _: None,
) -> Choice:
    """The ensemble with the best macro AP of ``findings`` on ``targets [N, C]`` (1, 0, NaN; in their order).

    Weights by greedy selection with replacement (Caruana et al., ICML 2004) for each merge. Gating by ``normal`` is
    only taken where the 95 % interval of what it adds, from resampled patients, lies above 0, since it is known to
    hurt; ranks are never gated. ``fold [N]``, from 0: a patient is in one alone, and each leaves positives to the
    others; None judges the choice on the films it was made on. ``view_weights``: to choose among, of studies.
    """
    num_folds = 0 if fold is None else int(fold.max()) + 1
    folds = np.full(len(targets), -1) if fold is None else fold
    parts = [np.asarray(folds != one, bool) for one in (-2, *range(num_folds))]  # the first: all films

    def gating(blended: Predictions, part: Mask) -> Gating | None:
        assert normal is not None, "asked for"
        rest = {"num_resamples": num_resamples, "seed": seed, "num_threads": num_threads}
        plain = blended.select(findings).probabilities[part]
        gated = {alpha: normal_gating(blended, alpha, normal).select(findings).probabilities[part] for alpha in ALPHAS}
        return _gating(plain, gated, targets[part], patients[part], **rest)

    recipes = []
    weighted = _weighted(merged, view_weights, targets, findings, parts, num_threads, advance)
    for recipe, part in zip(weighted, parts, strict=True):
        gates = normal is not None and recipe.merge != "rank"
        judged = gating(recipe.blend(merged, None), part) if gates else None
        recipes.append(replace(recipe, gating=judged))
    final = recipes[0].blend(merged, normal).select(findings)
    values = final.probabilities.copy()
    calibration = None if recipes[0].merge == "rank" else Calibration.fit(final, targets, patients)
    calibrated = {} if calibration is None else _calibrated(final, targets, parts[0], parts[0])
    for one, recipe in enumerate(recipes[1:]):
        own = recipe.blend(merged, normal).select(findings)
        own = replace(own, probabilities=on_scale(own.probabilities, final.probabilities))
        values[folds == one] = own.probabilities[folds == one]
        for method, held_out in _calibrated(own, targets, parts[one + 1], folds == one).items() if calibrated else ():
            calibrated[method][folds == one] = held_out
    plain = blend(merged("mean", None), None, "mean").select(findings).probabilities
    pair = [plain, values]
    resampled = resample(targets, pair, patients, num_resamples, seed=seed, num_threads=num_threads)
    macro, (plain_ap, ap) = resampled[1].macro_ap(), [macro_ap(one, targets) for one in pair]
    return Choice(
        recipe=recipes[0],
        num_folds=num_folds,
        blended=Predictions(final.ids, final.findings, values),
        ap=ap,
        ap_ci=interval(macro, ap, Student.of(resampled[1].ap, resampled[1].positive_patients)),
        gain=ap - plain_ap,
        gain_ci=gain_interval(resampled[0], resampled[1], ap - plain_ap),
        calibration=calibration,
        ece={method: _ece(one, targets) for method, one in calibrated.items()},
    )


def on_scale(values: Doubles, scale: Doubles) -> Doubles:
    """``values [N, C]`` by their ranks as what has these ranks in ``scale [N, C]``; ties stay ties.

    Blends of several folds are of different weights and merges, and the same number says different things in them. On
    one scale they can be ranked together.
    """
    places = np.arange(len(values))
    columns = zip(values.T, scale.T, strict=True)
    return np.stack([np.interp(rankdata(own) - 1, places, np.sort(other)) for own, other in columns], axis=1)


def _weighted(
    merged: Merged,
    view_weights: Sequence[ViewWeights],
    targets: NDArray[Any],
    findings: Sequence[str],
    parts: Sequence[Mask],
    num_threads: int,
    advance: Callable[[int], None],
) -> list[Recipe]:
    """The best weights, merge and weights of views on each of ``parts`` of the films."""
    best: list[tuple[float, Recipe]] = [(-1.0, Recipe((), "mean"))] * len(parts)
    with ThreadPoolExecutor(num_threads) as pool:
        for mode, of_views in product(CHOSEN_AMONG, view_weights):
            members = (member.select(findings).probabilities for member in merged(mode, of_views))
            stack = [MERGES[mode].of_probabilities(member) for member in members]
            found = pool.map(lambda part, stack=stack: _greedy(stack, targets, part), parts)
            mine = [(ap, Recipe(weights, mode, None, of_views)) for ap, weights in found]
            best = [max(pair, key=lambda one: one[0]) for pair in zip(best, mine, strict=True)]
            advance(1)
    return [recipe for _, recipe in best]


def _greedy(stack: Sequence[Doubles], targets: NDArray[Any], part: Mask) -> tuple[float, tuple[float, ...]]:
    """Draw the member that helps most, again and again; the best macro AP, and the shares of the draws up to there.

    ``stack``: M of ``[N, C]``, whose weighted mean ranks the films; ``part [N]``: those that count.
    """
    drawn, total = np.zeros(len(stack)), np.zeros_like(stack[0])
    best, weights = -1.0, drawn
    for _ in range(MAX_DRAWS if len(stack) > 1 else 1):
        scores = [_mean_ap(_summed(total, member, targets, part)) for member in stack]
        index = int(np.argmax(scores))
        drawn = drawn + np.eye(len(stack))[index]
        total += stack[index]
        if scores[index] > best + 1e-9:
            best, weights = scores[index], drawn
    return best, tuple(float(weight) for weight in weights / weights.sum())


def _gating(
    plain: Doubles,
    gated: dict[float, Doubles],
    targets: NDArray[Any],
    patients: NDArray[Any],
    num_resamples: int,
    seed: int,
    num_threads: int,
) -> Gating:
    """The best strength, by its macro AP; resampled where it is better than ``plain``."""
    without = macro_ap(plain, targets)
    aps = {alpha: macro_ap(values, targets) for alpha, values in gated.items()}
    alpha = max(aps, key=lambda one: aps[one])
    gain = aps[alpha] - without
    if gain <= 0:
        return Gating(alpha, gain, None)
    pair = [plain, gated[alpha]]
    before, after = resample(targets, pair, patients, num_resamples, seed=seed, num_threads=num_threads)
    return Gating(alpha, gain, gain_interval(before, after, gain))


def _calibrated(blended: Predictions, targets: NDArray[Any], part: Mask, judged: Mask) -> dict[str, Doubles]:
    """The films ``judged`` as they are and by calibrations that were fitted on a ``part``."""
    fitted = Calibration.fit(_rows(blended, part), targets[part])
    films = _rows(blended, judged)
    methods: tuple[CalibrationKind, ...] = ("platt", "temperature")
    return {
        "none": films.probabilities.copy(),
        **{method: fitted.calibrate(films, method).probabilities for method in methods},
    }


def _rows(predictions: Predictions, part: Mask) -> Predictions:
    return Predictions(predictions.ids[part], predictions.findings, predictions.probabilities[part])


def _ece(values: Doubles, targets: NDArray[Any]) -> float:
    """The mean over the findings that have a positive."""
    columns = [(target, column) for target, column in zip(targets.T, values.T, strict=True) if (target == 1).any()]
    known = [~np.isnan(target) for target, _ in columns]
    errors = [expected_calibration_error(y[k], p[k]) for (y, p), k in zip(columns, known, strict=True)]
    return float(np.mean([error for error in errors if error is not None]))


def macro_ap(values: Doubles, targets: NDArray[Any]) -> float:
    """Mean AP of ``values [N, C]`` over the findings of ``targets [N, C]`` (1, 0, NaN) that have a positive."""
    return _mean_ap(zip(targets.T, values.T, strict=True))


def _summed(one: Doubles, other: Doubles, targets: NDArray[Any], part: Mask) -> Iterator[Column]:
    """The sum ``[N, C]`` of two on a part of the films, without a copy of the whole."""
    for target, mine, theirs in zip(targets.T, one.T, other.T, strict=True):
        yield target[part], (mine + theirs)[part]


def _mean_ap(columns: Iterable[Column]) -> float:
    return float(np.nanmean([_finding_ap(target, values) for target, values in columns]))


def _finding_ap(target: NDArray[Any], values: Doubles) -> float:
    """AP as ``Ranking`` has it, of films that count alike, as only positive ones need a place; NaN without any."""
    tied, number = np.unique(values[target == 1], return_counts=True)
    reached = np.searchsorted(np.sort(-values[~np.isnan(target)]), -tied[::-1], side="right")
    hits = np.cumsum(number[::-1])
    return float((number[::-1] * hits / reached).sum() / hits[-1]) if len(tied) else float("nan")
