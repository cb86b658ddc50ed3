"""Scores of multi-label predictions: AP, AUROC, F1, calibration; for each finding, in bands, and as means.

Letters: N films, C findings. A target is 1, 0, or NaN where a film is not labelled for a finding; such pairs are left
out of every score of that finding.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from cxrlt_cli.labels import BANDS, Band, band
from cxrlt_cli.scores import Floats
from cxrlt_cli.scores.bootstrap import Interval, Resampled
from cxrlt_cli.scores.differences import holm
from cxrlt_cli.scores.intervals import Student, gain_interval, interval, p_of_score

Unit = Literal["film", "study"]

NUM_CALIBRATION_BINS = 15
MIN_POSITIVES = 5  # patients who have a finding, from which its scores have an interval
SURE = 0.05  # p, below which something is shown


@dataclass(frozen=True)
class FindingScore:
    """Scores of one finding; None where a score does not exist."""

    name: str
    positives: int
    prevalence: float  # among the labelled films that are scored
    frequency: float  # prevalence that decides the band: of the training films where it is known
    band: Band
    ap: float | None
    auroc: float | None
    f1: float | None
    threshold: float | None
    ece: float | None
    ap_ci: Interval | None = None
    auroc_ci: Interval | None = None
    p_chance: float | None = None  # of AUROC against 0.5, by Holm's correction over all findings that have one

    @property
    def above_chance(self) -> bool | None:
        """Whether AUROC is shown to be above 0.5; None where that was not tested."""
        return None if self.p_chance is None or self.auroc is None else self.auroc > 0.5 and self.p_chance < SURE


@dataclass(frozen=True)
class Comparison:
    """How much better the first of two predictions is in macro AP, on the same resampled patients."""

    ap_difference: float
    ci: Interval | None
    p_better: float | None  # share of the resamples in which it is better, equal ones by half


@dataclass(frozen=True)
class Scores:
    """Scores of C findings; those that are ``skipped`` have no positive film."""

    findings: tuple[FindingScore, ...]
    num_films: int
    num_patients: int | None
    ece_flattened: float | None
    empty: Literal["skip", "zero"] = "skip"
    unit: Unit = "film"  # what is scored, and counted by ``num_films``
    ap_ci: Interval | None = None  # of the macro mean
    auroc_ci: Interval | None = None
    comparison: Comparison | None = None

    @property
    def skipped(self) -> tuple[str, ...]:
        return tuple(finding.name for finding in self.findings if finding.positives == 0)

    def macro(self) -> dict[str, float | None]:
        """Unweighted means over the findings that have a positive film and the score."""
        return self._means(self.findings)

    def by_band(self) -> dict[Band, tuple[FindingScore, ...]]:
        """The findings of each band, the most frequent first."""
        ordered = sorted(self.findings, key=lambda finding: -finding.frequency)
        return {name: tuple(finding for finding in ordered if finding.band == name) for name in BANDS}

    def band_means(self) -> dict[Band, dict[str, float | None]]:
        return {name: self._means(findings) for name, findings in self.by_band().items()}

    def chance_ap(self, findings: Sequence[FindingScore] | None = None) -> float | None:
        """The mean AP that chance has on these findings, or on all: the mean of their prevalences."""
        counted = [one.prevalence for one in self.findings if one.ap is not None and (not findings or one in findings)]
        return float(np.mean(counted)) if counted else None

    def to_json(self) -> dict[str, Any]:
        """The contract of ``cxrlt evaluate --json``; a value that does not exist is null."""
        means = self.band_means()
        content = {
            "num_films": self.num_films,
            **({} if self.unit == "film" else {"unit": self.unit}),
            "num_patients": self.num_patients,
            "macro": {
                **self.macro(),
                "ece_flattened": self.ece_flattened,
                "chance_ap": self.chance_ap(),
                "ap_ci": self.ap_ci,
                "auroc_ci": self.auroc_ci,
            },
            "bands": {
                name: {"findings": [finding.name for finding in findings], **means[name]}
                for name, findings in self.by_band().items()
            },
            "findings": [{**asdict(finding), "above_chance": finding.above_chance} for finding in self.findings],
            "skipped": list(self.skipped),
            "comparison": None if self.comparison is None else asdict(self.comparison),
        }
        listed: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False))  # intervals as lists
        return listed

    def with_intervals(self, resampled: Resampled) -> "Scores":
        """The same scores with the 95 % intervals of resampled patients.

        A finding that fewer than ``MIN_POSITIVES`` patients have gets none, and nothing does with a single patient:
        what resampling shows of so few is not how sure one can be.
        """
        if resampled.num_patients < 2:
            return self
        enough = resampled.positive_patients >= MIN_POSITIVES
        findings = [_with_intervals(one, resampled, c) if enough[c] else one for c, one in enumerate(self.findings)]
        corrected = holm([one.p_chance for one in findings])
        ap, auroc = self.macro()["ap"], self.macro()["auroc"]
        of_ap = Student.of(resampled.ap, resampled.positive_patients)
        of_auroc = Student.of(resampled.auroc, resampled.fewest)
        return replace(
            self,
            findings=tuple(replace(one, p_chance=p) for one, p in zip(findings, corrected, strict=True)),
            ap_ci=None if ap is None else interval(resampled.macro_ap(), ap, of_ap),
            auroc_ci=None if auroc is None else interval(resampled.macro_auroc(), auroc, of_auroc, "logit"),
        )

    def _means(self, findings: Sequence[FindingScore]) -> dict[str, float | None]:
        def mean(values: list[float]) -> float | None:
            return float(np.mean(values)) if values else None

        names = ("ap", "auroc", "f1", "ece")
        return {
            name: mean(
                [v for f in findings if f.positives or self.empty == "zero" if (v := getattr(f, name)) is not None]
            )
            for name in names
        }


def score(
    targets: Floats,
    probabilities: Floats,
    findings: Sequence[str],
    *,
    frequencies: Floats | None = None,
    threshold: float | Literal["best"] = 0.5,
    empty: Literal["skip", "zero"] = "skip",
    num_patients: int | None = None,
    unit: Unit = "film",
) -> Scores:
    """Scores of ``probabilities [N, C]`` against ``targets [N, C]`` (1, 0, NaN).

    AP is the step-wise area under the precision-recall curve with ties grouped, ``sum_n (R_n - R_{n-1}) P_n``, as
    scikit-learn has it. ``frequencies [C]``: training prevalences for the bands; None takes those of ``targets``.
    ``threshold``: where F1 cuts (at or above counts as positive), or ``"best"``: where it is largest on these films.

    A finding without a positive film has no AP and no AUROC and is left out of the means; with ``empty="zero"``, the
    convention of the challenge's winner, its AP counts as 0. A finding without a negative film has no AUROC.
    """
    targets, probabilities = np.asarray(targets), np.asarray(probabilities)
    expected = (len(targets), len(findings))
    assert targets.shape == probabilities.shape == expected, (targets.shape, probabilities.shape, expected)
    prevalences = prevalence(targets)

    def labelled() -> Iterator[tuple[Floats, Floats]]:  # one finding is in memory
        return (_labelled(targets[:, c], probabilities[:, c]) for c in range(len(findings)))

    bands = prevalences if frequencies is None else np.asarray(frequencies, np.float64)
    return Scores(
        findings=tuple(
            _finding(
                name,
                *column,
                float(prevalences[c]),
                float(bands[c]),
                threshold,
                empty,
            )
            for c, (name, column) in enumerate(zip(findings, labelled(), strict=True))
        ),
        num_films=len(targets),
        num_patients=num_patients,
        ece_flattened=_calibration_error(labelled()),
        empty=empty,
        unit=unit,
    )


def _with_intervals(finding: FindingScore, resampled: Resampled, column: int) -> FindingScore:
    """With p against chance as it is before Holm's correction."""
    here = slice(column, column + 1)
    ap, auroc = resampled.ap[:, column], resampled.auroc[:, column]
    of_ap = Student.of(resampled.ap[:, here], resampled.positive_patients[here])
    of_auroc = Student.of(resampled.auroc[:, here], resampled.fewest[here])
    return replace(
        finding,
        ap_ci=None if finding.ap is None else interval(ap, finding.ap, of_ap),
        auroc_ci=None if finding.auroc is None else interval(auroc, finding.auroc, of_auroc, "logit"),
        p_chance=None if finding.auroc is None else p_of_score(auroc, finding.auroc, 0.5, of_auroc),
    )


def compare(first: Scores, second: Scores, resampled: Sequence[Resampled]) -> Comparison | None:
    """Two predictions for the same films and findings, and their scores on the same resamples; None without any AP."""
    ours, theirs = first.macro()["ap"], second.macro()["ap"]
    if ours is None or theirs is None:
        return None
    if not resampled:
        return Comparison(ours - theirs, None, None)
    differences = resampled[0].macro_ap() - resampled[1].macro_ap()
    differences = differences[~np.isnan(differences)]
    better = (differences > 0) + 0.5 * (differences == 0)
    p_better = float(better.mean()) if len(differences) else None
    return Comparison(ours - theirs, gain_interval(resampled[1], resampled[0], ours - theirs), p_better)


def prevalence(targets: Floats) -> NDArray[np.float64]:
    """Share of positive films among the labelled ones, ``[N, C] -> [C]``; 0 where no film is labelled."""
    labelled = (~np.isnan(targets)).sum(axis=0)
    return np.asarray((targets == 1).sum(axis=0) / np.maximum(labelled, 1), np.float64)


def expected_calibration_error(targets: Floats, probabilities: Floats) -> float | None:
    """``sum_b |B_b|/N * |mean(y) - mean(p)|`` over 15 equal-width bins, the last one closed; None without films.

    Guo et al., ICML 2017, arXiv:1706.04599, on the probability of the positive class.
    """
    return _calibration_error([(targets, probabilities)])


def _calibration_error(columns: Iterable[tuple[Floats, Floats]]) -> float | None:
    """Of films of several findings together."""
    number, gaps = 0, np.zeros(NUM_CALIBRATION_BINS)
    for targets, probabilities in columns:
        bins = np.minimum((probabilities * NUM_CALIBRATION_BINS).astype(np.int8), NUM_CALIBRATION_BINS - 1)
        gaps += np.bincount(bins, targets - probabilities, NUM_CALIBRATION_BINS)
        number += len(targets)
    return float(np.abs(gaps).sum() / number) if number else None


def _labelled(targets: Floats, probabilities: Floats) -> tuple[Floats, Floats]:
    """Those of the films that are labelled, in float64."""
    known = ~np.isnan(targets)
    return targets[known].astype(np.float64), probabilities[known].astype(np.float64)


def best_threshold(targets: Floats, probabilities: Floats) -> float:
    """The threshold at which F1 is largest; the highest one among equals."""
    precision, recall, thresholds = precision_recall_curve(targets, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[len(thresholds) - 1 - np.argmax(f1[:-1][::-1])])


def _f1(targets: Floats, decided: NDArray[np.bool_]) -> float:
    """``2 TP / (2 TP + FP + FN)`` of films some of which are positive; scikit-learn's takes as long as AP and AUROC."""
    return float(2 * targets[decided].sum() / (targets.sum() + decided.sum()))


def _finding(
    name: str,
    targets: Floats,
    probabilities: Floats,
    prevalence: float,
    frequency: float,
    threshold: float | Literal["best"],
    empty: Literal["skip", "zero"],
) -> FindingScore:
    positives = int(targets.sum())
    ap = auroc = f1 = cut = None
    if positives:
        ap = float(average_precision_score(targets, probabilities))
        cut = best_threshold(targets, probabilities) if threshold == "best" else threshold
        f1 = _f1(targets, probabilities >= cut)
        if positives < len(targets):
            auroc = float(roc_auc_score(targets, probabilities))
    elif empty == "zero":
        ap = 0.0
    return FindingScore(
        name=name,
        positives=positives,
        prevalence=prevalence,
        frequency=frequency,
        band=band(frequency),
        ap=ap,
        auroc=auroc,
        f1=f1,
        threshold=cut,
        ece=expected_calibration_error(targets, probabilities),
    )
