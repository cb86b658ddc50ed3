import numpy as np
import pytest

from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.local_fit import Wanted
from cxrlt_cli.scores.local_fitting import best_f1, fit_labelled, fit_unlabelled, shipped_rule
from cxrlt_cli.scores.operating_points import for_ppv, for_sensitivity, held_out, worth_of
from cxrlt_cli.scores.risk_control import highest_threshold, lowest_scores
from tests.scores.places import NAMES, fitted, folds, place

PRIOR = Calibration.fit(*place(patients=3000, seed=9)[:2])


def test_of_the_models_own_thresholds_the_one_for_what_is_wanted() -> None:
    assert shipped_rule(Wanted(sensitivity=0.9)) == shipped_rule(Wanted(miss_at_most=0.1)) == "sensitivity-0.9"
    assert shipped_rule(Wanted(miss_at_most=0.05, ppv=0.5)) == "sensitivity-0.95"
    assert shipped_rule(Wanted(sensitivity=0.85)) == shipped_rule(Wanted(ppv=0.9)) == shipped_rule(Wanted()) == "f1"


def test_what_was_before_is_the_models_own_threshold_on_these_films() -> None:
    fit = fitted(Wanted(sensitivity=0.9), PRIOR, shift=-2.0)
    predictions, targets, _ = place(shift=-2.0)
    own = PRIOR.thresholds["sensitivity-0.9"]["common"]
    shipped, here = fit.findings["common"].shipped, fit.findings["common"].rule_out
    assert shipped is not None
    assert here is not None
    assert shipped.sensitivity.value == (predictions.probabilities[targets[:, 0] == 1, 0] >= own).mean()
    assert shipped.sensitivity.value is not None
    assert shipped.sensitivity.value < 0.8, "films here are darker"
    assert here.sensitivity.value == pytest.approx(0.9, abs=0.06)
    assert fit.findings["common"].prevalence_before == pytest.approx(PRIOR.prevalence("common"))
    assert fit.findings["common"].prevalence == targets[:, 0].mean()
    assert fit.ece["here"] is not None
    assert fit.ece["shipped"] is not None
    assert fit.ece["here"] < fit.ece["shipped"]


@pytest.mark.parametrize("wanted", [Wanted(sensitivity=0.8), Wanted(ppv=0.5), Wanted()])
def test_what_is_told_is_of_patients_that_a_threshold_was_not_fitted_on(wanted: Wanted) -> None:
    """On these films themselves a threshold finds what was wanted, or has the best F1; on those of others not quite."""
    predictions, targets, patients = place(patients=60, seed=3)
    prior, fold = Calibration.identity(NAMES), folds(patients)
    fit = fit_labelled(predictions, targets, patients, fold, wanted, prior, model=None, tta="none").findings["common"]
    worth = fit.rule_out or fit.rule_in
    rule = for_sensitivity(0.8) if wanted.sensitivity else for_ppv(0.5) if wanted.ppv else best_f1
    films = targets[:, 0].astype(float), predictions.probabilities[:, 0], patients
    assert worth == worth_of(films[0], held_out(rule, *films, fold), patients)
    threshold = rule(*films)
    assert threshold is not None
    assert threshold in (fit.negative_below, fit.positive_from)
    assert worth != worth_of(films[0], (films[1] >= threshold).astype(float), patients)


def test_the_promise_is_that_of_risk_control_on_labelled_films() -> None:
    predictions, targets, patients = place()
    targets[:40, 0] = np.nan
    for joint in (False, True):
        wanted = Wanted(miss_at_most=0.1, joint=joint)
        prior = Calibration.identity(NAMES)
        fit = fit_labelled(predictions, targets, patients, folds(patients), wanted, prior, model=None, tta="none")
        lowest = lowest_scores(targets[:, 0], predictions.probabilities[:, 0], patients)
        kept = highest_threshold(lowest, 0.1, 0.975 if joint else 0.95)
        own = fit.findings["common"]
        assert (own.negative_below, own.missed, own.needed) == (kept.threshold, kept.missed, kept.needed)
        assert own.labelled == len(targets) - 40
        assert own.positive_patients == len(lowest)
        assert fit.wanted == wanted


def test_few_films_stay_near_the_models_own_line_and_many_leave_it() -> None:
    few, many = fitted(Wanted(), PRIOR, patients=8), fitted(Wanted(), PRIOR, patients=2000, shift=-2.0)
    own = np.array(PRIOR.platt["common"])
    assert np.abs(np.array(few.calibration.platt["common"]) - own).max() < 0.4
    assert np.array(many.calibration.platt["common"])[1] - own[1] < 0.5
    bare = Calibration.fit(*place(patients=2000, shift=-2.0)[:2]).platt["common"]
    np.testing.assert_allclose(many.calibration.platt["common"], bare, atol=0.02)


def test_films_without_labels_move_the_offset_to_their_prevalence() -> None:
    rng = np.random.default_rng(0)
    predictions, targets, patients = place(patients=4000, seed=4)
    keep = (targets[:, 0] == 1) | (rng.random(len(targets)) < 0.2)  # fewer films without it
    some = predictions.rows(list(predictions.ids[keep]))
    fit = fit_unlabelled(some, patients[keep], PRIOR, model="abc", tta="none")
    here, truth = fit.findings["common"], targets[keep, 0].mean()
    assert here.prevalence == pytest.approx(truth, abs=0.04)
    assert here.prevalence_ci is not None
    assert here.prevalence_ci[0] < truth < here.prevalence_ci[1]
    assert abs(truth - (PRIOR.prevalence("common") or 0)) > 0.15
    moved = fit.calibration.calibrate(some, "platt").probabilities[:, 0].mean()
    assert moved == pytest.approx(truth, abs=0.04)
    assert fit.calibration.platt["common"][0] == PRIOR.platt["common"][0]
    assert fit.calibration.thresholds == PRIOR.thresholds
    assert fit.unlabelled
