"""Scores of films that were perturbed more and more: AP and AUROC by strength, and how fast they fall.

Letters: V versions of each film (as it is, then the strengths of each kind of perturbation), N films, C findings, R
resamples of patients, which all versions share, so that differences between them are of the same patients.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import Interval, resample
from cxrlt_cli.scores.intervals import signed_interval
from cxrlt_cli.scores.metrics import score


@dataclass(frozen=True)
class Kind:
    """A kind of perturbation: its name, its strengths, and their unit."""

    name: str
    strengths: tuple[float, ...]
    unit: str


@dataclass(frozen=True)
class Level:
    """Macro AP and AUROC of one version of the films; None where there is none."""

    ap: float | None
    auroc: float | None
    ap_ci: Interval | None = None
    auroc_ci: Interval | None = None


@dataclass(frozen=True)
class Trend:
    """One kind at each strength. Slopes: change a step, by least squares; films as they are stand before the first."""

    kind: Kind
    levels: tuple[Level, ...]
    ap_slope: float | None
    auroc_slope: float | None
    ap_slope_ci: Interval | None = None
    auroc_slope_ci: Interval | None = None


@dataclass(frozen=True)
class Robustness:
    """How a model does on films that are not as they were."""

    model: str
    num_films: int
    findings: tuple[str, ...]  # that the means are of
    plain: Level
    trends: tuple[Trend, ...]

    def to_json(self) -> dict[str, Any]:
        """Strengths and scores as lists, from weak to strong."""
        kinds = []
        for trend in self.trends:
            lists = {name: [getattr(level, name) for level in trend.levels] for name in asdict(self.plain)}
            slopes = {name: value for name, value in asdict(trend).items() if "slope" in name}
            kinds.append({**asdict(trend.kind), **lists, **slopes})
        return {
            "checkpoint": self.model,
            "num_films": self.num_films,
            "findings": list(self.findings),
            "plain": asdict(self.plain),
            "perturbations": kinds,
        }


def robustness(
    model: str,
    targets: NDArray[Any],
    versions: NDArray[Any],
    findings: Sequence[str],
    kinds: Sequence[Kind],
    patients: NDArray[Any],
    num_resamples: int,
    *,
    seed: int = 0,
    num_threads: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> Robustness:
    """Scores of ``versions [V, N, C]``, probabilities for the films as they are, then for each strength of each kind.

    ``targets [N, C]``: 1, 0, NaN; means are over the findings with a positive film. Intervals are of resampled
    ``patients [N]``; there is none with ``num_resamples`` 0 or a single patient.
    """
    assert len(versions) == 1 + sum(len(kind.strengths) for kind in kinds), len(versions)
    scores = [score(targets, version, findings) for version in versions]
    resampled = []
    if num_resamples and len(set(map(str, patients))) > 1:
        resampled = resample(targets, list(versions), patients, num_resamples, seed=seed, num_threads=num_threads,
                             advance=advance)  # fmt: skip
        scores = [one.with_intervals(mine) for one, mine in zip(scores, resampled, strict=True)]
    levels = [Level(one.macro()["ap"], one.macro()["auroc"], one.ap_ci, one.auroc_ci) for one in scores]
    ap = np.array([mine.macro_ap() for mine in resampled])  # [V, R]
    auroc = np.array([mine.macro_auroc() for mine in resampled])
    trends, first = [], 1
    for kind in kinds:
        places = [0, *range(first, first + len(kind.strengths))]
        first += len(kind.strengths)
        mine = [levels[place] for place in places]
        ap_slope, ap_slope_ci = _slope([level.ap for level in mine], ap[places] if resampled else None)
        auroc_slope, auroc_slope_ci = _slope([level.auroc for level in mine], auroc[places] if resampled else None)
        trends.append(Trend(kind, tuple(mine[1:]), ap_slope, auroc_slope, ap_slope_ci, auroc_slope_ci))
    skipped = set(scores[0].skipped)
    return Robustness(model, len(targets), tuple(name for name in findings if name not in skipped), levels[0],
                      tuple(trends))  # fmt: skip


def _slope(values: Sequence[float | None], resampled: Doubles | None) -> tuple[float | None, Interval | None]:
    """Of values at 0, 1, 2, ..., and its interval from those of resamples ``[steps, R]``."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None, None
    steps = np.arange(len(known)) - (len(known) - 1) / 2
    weights = steps / (steps**2).sum()
    slope = float(weights @ np.array(known))
    return slope, None if resampled is None else signed_interval(weights @ resampled, slope)
