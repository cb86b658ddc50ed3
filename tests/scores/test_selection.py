from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import Ranking
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.metrics import expected_calibration_error
from cxrlt_cli.scores.predictions import Predictions, blend, normal_gating
from cxrlt_cli.scores.selection import Choice, Merged, choose, macro_ap, on_scale

NUM_FILMS = 300
RNG = np.random.default_rng(0)
TARGETS = (RNG.random((NUM_FILMS, 3)) < (0.4, 0.2, 0.1)).astype(float)
IDS = np.arange(NUM_FILMS).astype(str).astype(object)
PATIENTS = np.arange(NUM_FILMS) // 2
FINDINGS = ("Normal", "a", "b")


def member(share: float, seed: int) -> Predictions:
    noise = np.random.default_rng(seed).random(TARGETS.shape)
    return Predictions(IDS, FINDINGS, share * TARGETS + (1 - share) * noise)


def always(members: list[Predictions]) -> Merged:
    return lambda _mode, _of_views: members


def macro(predictions: Predictions, targets: Doubles = TARGETS) -> float:
    columns = zip(targets.T, predictions.probabilities.T, strict=True)
    return float(np.mean([average_precision_score(target, column) for target, column in columns]))


def chosen(members: list[Predictions], normal: str | None = None, num_folds: int = 0) -> Choice:
    fold = PATIENTS % num_folds if num_folds else None
    settings: dict[str, Any] = {"findings": FINDINGS, "num_resamples": 60, "seed": 0, "num_threads": 2, "fold": fold}
    return choose(always(members), TARGETS, PATIENTS, normal=normal, **settings)


def test_the_choice_is_as_good_as_it_says_and_no_worse_than_each_member() -> None:
    members = [member(0.3, 1), member(0.35, 2), member(0.0, 3)]
    choice = chosen(members)
    recipe = choice.recipe
    assert choice.ap == pytest.approx(macro(blend(members, recipe.weights, recipe.merge)))
    assert choice.ap >= max(macro(one) for one in members)
    assert recipe.weights[2] < 0.15
    assert choice.gain == pytest.approx(choice.ap - macro(blend(members)))
    assert choice.gain_ci is not None
    assert choice.gain_ci[0] <= choice.gain <= choice.gain_ci[1]
    assert choice.num_folds == 0


def test_gating_is_taken_where_it_surely_helps_and_nowhere_else() -> None:
    """Findings that were scored without a look at Normal gain from it; noise in its place does not help."""
    ungated = member(0.25, 1).probabilities.copy()
    ungated[:, 0] = np.clip(1 - TARGETS[:, 1:].max(axis=1), 0.02, 0.98)
    helps = [Predictions(IDS, FINDINGS, ungated)]
    assert chosen(helps, "Normal").recipe.alpha > 0
    assert chosen(helps, None).recipe.alpha == 0
    for seed in range(10):  # in half of them, noise seems to help
        useless = ungated.copy()
        useless[:, 0] = np.random.default_rng(seed).random(NUM_FILMS)
        recipe = chosen([Predictions(IDS, FINDINGS, useless)], "Normal").recipe
        assert recipe.alpha == 0, seed
        assert recipe.gating is not None
    choice = chosen(helps, "Normal", num_folds=3)
    assert choice.ap == pytest.approx(macro(normal_gating(helps[0], choice.recipe.alpha)), abs=0.02)


def test_nested_is_what_a_loop_over_the_folds_gives() -> None:
    """Each fold blended as was chosen on the other films alone, its ranks among all films put on one scale."""
    members = [member(0.2, 1), member(0.25, 2), member(0.1, 3)]
    nested = chosen(members, num_folds=3)
    assert nested.recipe == chosen(members).recipe
    assert nested.num_folds == 3
    final = blend(members, nested.recipe.weights, nested.recipe.merge).probabilities
    expected = np.empty_like(TARGETS)
    calibrated = np.empty_like(TARGETS)
    for fold in range(3):
        held_out = fold == PATIENTS % 3
        rest = [replace(one, ids=IDS[~held_out], probabilities=one.probabilities[~held_out]) for one in members]
        settings: dict[str, Any] = {"findings": FINDINGS, "num_resamples": 2, "seed": 0, "num_threads": 1, "fold": None}
        recipe = choose(always(rest), TARGETS[~held_out], PATIENTS[~held_out], normal=None, **settings).recipe
        whole = blend(members, recipe.weights, recipe.merge)
        ranks = rankdata(whole.probabilities, axis=0).astype(int) - 1
        whole = replace(whole, probabilities=np.take_along_axis(np.sort(final, axis=0), ranks, axis=0))
        rest = [replace(whole, ids=IDS[~held_out], probabilities=whole.probabilities[~held_out])]
        fitted = Calibration.fit(rest[0], TARGETS[~held_out])
        calibrated[held_out] = fitted.calibrate(whole, "platt").probabilities[held_out]
        expected[held_out] = whole.probabilities[held_out]
    np.testing.assert_array_equal(nested.blended.probabilities, expected)
    assert nested.ap == pytest.approx(macro(nested.blended))
    errors = [expected_calibration_error(TARGETS[:, c], calibrated[:, c]) for c in range(3)]
    assert nested.ece["platt"] == pytest.approx(np.mean(np.array(errors)))
    assert nested.ece["platt"] < nested.ece["none"]
    assert nested.calibration is not None
    assert nested.gain == pytest.approx(nested.ap - macro(blend(members)))


def test_the_calibration_error_as_it_is_is_that_of_what_is_written() -> None:
    """One fold is blended by ranks, which are no probabilities."""
    usual, good, bad = (member(share, 1) for share in (0.3, 0.4, 0.0))
    fold = PATIENTS % 3
    by_rank = replace(good, probabilities=np.where(fold[:, None] == 0, bad.probabilities, good.probabilities))
    merged: Merged = lambda mode, _: [by_rank if mode == "rank" else usual]  # noqa: E731
    settings: dict[str, Any] = {"normal": None, "num_resamples": 2, "seed": 0, "num_threads": 1}
    choice = choose(merged, TARGETS, PATIENTS, findings=FINDINGS, fold=fold, **settings)
    assert choice.recipe.merge == "mean"
    written = choice.blended.probabilities
    errors = [expected_calibration_error(TARGETS[:, c], written[:, c]) for c in range(3)]
    assert choice.ece["none"] == pytest.approx(np.mean(np.array(errors)))


def test_the_ap_of_each_draw_is_that_of_resamples_to_the_last_bit() -> None:
    """Ties, films that are not labelled, findings without a positive."""
    rng = np.random.default_rng(0)
    empty = 0
    for most in (40, 3000) * 200:
        size = rng.integers(1, most)
        targets = rng.choice([0.0, 1.0, np.nan], (size, 2), p=[0.7, 0.2, 0.1])
        values = rng.choice([0.0, -0.0, *rng.normal(size=most)], (size, 2))
        everyone, alike = np.arange(size), np.ones(size)
        aps = [Ranking(targets[:, c], values[:, c], everyone)(alike)[0] for c in range(2)]
        if np.isnan(aps).all():
            empty += 1
        else:
            assert macro_ap(values, targets) == np.nanmean(aps)
    assert empty < 100


@pytest.mark.soak
def test_nested_is_no_better_than_chance_on_noise() -> None:
    """Of five members that know nothing, the best weights on 60 films seem good, and are not on others."""
    too_good: list[float] = []
    honest: list[float] = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        targets = (rng.random((60, 2)) < 0.3).astype(float)
        ids = np.arange(60).astype(str).astype(object)
        members = [Predictions(ids, ("a", "b"), rng.random((60, 2))) for _ in range(5)]
        chance = np.mean([macro(one, targets) for one in members])
        for fold, into in ((None, too_good), (np.arange(60) % 5, honest)):
            settings: dict[str, Any] = {
                "findings": ("a", "b"),
                "num_resamples": 2,
                "seed": 0,
                "num_threads": 1,
            }
            choice = choose(always(members), targets, ids, fold=fold, normal=None, **settings)
            into.append(float(choice.ap - chance))
    error = np.std(honest, ddof=1) / np.sqrt(len(honest))
    assert np.mean(too_good) > 0.08
    assert np.mean(honest) < 2 * error


def test_ranks_on_another_scale() -> None:
    rng = np.random.default_rng(0)
    values, scale = rng.random((50, 2)), rng.random((50, 2))
    np.testing.assert_array_equal(on_scale(values, values), values)
    np.testing.assert_array_equal(on_scale(10 * values, scale), on_scale(values, scale))
    mapped = on_scale(values, scale)
    np.testing.assert_array_equal(np.sort(mapped, axis=0), np.sort(scale, axis=0))
    np.testing.assert_array_equal(np.argsort(mapped, axis=0), np.argsort(values, axis=0))
    tied = on_scale(np.round(values, 1), scale)
    assert all(len(set(tied[:, c])) == len(set(np.round(values[:, c], 1))) for c in range(2))
