import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlt_cli.scores.robustness import Kind, Robustness, robustness

FINDINGS = ("effusion", "never", "nodule")
KINDS = (Kind("noise", (1, 2), "levels"), Kind("tilt", (5, 10), "degrees"))


def made(seed: int = 0, fall: float = 0.3) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.object_]]:
    """Labels ``[N, C]``, versions ``[5, N, C]`` of which the first kind's lose what they knew, and patients."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((300, 3)) < (0.4, 0.0, 0.2)).astype(float)
    targets[:7, 0] = np.nan
    signal = np.nan_to_num(targets)
    noise = rng.random((300, 3))
    shares = (0.4, 0.4 - fall / 2, 0.4 - fall, 0.4, 0.4)
    versions = np.stack([share * signal + (1 - share) * noise for share in shares])
    return targets, versions, np.array([f"p{row // 2}" for row in range(300)], object)


def result(num_resamples: int = 200, seed: int = 0, fall: float = 0.3) -> Robustness:
    targets, versions, patients = made(seed, fall)
    return robustness("m", targets, versions, FINDINGS, KINDS, patients, num_resamples)


def test_levels_are_means_over_the_findings_that_occur() -> None:
    targets, versions, _ = made()
    found = result(0)
    known = ~np.isnan(targets[:, 0])
    assert found.findings == ("effusion", "nodule")
    assert found.num_films == 300
    levels = [found.plain, *(level for trend in found.trends for level in trend.levels)]
    for level, version in zip(levels, versions, strict=True):
        for value, score in ((level.ap, average_precision_score), (level.auroc, roc_auc_score)):
            naive = [score(targets[known, 0], version[known, 0]), score(targets[:, 2], version[:, 2])]
            assert value == pytest.approx(np.mean(naive))
        assert level.ap_ci is None


def test_a_slope_is_the_line_through_all_steps() -> None:
    for trend in result(0).trends:
        aps = [result(0).plain.ap, *(level.ap for level in trend.levels)]
        aurocs = [result(0).plain.auroc, *(level.auroc for level in trend.levels)]
        assert trend.ap_slope == pytest.approx(np.polyfit([0, 1, 2], np.array(aps, float), 1)[0])
        assert trend.auroc_slope == pytest.approx(np.polyfit([0, 1, 2], np.array(aurocs, float), 1)[0])
    assert result(0).trends[1].ap_slope == 0  # the second kind's versions are the first


def test_intervals_are_of_the_same_patients_in_every_version() -> None:
    found = result(400)
    lost, same = found.trends
    assert lost.ap_slope_ci is not None
    assert lost.ap_slope_ci[0] < (lost.ap_slope or 0) < lost.ap_slope_ci[1] < 0
    assert same.ap_slope_ci == pytest.approx((0.0, 0.0), abs=1e-12)
    assert same.levels[0] == same.levels[1] == found.plain
    assert found.plain.ap_ci is not None
    assert found.plain.ap_ci[0] < (found.plain.ap or 0) < found.plain.ap_ci[1]


@pytest.mark.soak
def test_an_interval_of_a_slope_holds_it_as_often_as_it_says() -> None:
    """Of 50 draws of 300 films; the truth is the mean over many such draws."""
    truth = float(np.mean([result(0, seed).trends[0].auroc_slope or 0 for seed in range(1000, 1040)]))
    held = []
    for seed in range(50):
        bounds = result(50, seed).trends[0].auroc_slope_ci
        assert bounds is not None
        held.append(bounds[0] <= truth <= bounds[1])
    assert 42 <= sum(held) <= 50


def test_one_patient_has_no_interval_and_nothing_is_made_up_without_positives() -> None:
    targets, versions, _ = made()
    alone = robustness("m", targets, versions, FINDINGS, KINDS, np.full(300, "p", object), 50)
    assert alone.plain.ap_ci is None is alone.trends[0].ap_slope_ci
    empty = robustness("m", np.zeros((300, 3)), versions, FINDINGS, KINDS, np.arange(300), 20)
    assert (empty.plain.ap, empty.trends[0].ap_slope, empty.findings) == (None, None, ())
    assert json.loads(json.dumps(empty.to_json(), allow_nan=False))["plain"]["ap"] is None


def test_the_json_names_kinds_strengths_and_scores() -> None:
    content = json.loads(json.dumps(result().to_json(), allow_nan=False))
    assert content["checkpoint"] == "m"
    assert [kind["name"] for kind in content["perturbations"]] == ["noise", "tilt"]
    noise = content["perturbations"][0]
    assert noise["strengths"] == [1, 2]
    assert [len(noise[name]) for name in ("ap", "auroc", "ap_ci", "auroc_ci")] == [2, 2, 2, 2]
    assert noise["ap_slope_ci"][0] < noise["ap_slope"] < noise["ap_slope_ci"][1]
