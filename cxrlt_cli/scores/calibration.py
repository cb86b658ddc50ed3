"""From scores to probabilities and decisions that suit a population: fitted on labelled films, kept by name.

Letters: N films, C findings; p a probability, z its logit. A finding with few positives borrows from all others: its
parameters are drawn towards those of all findings pooled, the more the fewer positives it has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from cxrlt_cli.errors import CheckpointError, listed
from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.merging import EPSILON, TINY
from cxrlt_cli.scores.metrics import best_threshold
from cxrlt_cli.scores.predictions import Decisions, Predictions
from cxrlt_cli.scores.proportions import Share, share_of

CalibrationKind = Literal["platt", "temperature"]
Rule = Literal["f1", "sensitivity-0.8", "sensitivity-0.9", "sensitivity-0.95"]

SENSITIVITIES: dict[Rule, float] = {"sensitivity-0.8": 0.8, "sensitivity-0.9": 0.9, "sensitivity-0.95": 0.95}
LEAST_SLOPE = 0.05  # a finding that ranks the wrong way is flattened, never turned round
SHRINKAGE = 10.0  # positives at which a finding's own parameters count as much as the pooled ones
EDGE = 1e-7  # from 0 and from 1, within which logits are fitted


@dataclass(frozen=True)
class Calibration:
    """Slope and offset of the logit, and thresholds of the probability, for each finding.

    ``platt``: ``sigmoid(a z + b)`` (Platt 1999); ``temperature``: ``sigmoid(a z)``, a = 1/T (Guo et al., ICML 2017).
    ``thresholds``: at or above counts as positive; ``f1``: where F1 is best; ``sensitivity-S``: the highest threshold
    that finds the share S of the positives. They are for probabilities as the model gives them.
    """

    platt: Mapping[str, tuple[float, float]]
    temperature: Mapping[str, float]
    thresholds: Mapping[Rule, Mapping[str, float]]
    num_films: int
    positives: Mapping[str, int]  # films
    # what checkpoints of before did not keep:
    labelled: Mapping[str, int] = field(default_factory=dict)  # films
    sensitivity: Mapping[Rule, Mapping[str, Share]] = field(default_factory=dict)  # of thresholds, on these same films

    @classmethod
    def fit(
        cls,
        predictions: Predictions,
        targets: NDArray[Any],
        patients: NDArray[Any] | None = None,
        prior: "Calibration | None" = None,
    ) -> Self:
        """The calibration of predictions for labelled films, ``targets [N, C]`` (1, 0, NaN).

        ``patients [N]``: whose films, for the intervals of sensitivities; None: each of another. ``prior``: what each
        finding is drawn to in place of all findings pooled, of the same model on other films.
        """
        names = predictions.findings
        columns = [_known(targets[:, c], predictions.probabilities[:, c]) for c in range(len(names))]
        pooled = np.concatenate([y for y, _ in columns]), np.concatenate([p for _, p in columns])
        rules: tuple[Rule, ...] = ("f1", *SENSITIVITIES)
        if prior is None:
            line, slope = _logistic(*pooled, with_offset=True), _logistic(*pooled, with_offset=False)
            common = {rule: _own_threshold(rule, *pooled) if pooled[0].any() else 0.5 for rule in rules}
            prior = cls(
                platt=dict.fromkeys(names, _pair(line)),
                temperature=dict.fromkeys(names, float(slope[0])),
                thresholds={rule: dict.fromkeys(names, common[rule]) for rule in rules},
                num_films=0,
                positives={},
            )
        named = list(zip(names, columns, strict=True))
        thresholds = {
            rule: {name: _threshold(rule, y, p, prior.thresholds[rule][name]) for name, (y, p) in named}
            for rule in rules
        }
        films = predictions.ids if patients is None else patients
        return cls(
            platt={name: _pair(_logistic(y, p, True, np.array(prior.platt[name]))) for name, (y, p) in named},
            temperature={
                name: float(_logistic(y, p, False, np.array([prior.temperature[name], 0.0]))[0])
                for name, (y, p) in named
            },
            thresholds=thresholds,
            num_films=len(targets),
            positives={name: int(y.sum()) for name, (y, _) in named},
            labelled={name: len(y) for name, (y, _) in named},
            sensitivity={
                rule: {
                    name: share_of(predictions.probabilities[rows, c] >= thresholds[rule][name], films[rows])
                    for c, name in enumerate(names)
                    for rows in [targets[:, c] == 1]
                }
                for rule in rules
            },
        )

    @classmethod
    def identity(cls, findings: Sequence[str]) -> Self:
        """Of probabilities of which nothing is known: they are taken as they are, and 0.5 cuts."""
        return cls(
            platt=dict.fromkeys(findings, (1.0, 0.0)),
            temperature=dict.fromkeys(findings, 1.0),
            thresholds={rule: dict.fromkeys(findings, 0.5) for rule in ("f1", *SENSITIVITIES)},
            num_films=0,
            positives={},
        )

    def prevalence(self, finding: str) -> float | None:
        """Share of the labelled films it was fitted on that have the finding; None where that is not known."""
        labelled = self.labelled.get(finding, self.num_films)
        return self.positives[finding] / labelled if labelled and finding in self.positives else None

    def calibrate(self, predictions: Predictions, method: CalibrationKind) -> Predictions:
        """Probabilities that say how often; the order of the films stays."""
        z = logit(np.clip(predictions.probabilities, TINY, 1 - EPSILON))
        if method == "platt":
            lines = np.array([self.platt[name] for name in predictions.findings])
            return _with(predictions, expit(lines[:, 0] * z + lines[:, 1]))
        return _with(predictions, expit(np.array([self.temperature[name] for name in predictions.findings]) * z))

    def decide(self, predictions: Predictions, rule: Rule) -> Decisions:
        """1 at or above a finding's threshold, 0 below."""
        thresholds = np.array([self.thresholds[rule][name] for name in predictions.findings])
        decided = (predictions.probabilities >= thresholds).astype(np.float64)
        return Decisions(predictions.ids, predictions.findings, decided)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, training: Mapping[str, Any], findings: Sequence[str]) -> Self:
        """The calibration that a checkpoint carries; raises CheckpointError where it carries none for a finding."""
        content = training.get("calibration")
        missing = [name for name in findings if content is None or name not in content["platt"]]
        if content is None or missing:
            raise CheckpointError(
                f"The checkpoint carries no calibration{f' for {listed(missing)}' if content else ''}.",
                "cxrlt train and finetune fit one on their validation films and store it.",
            )
        return cls.from_json(content)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave; raises KeyError or TypeError where it is something else."""
        shares = {
            rule: {name: Share(**share) for name, share in named.items()}
            for rule, named in content.get("sensitivity", {}).items()
        }
        platt = {name: _pair(line) for name, line in content["platt"].items()}
        return cls(**{**content, "platt": platt, "sensitivity": shares})


def _known(targets: NDArray[Any], probabilities: Doubles) -> tuple[Doubles, Doubles]:
    labelled = ~np.isnan(targets)
    return np.asarray(targets[labelled], np.float64), probabilities[labelled]


def _pair(values: Sequence[float] | Doubles) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _with(predictions: Predictions, values: Doubles) -> Predictions:
    return Predictions(predictions.ids, predictions.findings, values)


def _logits(probabilities: Doubles) -> Doubles:
    return np.asarray(logit(np.clip(probabilities, EDGE, 1 - EDGE)))


def _logistic(
    targets: Doubles, probabilities: Doubles, with_offset: bool, toward: Doubles | None = None, num_steps: int = 50
) -> Doubles:
    """Slope and offset of a logistic regression on the logit, by Newton's method; kept near ``toward``.

    The penalty weighs as much as ``SHRINKAGE`` positives do. A slope is at least ``LEAST_SLOPE``.
    """
    z = _logits(probabilities)
    design = np.stack([z, np.ones_like(z)], axis=1)[:, : 1 + with_offset]
    start = np.array([1.0, 0.0]) if toward is None else np.asarray(toward, np.float64)
    center = start[: 1 + with_offset]
    spread = max(float(np.var(z)), 1e-3) if len(z) else 1.0
    # the information of as many films at p = 1/2, in units of slope and of offset
    penalty = 0.25 * SHRINKAGE * np.array([spread, 1.0])[: 1 + with_offset]
    values = center.copy()
    for _ in range(num_steps):
        p = expit(design @ values)
        gradient = design.T @ (p - targets) + penalty * (values - center)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        values = values - np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-10:
            break
    if values[0] < LEAST_SLOPE:
        values = np.array([LEAST_SLOPE, _offset(targets, LEAST_SLOPE * z)])[: 1 + with_offset]
    return values if with_offset else np.array([values[0], 0.0])


def _offset(targets: Doubles, z: Doubles) -> float:
    """The offset with which the mean probability is the share of positives, half a positive and a negative added."""
    wanted = (targets.sum() + 0.5) / (len(targets) + 1)
    low, high = -60.0, 60.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if expit(z + middle).mean() > wanted else (middle, high)
    return (low + high) / 2


def _threshold(rule: Rule, targets: Doubles, probabilities: Doubles, common: float) -> float:
    """A finding's own threshold, drawn to that of all findings by its logit; a sensitivity is never given up for it."""
    count = targets.sum()
    if not count:
        return common
    own, share = _own_threshold(rule, targets, probabilities), count / (count + SHRINKAGE)
    drawn = float(expit(share * _logits(np.array(own)) + (1 - share) * _logits(np.array(common))))
    return drawn if rule == "f1" else min(own, drawn)


def _own_threshold(rule: Rule, targets: Doubles, probabilities: Doubles) -> float:
    if rule == "f1":
        return best_threshold(targets, probabilities)
    found = np.sort(probabilities[targets == 1])[::-1]
    return float(found[int(np.ceil(SENSITIVITIES[rule] * len(found))) - 1])
