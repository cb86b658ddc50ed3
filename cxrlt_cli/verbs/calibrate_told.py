"""What ``calibrate`` says: prevalences, thresholds before and after, and how many patients more would be needed."""

from cxrlt_cli.config import CalibrateOptions
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import listed
from cxrlt_cli.scores.local_fit import FindingFit, LocalFit
from cxrlt_cli.scores.operating_points import LEAST_FLAGGED
from cxrlt_cli.scores.proportions import FEW, Share, patients_for_width, told

NONE = "–"
OTHERS = "patients held out from the fit of the threshold (cross-validation)"


def tell_labelled(fit: LocalFit, before: str, options: CalibrateOptions, reporter: Reporter) -> None:
    """``before``: which of the model's own thresholds stand for what was."""
    knows = any(one.prevalence_before is not None for one in fit.findings.values())
    rows = []
    for name, one in fit.findings.items():
        trained = [_percent(one.prevalence_before)] if knows else []
        rows.append((name, f"{one.positives:,}", f"{one.positive_patients:,}", *_prevalence(one), *trained))
    columns = ("finding", "pos. films", "patients", "prev. %", "95 %", *(["in validation %"] if knows else []))
    films = f"{counted(fit.num_films, 'film')} of {counted(fit.num_patients, 'patient')}"
    reporter.table(f"{options.model} on {options.csv} ({films})", columns, rows)
    if fit.ece["shipped"] is not None and fit.ece["here"] is not None:
        whose = "before" if fit.model is None else "with the calibration of training"
        reporter.result(
            f"Calibration error (ECE), mean of the findings: {fit.ece['shipped']:.3f} {whose}, {fit.ece['here']:.3f} "
            "fitted here (cross-validated by patient).\n"
        )
    if fit.wanted.rule_out:
        _tell_rule_out(fit, before, reporter)
    if fit.wanted.ppv is not None or fit.wanted.nothing:
        _tell_rule_in(fit, before, reporter)
    _tell_width(fit, options, reporter)
    _tell_few(fit, reporter)


def tell_unlabelled(fit: LocalFit, options: CalibrateOptions, reporter: Reporter) -> None:
    rows = [(name, _percent(one.prevalence_before), *_prevalence(one)) for name, one in fit.findings.items()]
    films = f"{counted(fit.num_films, 'film')} of {counted(fit.num_patients, 'patient')}"
    title = f"{options.model} on {options.csv or options.image_dir} ({films} without labels)"
    reporter.table(title, ("finding", "in validation %", "here (EM) %", "95 %"), rows)
    reporter.note(
        "Valid only if films with a finding, and films without it, look here as in training. Confidence intervals are "
        "over patients, and assume that the calibration of training is right. Thresholds stay those of training."
    )
    if left := [name for name, one in fit.findings.items() if one.prevalence is None]:
        reporter.note(
            f"Left as in training, where calibration used fewer than {FEW} films with the finding, or none "
            f"without it: {listed(left, 40)}."
        )


def _tell_rule_out(fit: LocalFit, before: str, reporter: Reporter) -> None:
    promises = fit.wanted.promises
    rows = []
    for name, one in fit.findings.items():
        assert one.shipped is not None, "it has labels"
        patients = str(one.positive_patients)
        if promises:
            patients = f"{NONE if one.missed is None else one.missed} of {patients}"
        now = (NONE, NONE)
        if one.rule_out is not None:
            now = str(one.rule_out.sensitivity), _value(one.rule_out.specificity)
        rows.append((name, patients, _threshold(one.negative_below), str(one.shipped.sensitivity), *now))
    columns = ("finding", "missed" if promises else "patients", "threshold")
    title = f"Negative below the threshold: {fit.wanted.told_rule_out()}"
    reporter.table(title, (*columns, "sens. before", "sens. now", "spec. now"), rows)
    reporter.result(f"Before: {before}. Now: on {'these films' if promises else OTHERS}.\n")
    if promises:
        _tell_promise(fit, reporter)


def _tell_promise(fit: LocalFit, reporter: Reporter) -> None:
    wanted = fit.wanted
    assert wanted.miss_at_most is not None, "it was promised"
    valid = f" It is not valid for other films: {fit.told_trained_on}." if fit.trained_on else ""
    unit = "for all findings at once (Bonferroni)" if wanted.joint else "for each finding separately (for all: --joint)"
    reporter.result(
        f"Guarantee, {unit}: of future patients with the finding, at most {100 * wanted.miss_at_most:g} % have a "
        f"positive film below the threshold; kept by {100 * wanted.sure:g} % of such calibrations (Learn then Test, "
        f"exact binomial), if future patients are drawn as these were.{valid}\n"
    )
    if lacking := [name for name, one in fit.findings.items() if one.negative_below is None]:
        needed = next(one.needed for one in fit.findings.values())
        have = [f"{name} ({fit.findings[name].positive_patients})" for name in lacking]
        end = "Their decisions are left empty" if wanted.ppv is None else "They are never decided negative"
        reporter.warn(
            f"No guarantee, too few patients: it needs {needed} with the finding, if none is missed, and fewer have "
            f"{listed(have, 40)}. {end}."
        )


def _tell_rule_in(fit: LocalFit, before: str, reporter: Reporter) -> None:
    rows, short = [], []
    for name, one in fit.findings.items():
        assert one.shipped is not None, "it has labels"
        assert one.rule_in is not None, "it was asked for"
        now = (NONE, NONE)
        if one.positive_from is not None:
            now = str(one.rule_in.ppv), _value(one.rule_in.sensitivity)
            value = one.rule_in.ppv.value
            if value is not None and value < (fit.wanted.ppv or 0):
                short.append(f"{name} ({value:.2f})")
        shares = str(one.shipped.ppv), *now
        rows.append((name, str(one.positive_patients), _threshold(one.positive_from), *shares))
    columns = ("finding", "patients", "threshold", "PPV before", "PPV now", "sens. now")
    reporter.table(f"Positive at or above the threshold: {fit.wanted.told_rule_in()}", columns, rows)
    reporter.result(f"Before: {before}. Now: on {OTHERS}.\n")
    if none := [name for name, one in fit.findings.items() if one.positive_from is None and one.positive_patients]:
        reporter.note(
            f"No threshold has a predictive value of {fit.wanted.ppv:g} on the films of {LEAST_FLAGGED} patients or "
            f"more: {listed(none, 40)}."
        )
    if short:
        reporter.warn(f"On {OTHERS}, the predictive value falls short of {fit.wanted.ppv:g}: {listed(short, 40)}.")


def _tell_width(fit: LocalFit, options: CalibrateOptions, reporter: Reporter) -> None:
    wanted = fit.wanted
    sensitivity = wanted.sensitivity if wanted.miss_at_most is None else 1 - wanted.miss_at_most
    parts = []
    for what, share, whom in (
        ("sensitivity", sensitivity, "patients with the finding"),
        ("predictive value", wanted.ppv, "patients decided positive"),
    ):
        number = None if share is None else patients_for_width(share, options.width)
        if number is not None:
            parts.append(f"a {what} of {share:g}: {number:,} {whom}")
    if parts:
        reporter.result(f"For a 95 % interval no wider than {options.width:g} at {'; at '.join(parts)}.")


def _tell_few(fit: LocalFit, reporter: Reporter) -> None:
    if fit.wanted.promises:
        return
    have = {name: one.positive_patients for name, one in fit.findings.items()}
    if few := [f"{name} ({number})" for name, number in have.items() if 0 < number < FEW]:
        reporter.warn(f"Fewer than {FEW} patients have the finding, so its threshold is uncertain: {listed(few, 40)}.")
    if nobody := [name for name, number in have.items() if not number]:
        model = f"--decisions use {'a threshold of 0.5' if fit.model is None else 'the threshold of training'}"
        end = model if fit.decides_by_f1 else "their decisions are left empty"
        reporter.warn(
            f"No threshold, because no patient has the finding: {listed(nobody, 40)}. It needs about {FEW} patients "
            f"who have it; until then {end}."
        )


def _prevalence(one: FindingFit) -> tuple[str, str]:
    if one.prevalence is None or one.prevalence_ci is None:
        return NONE, NONE
    low, high = one.prevalence_ci
    return _percent(one.prevalence), f"{_percent(low)}–{_percent(high)}"


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.1f}"


def _value(share: Share) -> str:
    return NONE if share.value is None else told(share.value)


def _threshold(value: float | None) -> str:
    return NONE if value is None else f"{value:.4g}"
