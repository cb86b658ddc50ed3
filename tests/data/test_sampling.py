import math
import random
import time
from collections import Counter
from itertools import islice
from typing import Any, get_args

import numpy as np
import pytest

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.data import sampling
from cxrlt_cli.data.sampling import SAMPLERS, class_aware_stream, create, label_share_repeats, repeat_factors
from cxrlt_cli.errors import OptionError
from tests.helpers import golden

GOLDEN = golden()["sampling"]


def long_tailed(num_films: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.random((num_films, 4)) < (0.4, 0.1, 0.02, 0.005)).astype(np.float32)


def law(targets: np.ndarray) -> np.ndarray:
    """The probability of a film to be drawn under class-aware sampling."""
    counts = targets.sum(axis=0)
    return np.asarray((targets / counts).sum(axis=1) / len(counts))


@pytest.mark.parametrize("case", GOLDEN["class_aware"], ids=lambda case: f"k={case['num_per_class']}")
def test_class_aware_sampling_is_the_published_stream(case: dict[str, Any]) -> None:
    stream = class_aware_stream(np.array(GOLDEN["targets"]), case["num_per_class"], case["reduce"], case["seed"])
    assert list(islice(stream, 2)) == case["epochs"]


@pytest.mark.parametrize("case", GOLDEN["repeat_factor"], ids=lambda case: f"t={case['threshold']}")
def test_repeat_factors_are_the_published_ones(case: dict[str, Any]) -> None:
    factors = repeat_factors(np.array(GOLDEN["targets"]), case["threshold"])
    np.testing.assert_allclose(factors, case["factors"], rtol=1e-7)  # the reference is in float32


@pytest.mark.parametrize("threshold", [0.01, 0.3, 2.0])
def test_the_winners_repeats_equal_a_naive_loop(threshold: float) -> None:
    targets = np.array(GOLDEN["targets"])
    counts = targets.sum(axis=0)
    for film, repeats in zip(targets, label_share_repeats(targets, threshold, 3), strict=True):
        factors = [max(1.0, math.sqrt(threshold / (n / counts.sum()))) for n, y in zip(counts, film, strict=True) if y]
        assert repeats == round(min(3, max(factors, default=1.0)))


def draws_of(name: str, targets: np.ndarray, num_epochs: int, **settings: Any) -> np.ndarray:
    order = create(name, targets, seed=3, num_epochs=num_epochs, **settings)
    return np.concatenate([order(epoch) for epoch in range(num_epochs)])


def test_the_fast_order_and_the_published_stream_have_one_law() -> None:
    """Every film's share of 40 epochs, and how the findings follow one another."""
    targets = long_tailed(400)
    published = np.concatenate(list(islice(class_aware_stream(targets, seed=3), 40)))
    fast = draws_of("cas", targets, 40, negative_share=0)
    assert len(fast) == len(published)
    expected = law(targets) * len(fast)
    for draws in (published, fast):
        seen = np.bincount(draws, minlength=400)
        assert (seen[expected == 0] == 0).all()
        assert (np.abs(seen - expected) < 6 * np.sqrt(expected) + 1e-9).all()
        rare = np.flatnonzero(targets[:, 3])  # of one rank in every round: drawn equally often, give or take a round
        alone = rare[targets[rare].sum(axis=1) == 1]
        assert np.ptp(seen[alone]) <= 40 + 1


def test_films_of_a_finding_follow_one_another_without_repeats_within_a_round() -> None:
    targets = np.eye(3).repeat(21, axis=0)
    draws = draws_of("cas", targets, 2, reduce=1)
    blocks = draws.reshape(-1, 3) // 21
    assert (blocks == blocks[:, :1]).all()
    rounds = blocks[:, 0].reshape(-1, 3)
    assert (np.sort(rounds, axis=1) == np.arange(3)).all()
    for finding in range(3):
        mine = draws[draws // 21 == finding]
        assert all(len(set(mine[start : start + 21])) == 21 for start in range(0, len(mine) - 20, 21))


def test_every_finding_is_drawn_equally_often() -> None:
    targets = long_tailed()
    draws = draws_of("cas", targets, 20, negative_share=0)
    np.testing.assert_allclose(targets[draws].mean(axis=0), law(targets) @ targets, rtol=0.03)
    assert (targets[draws].sum(axis=1) > 0).all()


def test_films_without_a_finding_keep_their_share_of_the_draws() -> None:
    targets = long_tailed()
    empty = targets.sum(axis=1) == 0
    draws = draws_of("cas", targets, 3)
    assert 0.4 < empty.mean() < 0.6
    assert empty[draws].mean() == pytest.approx(empty.mean(), abs=1e-3)
    with_one = draws[~empty[draws]]
    np.testing.assert_allclose(targets[with_one].mean(axis=0), law(targets) @ targets, rtol=0.05)
    rare = np.array([[1.0]] * 2 + [[0.0]] * 98)
    assert rare[draws_of("cas", rare, 20)].all(), "an epoch has a film with a finding, however short it is"


def test_unlabelled_and_empty_findings_are_left_out() -> None:
    targets = np.array([[1, np.nan, 0], [0, np.nan, 0], [1, 1, 0]])
    fast = create("cas", targets, seed=0, num_epochs=1, reduce=1, negative_share=0)
    for epoch in (next(class_aware_stream(targets, 1, 1)), fast(0)):
        assert set(epoch) == {0, 2}
        assert len(epoch) == 2 * 2


def test_an_epoch_has_the_length_the_cap_and_the_share_that_were_asked_for() -> None:
    targets = long_tailed()
    empty = targets.sum(axis=1) == 0
    settings = {"epoch_length": 1500, "repeat_cap": 2, "negative_share": 0.2}
    order = create("cas", targets, seed=0, num_epochs=1, **settings)
    for epoch in range(3):
        draws = order(epoch)
        assert len(draws) == 1500
        assert empty[draws].sum() == 300
        assert np.bincount(draws).max() == 2
        halves = [targets[half][:, 3].sum() for half in (draws[:750], draws[750:])]
        assert min(halves) > 0.15 * sum(halves), "rare findings are spread over the epoch"
    without_cap = create("cas", targets, seed=0, num_epochs=1, epoch_length=1500)(0)
    assert np.bincount(without_cap).max() > 10
    assert targets[draws][:, 3].sum() < targets[without_cap][:, 3].sum()


def test_settings_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(OptionError, match="every film has a finding"):
        create("cas", np.ones((4, 2)), seed=0, num_epochs=1, negative_share=0.5)
    with pytest.raises(OptionError, match="repeat_cap 2 leaves fewer draws"):
        create("cas", np.ones((4, 2)), seed=0, num_epochs=1, epoch_length=100, repeat_cap=2)
    with pytest.raises(OptionError, match="repeat_cap 2 leaves fewer draws"):
        few = np.array([[1.0]] * 50 + [[0.0]])
        create("cas", few, seed=0, num_epochs=1, epoch_length=20, repeat_cap=2, negative_share=0.3)
    wrong = {"num_per_class": 2.5, "reduce": 0, "epoch_length": 0, "repeat_cap": 0, "negative_share": 1}
    for name, value in wrong.items():
        with pytest.raises(OptionError, match=f"{name} is {value}"):
            create("cas", long_tailed(), seed=0, num_epochs=1, **{name: value})
    with pytest.raises(OptionError, match="no film has one"):
        create("cas", np.zeros((4, 2)), seed=0, num_epochs=1)
    with pytest.raises(OptionError, match=r"Sampler rfs has no setting cap\.") as caught:
        create("rfs", long_tailed(), seed=0, num_epochs=1, cap=2)
    assert caught.value.hint == "It has threshold=0.01."


def test_repeat_factors_are_met_on_average() -> None:
    targets = long_tailed()
    factors = repeat_factors(targets, 0.1)
    seen = np.bincount(draws_of("rfs", targets, 300, threshold=0.1)) / 300
    assert np.abs(seen - factors).max() < 0.15
    assert seen.sum() == pytest.approx(factors.sum(), rel=1e-3)
    factors = repeat_factors(targets, 0.04)
    order = create("rfs", targets, seed=3, num_epochs=1, threshold=0.04)
    counts = np.stack([np.bincount(order(epoch), minlength=len(targets)) for epoch in range(50)])
    assert (counts >= np.floor(factors)).all()
    split = np.flatnonzero((factors > 1.2) & (factors < 1.8))[:40]
    rows = np.arange(len(split) - 1)
    links = np.asarray(np.corrcoef(counts[:, split].T))[rows, rows + 1]
    assert abs(links.mean()) < 0.1, "which films go up has nothing to do with their order in the CSV"
    assert (np.bincount(create("rfs", targets, seed=0, num_epochs=1)(0)) >= 1).mean() > 0.999


def test_square_root_sampling_weighs_by_the_rarest_finding() -> None:
    targets = np.array([[1, 0]] * 90 + [[1, 1]] * 9 + [[0, 0]])
    seen = np.bincount(draws_of("sqrt", targets, 2000), minlength=100) / 2000
    assert seen[90:99].mean() / seen[:90].mean() == pytest.approx(math.sqrt(99 / 9), rel=0.03)
    assert seen[99] / seen[:90].mean() == pytest.approx((1 + math.sqrt(11)) / 2, rel=0.1)
    wider = np.hstack([targets, np.zeros((100, 1))])  # a finding without a film changes nothing
    np.testing.assert_array_equal(draws_of("sqrt", targets, 3), draws_of("sqrt", wider, 3))


def test_progressive_sampling_goes_from_uniform_to_balanced() -> None:
    targets = long_tailed()
    targets = targets[targets.any(axis=1)]
    order = create("progressive", targets, seed=0, num_epochs=5)
    rare = [targets[order(epoch)][:, 3].mean() for epoch in range(5)]
    assert rare == sorted(rare)
    assert rare[0] < 0.02 < 0.15 < rare[4]


def test_a_uniform_epoch_holds_every_film_once() -> None:
    order = create("uniform", long_tailed(), seed=1, num_epochs=2)
    assert sorted(order(0)) == sorted(order(1)) == list(range(2000))
    assert (order(0) != order(1)).any()


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_order_is_a_function_of_seed_and_epoch(name: str) -> None:
    targets = long_tailed(300)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    first, again, other = (create(name, targets, seed=seed, num_epochs=4) for seed in (5, 5, 6))
    epochs = [first(epoch) for epoch in range(4)]
    for epoch in (3, 1, 0, 2):
        np.testing.assert_array_equal(again(epoch), epochs[epoch])
    assert (other(1) != epochs[1]).any()
    assert Counter(map(len, epochs)) == {len(epochs[0]): 4}
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_million_films_are_a_matter_of_seconds(name: str) -> None:
    rng = np.random.default_rng(0)
    targets = np.zeros((1_000_000, 10), np.float32)
    for finding, share in enumerate(np.geomspace(0.3, 1e-4, 10)):
        targets[rng.choice(len(targets), int(share * len(targets)), replace=False), finding] = 1
    start = time.perf_counter()
    draws = create(name, targets, seed=0, num_epochs=2)(1)
    assert time.perf_counter() - start < 10
    assert len(draws) > 500_000


def test_the_options_offer_what_there_is() -> None:
    assert set(get_args(TrainOptions.model_fields["sampler"].annotation)) == set(SAMPLERS)
    assert sampling.settings_of("uniform") == {}
