import math
from itertools import pairwise

import pytest

from cxrlt_cli.config import FinetuneOptions, TrainOptions
from cxrlt_cli.training.schedule import FLOOR, Phase, deferral, lr_factor, phases_of

PHASE = Phase("all", 60, "all", 1.0, 0.1, 5 / 60, True, 0.999)


def test_a_ramp_then_a_cosine() -> None:
    rates = [lr_factor(PHASE, step, 600) for step in range(600)]
    assert rates[0] == 1 / 50
    assert rates[49] == 1
    assert rates[50] == 1
    assert rates[599] == pytest.approx(FLOOR)
    assert all(later > sooner for sooner, later in pairwise(rates[:50]))
    assert all(later < sooner for sooner, later in pairwise(rates[50:]))
    middle = 50 + 549 / 2
    assert lr_factor(PHASE, math.floor(middle), 600) == pytest.approx(FLOOR + (1 - FLOOR) / 2, abs=2e-3)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 11])
def test_short_phases_stay_within_bounds(num_steps: int) -> None:
    assert all(FLOOR <= lr_factor(PHASE, step, num_steps) <= 1 for step in range(num_steps))


def test_the_head_warms_up_at_a_constant_rate() -> None:
    head, whole = phases_of(TrainOptions(preset="challenge").resolved())
    assert (head.trains, head.num_epochs, head.lr_head, head.ema_decay) == ("head", 10, 1e-3, 0)
    assert {lr_factor(head, step, 100) for step in range(100)} == {1.0}
    assert (whole.trains, whole.num_epochs, whole.lr_head, whole.lr_backbone) == ("all", 60, 1.5e-4, 1.5e-5)


def test_a_phase_without_epochs_is_left_out() -> None:
    assert [phase.name for phase in phases_of(TrainOptions(preset="challenge", warmup_epochs=0).resolved())] == ["all"]
    assert [phase.name for phase in phases_of(TrainOptions(preset="challenge", epochs=0).resolved())] == ["head"]


def test_deferred_weights_begin_late_in_the_last_phase() -> None:
    assert deferral(phases_of(TrainOptions(preset="challenge").resolved())) == 10 + 48
    assert deferral((PHASE,)) == 48


def test_retraining_is_one_phase_of_the_head() -> None:
    options = FinetuneOptions.model_validate({"checkpoint": "x", "retrain_head": True, "epochs": 7}).resolved()
    (phase,) = phases_of(options)
    assert (phase.trains, phase.num_epochs, phase.lr_head, phase.ema_decay) == ("head", 7, 1e-3, 0.9999)
