from typing import Any

import numpy as np
import pytest

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.errors import OptionError
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.training.method import Method, logit_scale, order

TARGETS = np.array([[1, 0]] * 15 + [[0, 1]] + [[0, 0]] * 4, np.float32)
IDS = np.arange(20).astype(str).astype(object)
TABLE = LabelTable(IDS, IDS, TARGETS, LabelSpace.of(("a", "b")))


def method(scale: float = 1.0, **changes: Any) -> Method:
    return Method.of(TABLE, TrainOptions.model_validate({"preset": "phantom", **changes}).resolved(), scale)


def test_margins_are_in_units_of_the_scaled_logits() -> None:
    assert logit_scale(TrainOptions(loss="ldam")) == 30
    assert logit_scale(TrainOptions(loss="bce")) == 1
    for scale, margin in ((30.0, 15.0), (1.0, 0.5)):
        settings = method(scale, loss="ldam").criterion._hyperparameters
        assert settings == {"scale": 1.0, "max_margin": margin}
    assert method(30.0, loss="ldam", loss_options={"max_margin": 0.2}).criterion._hyperparameters["max_margin"] == 6


def test_deferred_weights_begin_in_the_last_fifth_or_when_they_are_told_to() -> None:
    assert method(loss="ldam-drw", epochs=10).criterion._drw_epoch == 8
    assert method(loss="ldam-drw", epochs=10, loss_options={"drw_epoch": 3}).criterion._drw_epoch == 3


def test_weights_are_of_names() -> None:
    made = method()
    assert made.criterion.findings == ("a", "b")
    assert made.criterion.counts.tolist() == [15, 1]


def test_a_scale_that_the_head_does_not_have_is_refused() -> None:
    with pytest.raises(OptionError, match="scaled by 1 already"):
        method(1.0, loss="ldam", loss_options={"scale": 30})


@pytest.mark.parametrize(
    ("settings", "shares"), [({}, (0.6, 0.2, 0.2)), ({"negative_share": 0}, (1 / 3, 1 / 3, 1 / 3))]
)
def test_to_class_aware_sampling_the_normal_is_no_finding_like_others(
    settings: dict[str, float], shares: tuple[float, ...]
) -> None:
    targets = np.array([[1, 0, 0]] * 60 + [[0, 1, 0]] * 36 + [[0, 0, 1]] * 4, np.float32)
    ids = np.arange(100).astype(str).astype(object)
    table = LabelTable(ids, ids, targets, LabelSpace.of(("No Finding", "a", "b")))
    options = TrainOptions(preset="phantom", sampler="cas", sampler_options={"epoch_length": 600, **settings})
    draws = order(table, options.resolved())(0)
    np.testing.assert_allclose(targets[draws].mean(axis=0), shares, atol=0.01)
