"""What ``cxrlt calibrate`` keeps: how a model's probabilities are read at one place, and what that rests on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from cxrlt_cli import __version__
from cxrlt_cli.scores.calibration import Calibration, Rule
from cxrlt_cli.scores.drift import Reference
from cxrlt_cli.scores.operating_points import Worth
from cxrlt_cli.scores.predictions import Decisions, Predictions
from cxrlt_cli.scores.proportions import Share

FORMAT = 2  # 1: without familiarity and views
KIND = "cxrlt calibrate"


@dataclass(frozen=True)
class Wanted:
    """What decisions are to be: one threshold of the first two or the third, one of the fourth, or f1's."""

    sensitivity: float | None = None
    miss_at_most: float | None = None
    sure: float = 0.95
    joint: bool = False
    ppv: float | None = None

    @property
    def rule_out(self) -> bool:
        """Whether there is a threshold below which a film is negative."""
        return self.sensitivity is not None or self.miss_at_most is not None

    @property
    def promises(self) -> bool:
        return self.miss_at_most is not None

    @property
    def nothing(self) -> bool:
        return not self.rule_out and self.ppv is None

    def told_rule_out(self) -> str:
        """What the threshold below which a film is negative is for; empty where there is none."""
        if self.miss_at_most is not None:
            all_of = ", for all findings at once" if self.joint else ""
            return f"at most {100 * self.miss_at_most:g} % missed, {100 * self.sure:g} % sure{all_of}"
        return "" if self.sensitivity is None else f"sensitivity {self.sensitivity:g}"

    def told_rule_in(self) -> str:
        """What the threshold from which a film is positive is for, where it is one of its own."""
        return f"predictive value {self.ppv:g}" if self.ppv is not None else "f1" if self.nothing else ""

    def told(self) -> str:
        return " and ".join(filter(None, (self.told_rule_out(), self.told_rule_in())))


@dataclass(frozen=True)
class FindingFit:
    """One finding at this place. ``positive_from``: at or above, a film is positive; ``negative_below``: negative.

    None where there is no such threshold: where it was not asked for, or too few films have the finding.
    """

    positives: int
    positive_patients: int
    labelled: int
    prevalence: float | None
    prevalence_ci: tuple[float, float] | None
    prevalence_before: float | None
    negative_below: float | None = None
    positive_from: float | None = None
    missed: int | None = None  # of the positive patients, at a threshold with a promise
    needed: int | None = None  # positive patients for a promise
    shipped: Worth | None = None  # the model's own threshold, on these films
    rule_out: Worth | None = None  # of negative_below by folds of patients; with a promise, on these films
    rule_in: Worth | None = None  # of positive_from, by folds of patients


@dataclass(frozen=True)
class LocalFit:
    """A model at one place."""

    model: str | None  # sha256 of the checkpoint; None: it was fitted on predictions
    tta: str
    wanted: Wanted
    unlabelled: bool
    num_films: int
    num_patients: int
    findings: Mapping[str, FindingFit]
    calibration: Calibration
    reference: Reference
    ece: Mapping[str, float | None]  # mean calibration error here: of the model's own Platt, and of this one by folds
    trained_on: int | None = None  # of the films, or of their patients, that the model learned from; None: not known

    def decide(self, predictions: Predictions, rule: Rule | None) -> Decisions:
        """By the thresholds that were asked for, or by ``rule``.

        With one threshold, 1 at or above it, 0 below. With two, a film between them is undecided; where a finding lacks
        one of them, so is what that would have decided.
        """
        if rule is not None or self.decides_by_f1:
            return self.calibration.decide(predictions, rule or "f1")
        columns = []
        for name, scores in zip(predictions.findings, predictions.probabilities.T, strict=True):
            low, high = self.thresholds(name)
            decided = np.full(len(scores), np.nan)
            if low is not None:
                decided[scores < low] = 0
            if high is not None:
                decided[scores >= high] = 1
            columns.append(decided)
        return Decisions(predictions.ids, predictions.findings, np.stack(columns, axis=1))

    @property
    def told_trained_on(self) -> str:
        """Why nothing of this is valid for other films; empty where the model is not known to have seen these."""
        if not self.trained_on:
            return ""
        return (
            f"the model was trained on {self.trained_on:,} of the {self.num_films:,} films that were fitted on, or on "
            "others of their patients"
        )

    @property
    def decides_by_f1(self) -> bool:
        return self.wanted.nothing or self.unlabelled

    def thresholds(self, finding: str) -> tuple[float | None, float | None]:
        """Below the first a film is negative, at or above the second positive; None where it has none."""
        fit = self.findings[finding]
        if not self.wanted.rule_out:
            return fit.positive_from, fit.positive_from
        if self.wanted.ppv is None:
            return fit.negative_below, fit.negative_below
        return fit.negative_below, fit.positive_from

    def without_threshold(self) -> list[str]:
        """Findings of which nothing is decided."""
        return [] if self.decides_by_f1 else [name for name in self.findings if self.thresholds(name) == (None, None)]

    def with_one_of_two(self) -> dict[str, list[str]]:
        """Findings that lack one threshold of two: those that are never decided ``positive``, or ``negative``."""
        lacking: dict[str, list[str]] = {"positive": [], "negative": []}
        for name in [] if self.decides_by_f1 else self.findings:
            low, high = self.thresholds(name)
            if (low is None) != (high is None):
                lacking["positive" if high is None else "negative"].append(name)
        return lacking

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": KIND,
            "cxrlt": __version__,
            "model": self.model,
            "tta": self.tta,
            "wanted": asdict(self.wanted),
            "method": self._method(),
            "unlabelled": self.unlabelled,
            "num_films": self.num_films,
            "num_patients": self.num_patients,
            "trained_on": self.trained_on,
            "findings": {name: asdict(fit) for name, fit in self.findings.items()},
            "calibration": self.calibration.to_json(),
            "reference": self.reference.to_json(),
            "ece": dict(self.ece),
        }

    def _method(self) -> str:
        if self.unlabelled:
            return "prevalence by EM on films without labels (Saerens et al. 2002), by which Platt's offset is moved"
        said = ["Platt's line, drawn towards the training's by the information of 10 films at even odds"]
        if self.wanted.promises:
            unit = "of all findings at once (Bonferroni)" if self.wanted.joint else "of each finding by itself"
            said.append(
                "Learn then Test with exact binomial tests in fixed order (Angelopoulos et al. 2021), for exchangeable "
                f"patients, {unit}; a patient is missed where any positive film of theirs is below the threshold"
            )
        return "; ".join(said)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave; raises KeyError, TypeError, ValueError or AttributeError where it is not."""
        names = ("model", "tta", "unlabelled", "num_films", "num_patients", "ece")
        fit = cls(
            **{name: content[name] for name in names},
            wanted=Wanted(**content["wanted"]),
            findings={name: _finding(values) for name, values in content["findings"].items()},
            calibration=Calibration.from_json(content["calibration"]),
            reference=Reference(**content["reference"]),
            trained_on=content.get("trained_on"),
        )
        if not isinstance(fit.trained_on, int | None):
            raise TypeError("trained_on is no number of films")
        for name, one in fit.findings.items():
            numbers = (one.negative_below, one.positive_from, *fit.calibration.platt[name])
            if not all(number is None or isinstance(number, int | float) for number in numbers):
                raise TypeError(f"{name} has a threshold that is no number")
        for name in (*fit.findings, *fit.reference.edges):
            if len(fit.reference.edges[name]) != len(fit.reference.below[name]):
                raise ValueError(f"{name} has percentiles that do not match")
        numbers_of_views = [number for numbers in fit.reference.views.values() for number in numbers.values()]
        if not all(isinstance(number, int) and number > 0 for number in numbers_of_views):
            raise TypeError("a view has a number of films that is none")
        return fit


def _finding(values: Mapping[str, Any]) -> FindingFit:
    worths = {
        name: None if values[name] is None else Worth(**{unit: Share(**share) for unit, share in values[name].items()})
        for name in ("shipped", "rule_out", "rule_in")
    }
    interval = values["prevalence_ci"]
    return FindingFit(**{**values, **worths, "prevalence_ci": None if interval is None else tuple(interval)})
