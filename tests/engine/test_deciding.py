from dataclasses import replace

import numpy as np

from cxrlt_cli.engine.deciding import UNKNOWN, Deciding, Watch
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.drift import STATED, Traits
from cxrlt_cli.scores.local_fit import Wanted
from cxrlt_cli.scores.local_fitting import fit_labelled
from tests.helpers import Recorder
from tests.scores.places import NAMES, fitted, folds, place

BOTH = Wanted(miss_at_most=0.1, ppv=0.6)


def test_what_a_threshold_of_a_place_rests_on_is_told() -> None:
    fit, recorder = fitted(BOTH), Recorder()
    Deciding(fit.calibration, fit).tell(NAMES, recorder)
    common = fit.findings["common"]
    assert common.rule_out is not None
    assert common.rule_in is not None
    columns, row, rare = recorder.texts[0]
    assert row == (
        "common",
        str(common.positive_patients),
        f"{common.negative_below:.4g}",
        str(common.rule_out.sensitivity),
        f"{common.positive_from:.4g}",
        str(common.rule_in.ppv),
    )
    assert len(columns) == len(row)
    assert rare[2] == "–"
    assert recorder.warnings == ["Left empty in --decisions, as they have no threshold: rare."]


def test_a_finding_with_one_of_two_thresholds_is_told() -> None:
    fit, recorder = fitted(BOTH), Recorder()
    one = replace(fit.findings["common"], positive_from=None)
    fit = replace(fit, findings={**fit.findings, "common": one})
    Deciding(fit.calibration, fit).tell(NAMES, recorder)
    assert "Left empty, not decided positive: common have no threshold for it." in recorder.warnings


def test_a_rule_of_the_training_is_told_with_its_sensitivity() -> None:
    predictions, targets, patients = place()
    calibration, recorder = Calibration.fit(predictions, targets, patients), Recorder()
    Deciding(calibration, None, "sensitivity-0.9").tell(["rare"], recorder)
    share = calibration.sensitivity["sensitivity-0.9"]["rare"]
    threshold = calibration.thresholds["sensitivity-0.9"]["rare"]
    assert share.value == (predictions.probabilities[targets[:, 1] == 1, 1] >= threshold).mean()
    assert recorder.texts[0][1] == ("rare", f"{threshold:.4g}", str(share.films), str(share.patients), str(share))
    old = replace(calibration, sensitivity={}, labelled={})
    Deciding(old).tell(["common"], recorder)
    assert recorder.texts[1][1][3:] == (UNKNOWN, UNKNOWN)
    few = replace(old, positives={"common": 3, "rare": 0})
    Deciding(few).tell(["common"], recorder)
    assert recorder.warnings[-1].startswith("Fewer than 30 films with the finding are behind the thresholds of common")
    Deciding(Calibration.identity(NAMES)).tell(["common"], recorder)
    assert recorder.texts[3][1][2:] == (UNKNOWN, UNKNOWN, UNKNOWN)


def test_what_lies_between_two_thresholds_is_counted_stretch_by_stretch() -> None:
    fit, recorder = fitted(BOTH), Recorder()
    watch = Watch(Deciding(fit.calibration, fit), NAMES)
    predictions = place(seed=1)[0]
    undecided = 0
    for rows in np.array_split(np.arange(len(predictions.ids)), 5):
        part = predictions.rows(list(predictions.ids[rows]))
        decided = watch.deciding.decide(part)
        undecided += int(np.isnan(decided.probabilities[:, 0]).sum())
        watch.see(part, decided)
    number = len(predictions.ids)
    watch.tell(recorder, number)
    assert not [note for note in recorder.notes if "before a stop" in note]
    assert 0 < undecided < number
    assert recorder.results == [
        f"Between both thresholds, and left empty: {undecided} of {number} decisions "
        f"({100 * undecided / number:.0f} %), of {number} films."
    ]
    assert recorder.warnings == [], "films of the same kind"


def test_another_place_is_told_with_its_prevalence() -> None:
    fit, recorder = fitted(Wanted(miss_at_most=0.1)), Recorder()
    watch = Watch(Deciding(fit.calibration, fit), NAMES)
    other = place(seed=2, shift=2.0)[0]
    watch.see(other, None)
    watch.tell(recorder, len(other.ids) + 20)
    assert recorder.results == []
    (warning,) = recorder.warnings
    assert warning.startswith(
        f"These {len(other.ids)} films are unlike those that were calibrated on, in the scores of"
    )
    assert "common (higher, distance 0." in warning
    assert "The guarantee may not hold." in warning
    number = len(other.ids) + 20
    assert recorder.notes == [
        f"Of {number:,} films, 20 were predicted before a stop, and are not in the counts that follow.",
        "Of drift, not tested: familiarity and views, which the films calibrated on, or these, do not tell.",
    ]


def test_films_that_are_less_familiar_or_of_other_views_are_told() -> None:
    predictions, targets, patients = place()
    number = len(patients)
    familiar = Traits(np.linspace(0, 1, number), {STATED: ["PA", "L"] * (number // 2) + ["PA"] * (number % 2)})
    fit = fit_labelled(
        predictions, targets, patients, folds(patients), BOTH, Calibration.identity(NAMES), model="abc", tta="none",
        traits=familiar,
    )  # fmt: skip
    recorder, watch = Recorder(), Watch(Deciding(fit.calibration, fit), NAMES)
    come = place(seed=1)[0]
    watch.see(come, None, Traits(np.full(len(come.ids), 0.95), {STATED: ["L"] * len(come.ids)}))
    watch.tell(recorder)
    (warning,) = recorder.warnings
    assert "in familiarity (less like the training films, distance 0.9" in warning
    assert "; in views (L 100 % for 50 %, PA 0 % for 50 %)." in warning
    assert "scores of" not in warning
    assert recorder.notes == []
