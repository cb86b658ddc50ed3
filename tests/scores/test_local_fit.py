import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cxrlt_cli.scores.local_fit import FORMAT, LocalFit, Wanted
from cxrlt_cli.scores.predictions import Decisions, Predictions
from tests.scores.places import NAMES, fitted, place

BOTH = Wanted(miss_at_most=0.1, ppv=0.6)


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(sensitivity=0.9), BOTH, Wanted(miss_at_most=0.2, joint=True)])
def test_it_is_the_same_after_json(wanted: Wanted) -> None:
    fit = fitted(wanted)
    content = json.loads(json.dumps(fit.to_json(), allow_nan=False))
    assert content["format"] == FORMAT
    assert LocalFit.from_json(content) == fit
    assert ("Learn then Test" in content["method"]) == wanted.promises


def test_a_damaged_one_is_noticed() -> None:
    content = json.loads(json.dumps(fitted(BOTH).to_json()))
    content["findings"]["common"]["negative_below"] = "0.1"
    with pytest.raises(TypeError, match="no number"):
        LocalFit.from_json(content)
    content["findings"]["common"]["negative_below"] = 0.1
    content["reference"]["below"]["common"] = [0.5]
    with pytest.raises(ValueError, match="do not match"):
        LocalFit.from_json(content)


def test_between_two_thresholds_nothing_is_decided() -> None:
    fit = fitted(BOTH)
    low, high = fit.thresholds("common")
    assert low is not None
    assert high is not None
    assert low < high
    predictions, *_ = place(seed=1)
    decided = fit.decide(predictions, None)
    assert isinstance(decided, Decisions)
    for score, cell in zip(predictions.probabilities[:, 0], decided.probabilities[:, 0], strict=True):
        assert (cell == 0) == (score < low)
        assert (cell == 1) == (score >= high)
        assert np.isnan(cell) == (low <= score < high)
    assert fit.thresholds("rare")[0] is None, "too few have it"
    assert fit.without_threshold() == (["rare"] if fit.thresholds("rare")[1] is None else [])
    assert not (decided.probabilities[:, 1] == 0).any(), "nothing promises that it is absent"


@pytest.mark.parametrize(("lacking", "left"), [("positive_from", {0.0}), ("negative_below", {1.0})])
def test_of_two_thresholds_one_decides_what_it_can(lacking: str, left: set[float]) -> None:
    """A promise is not thrown away because no threshold has the wanted predictive value."""
    fit = fitted(BOTH)
    changes: dict[str, Any] = {lacking: None}
    one = replace(fit.findings["common"], **changes)
    fit = replace(fit, findings={**fit.findings, "common": one})
    predictions = place(seed=1)[0].select(["common"])
    cells = fit.decide(predictions, None).probabilities[:, 0]
    assert set(cells[~np.isnan(cells)]) == left
    scores = predictions.probabilities[:, 0]
    low, high = fit.thresholds("common")
    known = scores < low if low is not None else scores >= (high or 0)
    np.testing.assert_array_equal(~np.isnan(cells), known)
    assert "common" not in fit.without_threshold()
    never = "positive" if lacking == "positive_from" else "negative"
    assert "common" in fit.with_one_of_two()[never]


def test_a_threshold_for_positives_is_never_below_the_other_and_is_judged_as_it_is() -> None:
    """What was promised of misses stays, and nothing is left between."""
    wanted = Wanted(miss_at_most=0.4, sure=0.5, ppv=0.2)
    fit, alone = fitted(wanted), fitted(Wanted(ppv=0.2))
    own, other = fit.findings["common"], alone.findings["common"]
    assert own.negative_below is not None
    assert other.positive_from is not None
    assert other.positive_from < own.negative_below == own.positive_from
    assert own.rule_in is not None
    assert other.rule_in is not None
    assert (own.rule_in.ppv.value or 0) > (other.rule_in.ppv.value or 1), "of the threshold that decides"
    decided = fit.decide(place(seed=1)[0].select(["common"]), None)
    assert set(np.unique(decided.probabilities)) == {0.0, 1.0}


def test_one_threshold_decides_all() -> None:
    for wanted, which in ((Wanted(sensitivity=0.9), "negative_below"), (Wanted(ppv=0.6), "positive_from")):
        fit = fitted(wanted)
        predictions = place(seed=1)[0].select(["common"])
        decided = fit.decide(predictions, None).probabilities
        np.testing.assert_array_equal(decided, predictions.probabilities >= getattr(fit.findings["common"], which))
    by_rule = fit.decide(predictions, "sensitivity-0.8")
    np.testing.assert_array_equal(
        by_rule.probabilities, fit.calibration.decide(predictions, "sensitivity-0.8").probabilities
    )


def test_where_nothing_was_asked_f1_decides() -> None:
    fit = fitted(Wanted())
    predictions = place(seed=1)[0]
    assert fit.decides_by_f1
    assert fit.without_threshold() == []
    np.testing.assert_array_equal(
        fit.decide(predictions, None).probabilities, fit.calibration.decide(predictions, "f1").probabilities
    )


def test_decisions_are_written_with_empty_cells(tmp_path: object) -> None:
    ids = np.array(["a", "b", "c"], object)
    decided = Decisions(ids, NAMES, np.array([[1, np.nan], [0, np.nan], [np.nan, 1.0]]))
    assert decided.to_csv() == "ImageID,common,rare\na,1,\nb,0,\nc,,1\n"
    assert type(decided.select(["rare"])) is Decisions
    with pytest.raises(Exception, match="not a probability"):
        Predictions(ids, NAMES, decided.probabilities)
    with pytest.raises(Exception, match=r"0\.5"):
        Decisions(ids, ("x",), np.array([[1], [0], [0.5]]))


def test_what_is_wanted_is_told() -> None:
    assert Wanted().told() == "f1"
    assert BOTH.told() == "at most 10 % missed, 95 % sure and predictive value 0.6"
    assert Wanted(miss_at_most=0.05, joint=True).told() == "at most 5 % missed, 95 % sure, for all findings at once"
