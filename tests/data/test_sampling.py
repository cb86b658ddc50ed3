from collections import Counter
from itertools import islice

import numpy as np
import pytest

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.data.sampling import SAMPLERS, class_aware_stream, uniform_stream
from tests.helpers import golden


@pytest.mark.parametrize("case", golden()["sampling"]["class_aware"], ids=lambda case: f"k={case['num_per_class']}")
def test_class_aware_sampling_is_the_published_stream(case: dict[str, object]) -> None:
    targets = np.array(golden()["sampling"]["targets"])
    stream = class_aware_stream(targets, case["num_per_class"], case["reduce"], case["seed"])  # type: ignore[arg-type]
    assert list(islice(stream, 2)) == case["epochs"]


def long_tailed(num_films: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.random((num_films, 4)) < (0.4, 0.1, 0.02, 0.005)).astype(np.float32)


def test_every_finding_is_drawn_equally_often() -> None:
    targets = long_tailed()
    draws = np.concatenate(list(islice(class_aware_stream(targets, seed=3), 20)))
    weights = (targets / targets.sum(axis=0)).sum(axis=1) / 4  # the law of the sampler
    np.testing.assert_allclose(targets[draws].mean(axis=0), weights @ targets, rtol=0.03)
    assert (targets[draws].sum(axis=1) > 0).all()


def test_unlabelled_and_empty_findings_are_left_out() -> None:
    targets = np.array([[1, np.nan, 0], [0, np.nan, 0], [1, 1, 0]])
    epoch = next(class_aware_stream(targets, num_per_class=1, reduce=1))
    assert set(epoch) == {0, 2}
    assert len(epoch) == 2 * 2


def test_a_uniform_epoch_holds_every_film_once() -> None:
    first, second = islice(uniform_stream(long_tailed(), seed=1), 2)
    assert sorted(first) == sorted(second) == list(range(2000))
    assert first != second


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_stream_is_a_function_of_its_seed_and_leaves_the_global_one_alone(name: str) -> None:
    import random

    targets = long_tailed(300)
    before = random.getstate()
    first, again, other = (list(islice(SAMPLERS[name](targets, seed=seed), 3)) for seed in (5, 5, 6))
    assert first == again != other
    assert random.getstate() == before
    assert Counter(map(len, first)) == {len(first[0]): 3}


def test_the_options_offer_what_there_is() -> None:
    from typing import get_args

    assert set(get_args(TrainOptions.model_fields["sampler"].annotation)) == set(SAMPLERS)
