"""A model at one place, fitted on its films: thresholds, Platt's line, prevalence; and what they are worth there.

Letters: N films, C findings. What is told of a fitted threshold or line is of patients that it was not fitted on.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.calibration import SENSITIVITIES, Calibration, Rule
from cxrlt_cli.scores.drift import NOTHING, Reference, Traits
from cxrlt_cli.scores.local_fit import FindingFit, LocalFit, Wanted
from cxrlt_cli.scores.metrics import best_threshold, expected_calibration_error
from cxrlt_cli.scores.operating_points import ThresholdOf, Worth, for_ppv, for_sensitivity, held_out, worth_of
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.prevalence_shift import offset_of_shift, shifted_prevalence
from cxrlt_cli.scores.proportions import FEW, share_of
from cxrlt_cli.scores.risk_control import Kept, highest_threshold, lowest_scores

NUM_RESAMPLES = 200  # for the interval of a prevalence without labels


def shipped_rule(wanted: Wanted) -> Rule:
    """Of the model's own thresholds, the one for what is wanted; f1, its default, where it has none."""
    share = wanted.sensitivity
    if wanted.miss_at_most is not None:
        share = 1 - wanted.miss_at_most
    near = [rule for rule, value in SENSITIVITIES.items() if share is not None and abs(value - share) < 1e-9]
    return near[0] if near else "f1"


def fit_labelled(
    predictions: Predictions,
    targets: NDArray[np.floating],
    patients: NDArray[np.object_],
    fold: NDArray[np.int64],
    wanted: Wanted,
    prior: Calibration,
    *,
    model: str | None,
    tta: str,
    traits: Traits = NOTHING,
) -> LocalFit:
    """Of labelled films: ``targets [N, C]`` (1, 0, NaN), ``patients [N]``, and the ``fold [N]`` that judges each.

    ``prior``: the model's own calibration, to which lines and the thresholds of its rules are drawn. ``traits``: of
    the films, for films to come to be held against.
    """
    calibration = Calibration.fit(predictions, targets, patients, prior)
    findings = {}
    for c, name in enumerate(predictions.findings):
        rows = ~np.isnan(targets[:, c])
        films = targets[rows, c].astype(np.float64), predictions.probabilities[rows, c], patients[rows]
        shipped = prior.thresholds[shipped_rule(wanted)][name]
        sure = wanted.sure if not wanted.joint else 1 - (1 - wanted.sure) / len(predictions.findings)
        findings[name] = _fit(*films, fold[rows], replace(wanted, sure=sure), shipped, prior.prevalence(name))
    return LocalFit(
        model=model,
        tta=tta,
        wanted=wanted,
        unlabelled=False,
        num_films=len(predictions.ids),
        num_patients=len(set(patients)),
        findings=findings,
        calibration=calibration,
        reference=Reference.of(predictions, patients, traits),
        ece=_errors(predictions, targets, patients, fold, prior),
    )


def fit_unlabelled(
    predictions: Predictions,
    patients: NDArray[np.object_],
    prior: Calibration,
    *,
    model: str | None,
    tta: str,
    traits: Traits = NOTHING,
) -> LocalFit:
    """Of films without labels: prevalences, by which the lines of ``prior`` are moved; its thresholds stay.

    A finding of which ``prior`` saw fewer than ``FEW`` positive films has none: EM takes its calibration for true.
    """
    calibrated = prior.calibrate(predictions, "platt")
    _, place = np.unique(patients.astype(str), return_inverse=True)
    rng = np.random.default_rng(0)
    number = int(place.max()) + 1
    draws = [np.bincount(rng.integers(0, number, number), minlength=number)[place] for _ in range(NUM_RESAMPLES)]
    findings, lines = {}, dict(prior.platt)
    for c, name in enumerate(predictions.findings):
        column, before = calibrated.probabilities[:, c], prior.prevalence(name)
        here, interval = None, None
        if before is not None and before < 1 and prior.positives[name] >= FEW:
            here = shifted_prevalence(column, before)
            again = [shifted_prevalence(column, before, weights.astype(np.float64)) for weights in draws]
            low, high = np.percentile(again, (2.5, 97.5))
            interval = min(float(low), here), max(float(high), here)
            slope, offset = prior.platt[name]
            lines[name] = slope, offset + offset_of_shift(before, here)
        findings[name] = FindingFit(0, 0, 0, here, interval, before)
    return LocalFit(
        model=model,
        tta=tta,
        wanted=Wanted(),
        unlabelled=True,
        num_films=len(predictions.ids),
        num_patients=number,
        findings=findings,
        calibration=replace(prior, platt=lines),
        reference=Reference.of(predictions, patients, traits),
        ece={},
    )


def _fit(
    targets: Doubles,
    scores: Doubles,
    patients: NDArray[np.object_],
    fold: NDArray[np.int64],
    wanted: Wanted,
    shipped: float,
    before: float | None,
) -> FindingFit:
    """One finding, on its labelled films."""
    films = targets, scores, patients
    present = share_of(targets == 1, patients)
    fit = FindingFit(
        positives=int(targets.sum()),
        positive_patients=len(set(patients[targets == 1])),
        labelled=len(targets),
        prevalence=present.value,
        prevalence_ci=(present.low, present.high) if present.films else None,
        prevalence_before=before,
        shipped=worth_of(targets, (scores >= shipped).astype(np.float64), patients),
    )
    rule_out: ThresholdOf = no_threshold
    if wanted.miss_at_most is not None:
        miss, sure = wanted.miss_at_most, wanted.sure
        rule_out = for_promise(miss, sure)
        fit = _promised(fit, highest_threshold(lowest_scores(*films), miss, sure), *films)
    if wanted.sensitivity is not None:
        rule_out = for_sensitivity(wanted.sensitivity)
        fit = replace(fit, negative_below=rule_out(*films), rule_out=_judged(rule_out, *films, fold))
    if wanted.ppv is not None or wanted.nothing:
        rule = best_f1 if wanted.ppv is None else not_below(for_ppv(wanted.ppv), rule_out)
        fit = replace(fit, positive_from=rule(*films), rule_in=_judged(rule, *films, fold))
    return fit


def no_threshold(targets: Doubles, scores: Doubles, patients: NDArray[np.object_]) -> None:
    return None


def for_promise(miss: float, sure: float) -> ThresholdOf:
    """The highest threshold that keeps the promise; none where too few patients have the finding."""
    return lambda *films: highest_threshold(lowest_scores(*films), miss, sure).threshold


def not_below(rule: ThresholdOf, floor: ThresholdOf) -> ThresholdOf:
    """Of a threshold for positives and one for negatives, the higher for positives: no film is decided twice."""

    def threshold(*films: NDArray[Any]) -> float | None:
        high, low = rule(*films), floor(*films)
        return high if high is None or low is None else max(high, low)

    return threshold


def _promised(
    fit: FindingFit, kept: Kept, targets: Doubles, scores: Doubles, patients: NDArray[np.object_]
) -> FindingFit:
    """Worth on these films: the threshold depends on the positive ones alone, whose misses are what was allowed."""
    if kept.threshold is None:
        return replace(fit, needed=kept.needed)
    decided = (scores >= kept.threshold).astype(np.float64)
    worth = worth_of(targets, decided, patients)
    return replace(fit, negative_below=kept.threshold, missed=kept.missed, needed=kept.needed, rule_out=worth)


def _judged(
    rule: ThresholdOf, targets: Doubles, scores: Doubles, patients: NDArray[np.object_], fold: NDArray[np.int64]
) -> Worth:
    return worth_of(targets, held_out(rule, targets, scores, patients, fold), patients)


def best_f1(targets: Doubles, scores: Doubles, patients: NDArray[np.object_]) -> float | None:
    """The threshold at which F1 is largest; none without a positive film."""
    return best_threshold(targets, scores) if targets.any() else None


def _errors(
    predictions: Predictions,
    targets: NDArray[np.floating],
    patients: NDArray[np.object_],
    fold: NDArray[np.int64],
    prior: Calibration,
) -> dict[str, float | None]:
    """Mean calibration error over findings with a positive: of the model's own Platt, and of one fitted by folds."""
    here = np.zeros_like(predictions.probabilities)
    for one in np.unique(fold):
        others, mine = fold != one, fold == one
        fitted = Calibration.fit(_rows(predictions, others), targets[others], patients[others], prior)
        here[mine] = fitted.calibrate(_rows(predictions, mine), "platt").probabilities
    shipped = prior.calibrate(predictions, "platt").probabilities
    return {"shipped": _error(shipped, targets), "here": _error(here, targets)}


def _rows(predictions: Predictions, part: NDArray[np.bool_]) -> Predictions:
    return Predictions(predictions.ids[part], predictions.findings, predictions.probabilities[part])


def _error(values: Doubles, targets: NDArray[np.floating]) -> float | None:
    columns = [(y, p) for y, p in zip(targets.T, values.T, strict=True) if (y == 1).any()]
    errors = [expected_calibration_error(y[~np.isnan(y)], p[~np.isnan(y)]) for y, p in columns]
    known = [error for error in errors if error is not None]
    return float(np.mean(known)) if known else None
