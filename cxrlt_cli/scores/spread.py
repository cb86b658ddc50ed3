"""How scores differ from seed to seed, and what interval that and the choice of patients leave for their mean."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import Interval, Resampled
from cxrlt_cli.scores.intervals import NO_SPREAD, Scale, Student, interval
from cxrlt_cli.scores.metrics import MIN_POSITIVES, Scores


@dataclass(frozen=True)
class Over:
    """A score over seeds: its mean, standard deviation, and the 95 % interval of the mean."""

    mean: float
    sd: float
    ci: Interval | None

    def __str__(self) -> str:
        held = f"; 95 % of resampled seeds and patients: {self.ci[0]:.3f} to {self.ci[1]:.3f}" if self.ci else ""
        return f"{self.mean:.3f} (s.d. {self.sd:.3f}{held})"


@dataclass(frozen=True)
class Spread:
    """Macro AP and AUROC over seeds, and the AP of each finding; None where a score does not exist."""

    seeds: tuple[Scores, ...]
    ap: Over | None
    auroc: Over | None
    findings: dict[str, Over | None]

    def to_json(self) -> dict[str, Any]:
        return {
            "ap": None if self.ap is None else asdict(self.ap),
            "auroc": None if self.auroc is None else asdict(self.auroc),
            "findings": [
                {"name": name, "ap": None if over is None else asdict(over)} for name, over in self.findings.items()
            ],
        }

    def __str__(self) -> str:
        named = (("macro AP", self.ap), ("AUROC", self.auroc))
        return ", ".join(f"{name} {over}" for name, over in named if over is not None)


def spread_over_seeds(scores: Sequence[Scores], resampled: Sequence[Resampled], seed: int) -> Spread:
    """Of two seeds or more, scored on the same films and on the same resampled patients."""
    macro = [one.macro() for one in scores]
    having = resampled[0].positive_patients
    ap, auroc = (
        np.mean(values, axis=0) for values in ([one.ap for one in resampled], [one.auroc for one in resampled])
    )
    enough = resampled[0].num_patients > 1
    findings = {}
    for c, finding in enumerate(scores[0].findings):
        values = [one.findings[c].ap for one in scores]
        shown = enough and resampled[0].positive_patients[c] >= MIN_POSITIVES
        student = Student.of(ap[:, c : c + 1], having[c : c + 1])
        findings[finding.name] = _over(values, [one.ap[:, c] for one in resampled] if shown else [], student, seed)
    drawn = resampled if enough else []
    of_ap, of_auroc = Student.of(ap, having), Student.of(auroc, resampled[0].fewest)
    return Spread(
        tuple(scores),
        _over([one["ap"] for one in macro], [one.macro_ap() for one in drawn], of_ap, seed),
        _over([one["auroc"] for one in macro], [one.macro_auroc() for one in drawn], of_auroc, seed, "logit"),
        findings,
    )


def over_seeds(values: Sequence[Doubles], seed: int) -> Doubles:
    """Resampled values ``[R]`` of the mean over seeds, from those ``[R]`` of each of S seeds on the same patients.

    Beside the patients the seeds are drawn, with replacement. Draws of S spread too little, by a factor of (S - 1) / S
    in the variance, which counts where S is 3: their distance from the mean of all is stretched by its root.
    """
    stack = np.stack(values)
    number = len(stack)
    drawn = np.random.default_rng(seed).integers(0, number, stack.shape)
    mean = stack.mean(axis=0)
    moved = np.take_along_axis(stack, drawn, axis=0).mean(axis=0) - mean
    return np.asarray(mean + np.sqrt(number / (number - 1)) * moved, np.float64)


@dataclass(frozen=True)
class SeedVariance:
    """How much a mean over seeds varies with their choice, and the degrees of freedom that this is known with."""

    value: float
    freedom: int

    @classmethod
    def of(cls, values: Sequence[Doubles]) -> "SeedVariance":
        """Of resampled values ``[R]`` of each of S seeds: their mean variance within a resample, over S."""
        stack = np.stack(values)
        known = stack[:, ~np.isnan(stack).any(axis=0)]
        return cls(float(known.var(axis=0, ddof=1).mean()) / len(stack) if known.size else 0.0, len(stack) - 1)


def student_of_seeds(patients: Student, mean: Doubles, seeds: Sequence[SeedVariance]) -> Student:
    """Of a mean over seeds, or a difference of such means, with resampled values ``mean [R]``; ``patients``: its own.

    Degrees of freedom as Welch and Satterthwaite have them, ``S - 1`` for the variance of S seeds. Without these an
    interval of few seeds is too narrow wherever seeds vary more than patients.
    """
    of_patients = float(np.nanvar(mean)) if not np.isnan(mean).all() else 0.0
    parts = [(patients.stretch**2 * of_patients, patients.freedom), *((one.value, one.freedom) for one in seeds)]
    whole = sum(variance for variance, _ in parts)
    if whole < NO_SPREAD**2:
        return patients
    unsure = sum(variance**2 / freedom for variance, freedom in parts)
    stretch = float(np.sqrt(whole / (of_patients + sum(one.value for one in seeds))))
    return Student(whole**2 / unsure if unsure else math.inf, stretch)


def _over(
    values: Sequence[float | None],
    resampled: Sequence[Doubles],
    student: Student,
    seed: int,
    scale: Scale = "arcsine",
) -> Over | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    mean = float(np.mean(known))
    held = None
    if resampled:
        with_seeds = student_of_seeds(student, np.mean(resampled, axis=0), [SeedVariance.of(resampled)])
        held = interval(over_seeds(resampled, seed), mean, with_seeds, scale)
    return Over(mean, float(np.std(known, ddof=1)), held)
