"""From scores to probabilities and decisions that suit a population: fitted on labelled films, kept by name.

Letters: N films, C findings; p a probability, z its logit. A finding with few positives borrows from all others: its
parameters are drawn towards those of all findings pooled, the more the fewer positives it has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from cxrlt_cli.errors import CheckpointError, listed
from cxrlt_cli.metrics import best_threshold
from cxrlt_cli.predictions import Predictions

Floats = NDArray[np.float64]
Method = Literal["platt", "temperature"]
Rule = Literal["f1", "sensitivity-0.8", "sensitivity-0.9", "sensitivity-0.95"]

SENSITIVITIES: dict[Rule, float] = {"sensitivity-0.8": 0.8, "sensitivity-0.9": 0.9, "sensitivity-0.95": 0.95}
SHRINKAGE = 10.0  # positives at which a finding's own parameters count as much as the pooled ones
EDGE = 1e-7  # from 0 and from 1, within which a logit is taken


@dataclass(frozen=True)
class Calibration:
    """Slope and offset of the logit, and thresholds of the probability, for each finding.

    ``platt``: ``sigmoid(a z + b)`` (Platt 1999); ``temperature``: ``sigmoid(a z)``, a = 1/T (Guo et al., ICML 2017).
    ``thresholds``: at or above counts as positive; ``f1``: where F1 is best; ``sensitivity-S``: the highest threshold
    that finds the share S of the positives. They are for probabilities as the model gives them.
    """

    platt: Mapping[str, tuple[float, float]]
    temperature: Mapping[str, float]
    thresholds: Mapping[str, Mapping[str, float]]
    num_films: int
    positives: Mapping[str, int]

    @classmethod
    def fit(cls, predictions: Predictions, targets: NDArray[Any]) -> Self:
        """The calibration of predictions for labelled films, ``targets [N, C]`` (1, 0, NaN)."""
        names = predictions.findings
        columns = [_known(targets[:, c], predictions.probabilities[:, c]) for c in range(len(names))]
        pooled = np.concatenate([y for y, _ in columns]), np.concatenate([p for _, p in columns])
        counts = [int(y.sum()) for y, _ in columns]
        line, slope = _logistic(*pooled, with_offset=True), _logistic(*pooled, with_offset=False)
        rules: tuple[Rule, ...] = ("f1", *SENSITIVITIES)
        return cls(
            platt={n: _pair(_logistic(y, p, True, line)) for n, (y, p) in zip(names, columns, strict=True)},
            temperature={n: float(_logistic(y, p, False, slope)[0]) for n, (y, p) in zip(names, columns, strict=True)},
            thresholds={
                rule: {n: _threshold(rule, y, p, pooled) for n, (y, p) in zip(names, columns, strict=True)}
                for rule in rules
            },
            num_films=len(targets),
            positives=dict(zip(names, counts, strict=True)),
        )

    def calibrate(self, predictions: Predictions, method: Method) -> Predictions:
        """Probabilities that say how often; the order of the films stays."""
        z = _logits(predictions.probabilities)
        if method == "platt":
            lines = np.array([self.platt[name] for name in predictions.findings])
            return _with(predictions, expit(lines[:, 0] * z + lines[:, 1]))
        return _with(predictions, expit(np.array([self.temperature[name] for name in predictions.findings]) * z))

    def decide(self, predictions: Predictions, rule: Rule) -> Predictions:
        """1 at or above a finding's threshold, 0 below."""
        thresholds = np.array([self.thresholds[rule][name] for name in predictions.findings])
        return _with(predictions, (predictions.probabilities >= thresholds).astype(np.float64))

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
        return cls(**{**content, "platt": {name: _pair(line) for name, line in content["platt"].items()}})


def _known(targets: NDArray[Any], probabilities: Floats) -> tuple[Floats, Floats]:
    labelled = ~np.isnan(targets)
    return np.asarray(targets[labelled], np.float64), probabilities[labelled]


def _pair(values: Sequence[float] | Floats) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _with(predictions: Predictions, values: Floats) -> Predictions:
    return Predictions(predictions.ids, predictions.findings, values)


def _logits(probabilities: Floats) -> Floats:
    return np.asarray(logit(np.clip(probabilities, EDGE, 1 - EDGE)))


def _logistic(
    targets: Floats, probabilities: Floats, with_offset: bool, toward: Floats | None = None, num_steps: int = 50
) -> Floats:
    """Slope and offset of a logistic regression on the logit, by Newton's method; kept near ``toward``.

    The penalty weighs as much as ``SHRINKAGE`` positives do. Slopes are positive: a finding is never turned round.
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
    values[0] = max(values[0], 0.05)
    return values if with_offset else np.array([values[0], 0.0])


def _threshold(rule: Rule, targets: Floats, probabilities: Floats, pooled: tuple[Floats, Floats]) -> float:
    """A finding's own threshold, drawn to the pooled one by its logit."""
    count = targets.sum()
    common = _own_threshold(rule, *pooled) if pooled[0].any() else 0.5
    if not count:
        return common
    share = count / (count + SHRINKAGE)
    return float(expit(share * _logits(np.array(_own_threshold(rule, targets, probabilities)))
                       + (1 - share) * _logits(np.array(common))))  # fmt: skip


def _own_threshold(rule: Rule, targets: Floats, probabilities: Floats) -> float:
    if rule == "f1":
        return best_threshold(targets, probabilities)
    found = np.sort(probabilities[targets == 1])[::-1]
    return float(found[int(np.ceil(SENSITIVITIES[rule] * len(found))) - 1])
