import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from cxrlt_cli.scores.bootstrap import resample
from cxrlt_cli.scores.metrics import best_threshold, compare, expected_calibration_error, prevalence, score

NAMES = ("a", "b", "c")


def data(num_films: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = (rng.random((num_films, 3)) < (0.4, 0.1, 0.02)).astype(float)
    return targets, np.round(np.clip(0.3 * targets + 0.7 * rng.random((num_films, 3)), 0, 1), 2)  # with ties


def test_scores_are_scikit_learns() -> None:
    targets, probabilities = data()
    for c, finding in enumerate(score(targets, probabilities, NAMES).findings):
        assert finding.ap == average_precision_score(targets[:, c], probabilities[:, c])
        assert finding.auroc == roc_auc_score(targets[:, c], probabilities[:, c])
        assert finding.f1 == f1_score(targets[:, c], probabilities[:, c] >= 0.5)
        assert finding.positives == targets[:, c].sum()


def test_unlabelled_films_count_for_nothing() -> None:
    targets, probabilities = data()
    masked = targets.copy()
    masked[:50, 1] = np.nan
    ours = score(masked, probabilities, NAMES)
    apart = score(targets[50:], probabilities[50:], NAMES)
    assert ours.findings[1] == apart.findings[1]
    assert ours.findings[0] == score(targets, probabilities, NAMES).findings[0]


def test_a_finding_without_a_positive_is_skipped_or_zero() -> None:
    targets, probabilities = data()
    targets[:, 2] = 0
    skip, zero = (score(targets, probabilities, NAMES, empty=how) for how in ("skip", "zero"))
    assert skip.skipped == zero.skipped == ("c",)
    assert skip.findings[2].ap is None
    first, second = skip.findings[0].ap, skip.findings[1].ap
    assert first is not None
    assert second is not None
    assert skip.macro()["ap"] == pytest.approx((first + second) / 2)
    assert zero.macro()["ap"] == pytest.approx((first + second) / 3)
    assert zero.macro()["auroc"] == skip.macro()["auroc"]


def test_a_finding_without_a_negative_has_no_auroc() -> None:
    scores = score(np.ones((5, 1)), np.full((5, 1), 0.7), ["a"])
    assert scores.findings[0].auroc is None
    assert scores.findings[0].ap == 1
    assert scores.macro()["auroc"] is None


def test_bands_follow_the_given_frequencies() -> None:
    targets, probabilities = data()
    scores = score(targets, probabilities, NAMES, frequencies=np.array([0.009, 0.1, 0.11]))
    assert {name: [f.name for f in found] for name, found in scores.by_band().items()} == {
        "head": ["c"],
        "medium": ["b"],
        "tail": ["a"],
    }
    assert scores.band_means()["tail"]["ap"] == scores.findings[0].ap


def naive_ece(targets: list[float], probabilities: list[float]) -> float:
    total = 0.0
    for b in range(15):
        inside = [
            (y, p)
            for y, p in zip(targets, probabilities, strict=True)
            if b / 15 <= p < (b + 1) / 15 or (b == 14 and p == 1)
        ]
        total += abs(sum(y for y, _ in inside) - sum(p for _, p in inside))
    return total / len(targets)


def test_calibration_error_equals_a_naive_loop() -> None:
    rng = np.random.default_rng(1)
    probabilities = np.append(rng.random(500), [0.0, 1.0, 1.0])
    targets = (rng.random(503) < probabilities).astype(float)
    assert expected_calibration_error(targets, probabilities) == pytest.approx(
        naive_ece(targets.tolist(), probabilities.tolist())
    )
    assert expected_calibration_error(np.zeros(0), np.zeros(0)) is None


def test_the_last_bin_is_closed() -> None:
    """1.0 falls into one bin with 0.95: the gaps of -1 and 0.05 are added before their size is taken."""
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([1.0, 0.95])) == pytest.approx(0.95 / 2)


def test_best_threshold_is_the_best_of_all() -> None:
    targets, probabilities = data()
    cut = best_threshold(targets[:, 1], probabilities[:, 1])
    best = max(f1_score(targets[:, 1], probabilities[:, 1] >= t) for t in np.unique(probabilities[:, 1]))
    assert f1_score(targets[:, 1], probabilities[:, 1] >= cut) == best
    assert score(targets, probabilities, NAMES, threshold="best").findings[1].threshold == cut


def test_films_may_be_permuted() -> None:
    targets, probabilities = data()
    order = np.random.default_rng(3).permutation(len(targets))
    assert score(targets[order], probabilities[order], NAMES).macro()["ap"] == pytest.approx(
        score(targets, probabilities, NAMES).macro()["ap"]
    )


def test_json_has_the_contracts_keys_and_no_made_up_number() -> None:
    targets, probabilities = data()
    targets[:, 2] = 0
    content = json.loads(json.dumps(score(targets, probabilities, NAMES, num_patients=7).to_json(), allow_nan=False))
    assert set(content) == {"num_films", "num_patients", "macro", "bands", "findings", "skipped", "comparison"}
    assert set(content["macro"]) >= {"ap", "auroc", "f1", "ece", "ap_ci", "auroc_ci"}
    assert set(content["bands"]) == {"head", "medium", "tail"}
    assert set(content["findings"][0]) >= {"name", "positives", "prevalence", "ap", "auroc", "f1", "threshold", "ece"}
    assert content["findings"][2]["ap"] is None
    assert content["bands"]["tail"]["ap"] is None
    assert content["skipped"] == ["c"]
    assert content["num_patients"] == 7


def test_prevalence_is_among_labelled_films() -> None:
    assert prevalence(np.array([[1, np.nan], [0, np.nan], [np.nan, np.nan]])).tolist() == [0.5, 0]


def test_few_positives_have_no_interval_and_one_patient_has_none_at_all() -> None:
    rng = np.random.default_rng(0)
    targets = np.zeros((60, 2))
    targets[:20, 0] = 1
    targets[:4, 1] = 1
    probabilities = rng.random((60, 2))
    scores = score(targets, probabilities, ["usual", "rare"])
    (resampled,) = resample(targets, [probabilities], np.arange(60), 30)
    with_intervals = scores.with_intervals(resampled)
    assert with_intervals.findings[0].ap_ci is not None
    assert with_intervals.findings[1].ap_ci is None
    assert with_intervals.ap_ci is not None
    (alone,) = resample(targets, [probabilities], np.zeros(60), 30)
    assert scores.with_intervals(alone) is scores


def test_resamples_without_a_value_are_no_losses() -> None:
    targets, probabilities = np.zeros((50, 1)), np.random.default_rng(0).random((50, 1))
    targets[0] = 1
    scores = score(targets, probabilities, ["x"])
    comparison = compare(scores, scores, resample(targets, [probabilities] * 2, np.arange(50), 60))
    assert comparison is not None
    assert comparison.p_better == 0.5


def test_above_chance_is_by_holm_over_the_findings_that_have_an_interval() -> None:
    rng = np.random.default_rng(0)
    targets = np.zeros((300, 4))
    for column, number in enumerate((60, 60, 60, 3)):
        targets[rng.permutation(300)[:number], column] = 1
    probabilities = rng.random((300, 4)) + targets * (0.8, 0.0, -0.8, 0.8)
    probabilities = np.clip((probabilities + 1) / 3, 0, 1)
    scores = score(targets, probabilities, ["seen", "chance", "below", "few"])
    (drawn,) = resample(targets, [probabilities], np.arange(300), 100)
    judged = scores.with_intervals(drawn)
    assert [one.above_chance for one in judged.findings] == [True, False, False, None]
    seen, chance, below, few = (one.p_chance for one in judged.findings)
    assert seen is not None
    assert below is not None
    assert chance is not None
    assert max(seen, below) < 0.001
    assert chance > 0.05
    assert few is None
    told = judged.to_json()
    assert [one["above_chance"] for one in told["findings"]] == [True, False, False, None]
    assert told["macro"]["chance_ap"] == pytest.approx(targets.mean())
