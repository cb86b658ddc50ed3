"""What ``--calibration`` and ``--decisions`` go by: as the training fitted it, or as it was fitted at this place.

What a threshold rests on is told before it is used; what was left undecided, and whether films are unlike those that it
was fitted on, afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import listed
from cxrlt_cli.scores.calibration import Calibration, Rule
from cxrlt_cli.scores.drift import ALARMS, LEAST, NOTHING, Drift, Drifts, Meter, Traits, ViewDrift
from cxrlt_cli.scores.local_fit import LocalFit
from cxrlt_cli.scores.operating_points import Worth
from cxrlt_cli.scores.predictions import Decisions, Predictions
from cxrlt_cli.scores.proportions import FEW

UNKNOWN = "not known"  # of checkpoints that did not keep it


@dataclass(frozen=True)
class Deciding:
    """Calibrations and thresholds of findings, by name."""

    calibration: Calibration
    local: LocalFit | None = None  # what ``cxrlt calibrate`` fitted, whose calibration it is
    rule: Rule | None = None  # None: as that was asked, or f1
    films: str = "the validation films of the training"  # that thresholds by a rule were fitted on

    def decide(self, predictions: Predictions) -> Decisions:
        if self.local is not None:
            return self.local.decide(predictions, self.rule)
        return self.calibration.decide(predictions, self.rule or "f1")

    @property
    def by_rule(self) -> Rule | None:
        """The rule that decides; None where thresholds are those that calibrate was asked for."""
        if self.rule is None and self.local is not None and not self.local.decides_by_f1:
            return None
        return self.rule or "f1"

    def tell(self, findings: Sequence[str], reporter: Reporter) -> None:
        """The thresholds of ``--decisions``, what each rests on, and which rest on little."""
        unit = "patients"
        if (rule := self.by_rule) is None:
            assert self.local is not None, "it was asked"
            self._tell_asked(self.local, findings, reporter)
            without = set(self.local.without_threshold())
            patients = {name: self.local.findings[name].positive_patients for name in findings if name not in without}
        else:
            self._tell_rule(rule, findings, reporter)
            shares = self.calibration.sensitivity.get(rule, {})
            kept = self.calibration.positives
            unit = "patients" if shares else "films"  # checkpoints of before kept no patients
            patients = {
                name: shares[name].patients if name in shares else kept[name] for name in findings if name in kept
            }
        if few := [f"{name} ({number})" for name, number in patients.items() if number < FEW]:
            way_out = "" if self.fitted_here else " cxrlt calibrate fits them on films of your own."
            reporter.warn(
                f"Fewer than {FEW} {unit} with the finding are behind the thresholds of {listed(few, 40)}: on other "
                f"films they may find far fewer.{way_out}"
            )

    @property
    def fitted_here(self) -> bool:
        """Whether thresholds are those of labelled films of this place."""
        return self.local is not None and not self.local.unlabelled

    def _tell_rule(self, rule: Rule, findings: Sequence[str], reporter: Reporter) -> None:
        shares = self.calibration.sensitivity.get(rule, {})
        rows = []
        for name in findings:
            share, positives = shares.get(name), self.calibration.positives.get(name)
            rows.append(
                (
                    name,
                    f"{self.calibration.thresholds[rule][name]:.4g}",
                    UNKNOWN if positives is None else f"{positives:,}",
                    UNKNOWN if share is None else f"{share.patients:,}",
                    UNKNOWN if share is None else str(share),
                )
            )
        columns = ("finding", "threshold", "pos. films", "patients", "sens. on these (95 %)")
        where = "films of this place" if self.fitted_here else self.films
        reporter.table(f"Thresholds by {rule}, fitted on {where}", columns, rows)

    def _tell_asked(self, local: LocalFit, findings: Sequence[str], reporter: Reporter) -> None:
        rows = []
        for name in findings:
            fit = local.findings[name]
            low, high = local.thresholds(name)
            cells = [name, f"{fit.positive_patients:,}"]
            if local.wanted.rule_out:
                cells += [_number(low), _cell(fit.rule_out, "sensitivity")]
            if local.wanted.ppv is not None:
                cells += [_number(high), _cell(fit.rule_in, "ppv")]
            rows.append(tuple(cells))
        columns = ["finding", "patients"]
        columns += ["neg. below", "sens. (95 %)"] if local.wanted.rule_out else []
        columns += ["pos. from", "PPV (95 %)"] if local.wanted.ppv is not None else []
        films = f"{counted(local.num_films, 'film')} of {counted(local.num_patients, 'patient')}"
        reporter.table(f"Thresholds for {local.wanted.told()}, fitted on {films}", columns, rows)
        if local.trained_on:
            reporter.result(f"Not valid for other films: {local.told_trained_on}.\n")
        if empty := [name for name in local.without_threshold() if name in findings]:
            reporter.warn(f"Left empty in --decisions, as they have no threshold: {listed(empty, 40)}.")
        for decision, lacking in local.with_one_of_two().items():
            if named := [name for name in lacking if name in findings]:
                reporter.warn(f"Left empty, not decided {decision}: {listed(named, 40)} have no threshold for it.")


@dataclass
class Watch:
    """What is counted while films are predicted, of those that were not predicted before a stop."""

    deciding: Deciding
    findings: Sequence[str]  # that are written
    num_films: int = 0
    undecided: int = 0
    cells: int = 0
    _meter: Meter | None = field(init=False)

    def __post_init__(self) -> None:
        local = self.deciding.local
        self._meter = None if local is None else Meter(local.reference, self.findings)

    def see(self, predictions: Predictions, decided: Decisions | None, traits: Traits = NOTHING) -> None:
        """The next films, as the model gives them, as they were decided, and what else is known of them."""
        self.num_films += len(predictions.ids)
        if self._meter is not None:
            self._meter.add(predictions, self.deciding.calibration.calibrate(predictions, "platt"), traits)
        if decided is not None:
            empty = set() if self.deciding.local is None else set(self.deciding.local.without_threshold())
            columns = [c for c, name in enumerate(decided.findings) if name not in empty]
            self.undecided += int(np.isnan(decided.probabilities[:, columns]).sum())
            self.cells += decided.probabilities[:, columns].size

    def tell(self, reporter: Reporter, number: int = 0) -> None:
        """What was left undecided, and whether the films are unlike those that thresholds were fitted on.

        ``number``: of all films, where some may have been predicted before a stop.
        """
        local = self.deciding.local
        if self._meter is None or local is None:
            return
        if self.num_films < number:
            reporter.note(
                f"Of {number:,} films, {number - self.num_films:,} were predicted before a stop, and are not in the "
                "counts that follow."
            )
        if self.cells and self.deciding.by_rule is None and local.wanted.rule_out and local.wanted.ppv is not None:
            share = f"{self.undecided:,} of {self.cells:,} decisions ({100 * self.undecided / self.cells:.0f} %)"
            reporter.result(f"Between both thresholds, and left empty: {share}, of {counted(self.num_films, 'film')}.")
        if self.num_films < LEAST:
            reporter.note(
                f"Whether these films are like those that were calibrated on is not tested: {self.num_films} of "
                f"{LEAST} that it takes."
            )
            return
        believed = {name: local.unlabelled or fit.positives >= FEW for name, fit in local.findings.items()}
        prevalences = {name: fit.prevalence if believed[name] else None for name, fit in local.findings.items()}
        drifts = self._meter.drifts(prevalences)
        if drifts.found:
            promise = " The guarantee may not hold." if local.wanted.promises else ""
            reporter.warn(
                f"These {counted(self.num_films, 'film')} are unlike those that were calibrated on, in "
                f"{_all_told(drifts, prevalences)}.{promise} Films of the same kind are called unlike in at most "
                f"{100 * ALARMS:g} % of all runs, if there are as many of each patient. Calibrate again on films like "
                "these."
            )
        untested = ["familiarity"] if drifts.familiarity is None else []
        untested += [] if drifts.views else ["views"]
        if untested:
            reporter.note(
                f"Of drift, not tested: {' and '.join(untested)}, which the films calibrated on, or these, do not tell."
            )


def _all_told(drifts: Drifts, prevalences: Mapping[str, float | None]) -> str:
    """All in which films are unlike those before: as a whole first, then finding by finding."""
    parts = []
    if drifts.familiarity is not None and drifts.familiarity.found:
        how = "less" if drifts.familiarity.higher else "more"
        parts.append(f"familiarity ({how} like the training films, distance {drifts.familiarity.distance:.2f})")
    if views := [f"{name} {_percent(one)}" for name, one in drifts.views.items() if one.found]:
        parts.append(f"views ({listed(views, 10)})")
    told = [_told(name, drift, prevalences[name]) for name, drift in drifts.scores.items() if drift.found]
    if told:
        parts.append(f"the scores of {listed(told, 10)}")
    return "; in ".join(parts)


def _percent(drift: ViewDrift) -> str:
    return f"{100 * drift.now:.0f} % for {100 * drift.before:.0f} %"


def _told(name: str, drift: Drift, before: float | None) -> str:
    words = f"{name} ({'higher' if drift.higher else 'lower'}, distance {drift.distance:.2f}"
    if before is not None and drift.prevalence is not None:
        words += f"; as prevalence alone: {100 * drift.prevalence:.0f} % for {100 * before:.0f} %"
    return f"{words})"


def _number(threshold: float | None) -> str:
    return "–" if threshold is None else f"{threshold:.4g}"


def _cell(worth: Worth | None, which: str) -> str:
    return "–" if worth is None else str(getattr(worth, which))
