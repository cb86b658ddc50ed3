import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.scores.calibration import Calibration, Rule
from cxrlt_cli.scores.metrics import expected_calibration_error, score
from cxrlt_cli.scores.predictions import Predictions

NUM_FILMS = 4000


def simulated(shares: tuple[float, ...] = (0.3, 0.05, 0.002), seed: int = 0) -> tuple[Predictions, np.ndarray]:
    """Probabilities that are too sure and too high: the truth is sigmoid(z / 2 - 1)."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.standard_normal((NUM_FILMS, len(shares))) + 2 * np.log(np.array(shares))
    targets = (rng.random(z.shape) < expit(z / 2 - 1)).astype(float)
    ids = np.arange(NUM_FILMS).astype(str).astype(object)
    names = tuple(f"finding {number}" for number in range(len(shares)))
    return Predictions(ids, names, expit(z)), targets


def test_platt_equals_scikit_learn_where_there_is_enough_to_learn_from() -> None:
    predictions, targets = simulated((0.5,))
    (slope, offset), *_ = Calibration.fit(predictions, targets).platt.values()
    z = np.log(predictions.probabilities / (1 - predictions.probabilities))
    reference = LogisticRegression(C=np.inf, tol=1e-8).fit(z, targets[:, 0])
    assert (slope, offset) == pytest.approx((reference.coef_[0, 0], reference.intercept_[0]), abs=0.02)


def test_calibrated_probabilities_say_how_often_and_keep_their_order() -> None:
    calibration = Calibration.fit(*simulated(seed=0))
    predictions, targets = simulated(seed=1)
    for method in ("platt", "temperature"):
        after = calibration.calibrate(predictions, method)
        for c in range(3):
            before = expected_calibration_error(targets[:, c], predictions.probabilities[:, c])
            now = expected_calibration_error(targets[:, c], after.probabilities[:, c])
            assert before is not None
            assert now is not None
            assert now < (0.35 if method == "platt" else 1.01) * before + 0.003, (method, c)
        np.testing.assert_array_equal(
            np.argsort(after.probabilities[:, 0]), np.argsort(predictions.probabilities[:, 0])
        )


def test_rare_findings_borrow_from_all_others() -> None:
    predictions, targets = simulated()
    targets[:, 2] = 0
    targets[np.argmin(predictions.probabilities[:, 2]), 2] = 1  # one film, and a misleading one
    calibration = Calibration.fit(predictions, targets)
    assert calibration.positives["finding 2"] == 1
    slopes = [slope for slope, _ in calibration.platt.values()]
    assert slopes[2] > 0.3, "one film does not turn a finding round"
    thresholds = calibration.thresholds["f1"]
    assert thresholds["finding 2"] > 100 * predictions.probabilities[:, 2].min()


def test_a_finding_without_a_positive_has_the_pooled_thresholds() -> None:
    predictions, targets = simulated()
    targets[:, 2] = 0
    targets[:50, 1] = np.nan
    calibration = Calibration.fit(predictions, targets)
    assert all(0 < values["finding 2"] < 1 for values in calibration.thresholds.values())
    nobody = Calibration.fit(predictions, np.zeros_like(targets))
    assert set(nobody.thresholds["sensitivity-0.9"].values()) == {0.5}


def test_thresholds_do_what_they_are_named_for() -> None:
    calibration = Calibration.fit(*simulated((0.5,), seed=0))
    predictions, targets = simulated((0.5,), seed=1)
    rules: tuple[tuple[Rule, float], ...] = (("sensitivity-0.8", 0.8), ("sensitivity-0.95", 0.95))
    for rule, sensitivity in rules:
        decided = calibration.decide(predictions, rule).probabilities
        assert set(np.unique(decided)) == {0.0, 1.0}
        assert decided[targets == 1].mean() == pytest.approx(sensitivity, abs=0.03)
    rare, truth = simulated((0.4, 0.01), seed=2)
    decided = Calibration.fit(rare, truth).decide(rare, "sensitivity-0.95").probabilities[:, 1]
    assert decided[truth[:, 1] == 1].mean() >= 0.95, "a rare finding does not lose its sensitivity to the others"
    best = score(targets, predictions.probabilities, ["x"], threshold="best").findings[0].f1
    ours = score(targets, calibration.decide(predictions, "f1").probabilities, ["x"]).findings[0].f1
    assert best is not None
    assert ours is not None
    assert ours > best - 0.02


def test_it_is_kept_in_json_and_missed_where_it_is_not_there() -> None:
    calibration = Calibration.fit(*simulated())
    training = {"calibration": json.loads(json.dumps(calibration.to_json()))}
    assert Calibration.of(training, ["finding 1"]) == calibration
    with pytest.raises(CheckpointError, match=r"carries no calibration\."):
        Calibration.of({}, ["finding 1"])
    with pytest.raises(CheckpointError, match="carries no calibration for other"):
        Calibration.of(training, ["other"])


def test_a_finding_that_ranks_the_wrong_way_keeps_its_base_rate() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((2000, 1)) < 0.15).astype(float)
    probabilities = np.clip(0.6 - 0.4 * targets + 0.1 * rng.standard_normal((2000, 1)), 0.01, 0.99)
    ids = np.arange(2000).astype(str).astype(object)
    predictions = Predictions(ids, ("x",), probabilities)
    after = Calibration.fit(predictions, targets).calibrate(predictions, "platt").probabilities
    assert after.mean() == pytest.approx(targets.mean(), rel=0.1)
    assert (np.argsort(after[:, 0]) == np.argsort(probabilities[:, 0])).all()


def test_the_smallest_probabilities_stay_apart() -> None:
    calibration = Calibration.fit(*simulated((0.3,)))
    tiny = Predictions(np.array(list("abc"), object), ("finding 0",), np.array([[1e-9], [2e-9], [5e-8]]))
    assert (np.diff(calibration.calibrate(tiny, "platt").probabilities[:, 0]) > 0).all()
