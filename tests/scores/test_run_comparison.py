import numpy as np
import pytest
from scipy.special import expit

from cxrlt_cli.scores.bootstrap import resample
from cxrlt_cli.scores.differences import Difference, holm
from cxrlt_cli.scores.intervals import gain_interval
from cxrlt_cli.scores.metrics import score
from cxrlt_cli.scores.run_comparison import Compared, Seeds, compare_runs
from cxrlt_cli.scores.spread import over_seeds
from tests.scores.simulated import simulate

NAMES = ("a", "b", "c", "d")


def made(gains: list[float], seed: int = 0, num_patients: int = 250, num_resamples: int = 120) -> list[Seeds]:
    """Models of one seed each, on the same resamples; ``gains``: how much more each knows of the labels."""
    rng = np.random.default_rng(seed)
    targets, base, patients = simulate(num_patients, rng)
    members = [base + gain * targets + 0.3 * rng.standard_normal(base.shape) for gain in gains]
    members = [expit(one) for one in members]
    scores = [score(targets, one, NAMES) for one in members]
    drawn = resample(targets, members, patients, num_resamples, seed=seed)
    return [{None: pair} for pair in zip(scores, drawn, strict=True)]


def difference_of(one: Compared | None) -> Difference:
    assert one is not None
    assert one.difference is not None
    return one.difference


def test_each_is_compared_with_the_first_on_the_same_patients() -> None:
    models = made([0.0, 1.0, 0.0])
    first, better, alike = compare_runs(dict(zip("xyz", models, strict=True)))
    assert first.ap is not None
    assert better.ap is not None
    assert first.ap.difference is None
    found = [difference_of(one) for row in (better, alike) for one in (row.ap, row.auroc)]
    assert found[0].value == pytest.approx(better.ap.value - first.ap.value)
    gain = gain_interval(models[0][None][1], models[1][None][1], found[0].value)
    assert found[0].ci == pytest.approx(gain)
    assert [one.p_holm for one in found] == pytest.approx(holm([one.p for one in found]))
    assert max(one.p_holm or 0 for one in found[:2]) < 0.001 < 0.05 < max(one.p or 0 for one in found[2:])


def test_a_model_does_not_differ_from_itself() -> None:
    (model,) = made([0.0])
    _, same = compare_runs({"x": model, "y": dict(model)})
    one = difference_of(same.ap)
    assert (one.value, one.ci, one.p) == (0.0, (0.0, 0.0), 1.0)


def test_seeds_are_paired_where_both_have_the_same() -> None:
    """What seeds share, such as folds, falls out of the difference; of other seeds it does not."""
    models = [one[None] for one in made([0.0, 0.8, 0.02, 0.82])]
    base: Seeds = {1: models[0], 2: models[1]}
    _, paired = compare_runs({"x": base, "y": {1: models[2], 2: models[3]}})
    _, apart = compare_runs({"x": base, "y": {3: models[2], 4: models[3]}})
    assert paired.num_seeds == 2
    assert paired.ap is not None
    assert apart.ap is not None
    assert paired.ap.value == apart.ap.value == np.mean([one[0].macro()["ap"] for one in models[2:]])
    (low, high), (wider_low, wider_high) = (difference_of(one.ap).ci or (0, 0) for one in (paired, apart))
    assert 2 * (high - low) < wider_high - wider_low
    pairs = zip(models[2:], models[:2], strict=True)
    drawn = over_seeds([mine[1].macro_ap() - other[1].macro_ap() for mine, other in pairs], 0)
    assert high - low > 2 * 1.96 * drawn.std()


def test_without_resamples_there_are_values_alone() -> None:
    _, second = compare_runs(dict(zip("xy", made([0.0, 0.1], num_resamples=0), strict=True)))
    assert second.ap is not None
    assert second.ap.ci is None
    assert (difference_of(second.ap).ci, difference_of(second.ap).p) == (None, None)


def test_nothing_is_called_something_in_about_5_percent() -> None:
    """Of 20 pairs of models that know as much; and a gain is found nearly always."""
    called = np.zeros(2)
    for seed in range(20):
        _, alike, better = compare_runs(dict(zip("xyz", made([0.0, 0.0, 0.6], seed, 200, 60), strict=True)))
        called += [(difference_of(one.ap).p or 0.0) < 0.05 for one in (alike, better)]
    assert called[0] <= 3, called
    assert called[1] >= 18, called
