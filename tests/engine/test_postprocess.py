from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrlt_cli.config import InferOptions
from cxrlt_cli.engine.postprocess import Postprocess, normal_finding, plan_of_views
from cxrlt_cli.engine.predict import Outputs
from cxrlt_cli.errors import CheckpointError, OptionError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.predictions import OOD_SCORE
from tests.helpers import FINDINGS

IDS = np.array([f"{number}.png" for number in range(5)], object)


def options(**changes: Any) -> InferOptions:
    return InferOptions.model_validate({"checkpoint": "m.safetensors", "csv": "a.csv", **changes})


@pytest.fixture(scope="module")
def checkpoint(run: Path) -> Checkpoint:
    return Checkpoint.read(run / "best.safetensors")


@pytest.fixture(scope="module")
def outputs(checkpoint: Checkpoint) -> Outputs:
    """Of two views."""
    draw = torch.Generator().manual_seed(0)
    width = checkpoint.novelty["novelty.mean"].shape[0]
    return Outputs(torch.randn(2, 5, 3, generator=draw), torch.randn(5, width, generator=draw))


def test_views_are_merged_and_findings_are_chosen(checkpoint: Checkpoint, outputs: Outputs) -> None:
    post = Postprocess.of(options(findings="nodule", tta="flip", merge="max"), checkpoint)
    (found,) = post.predictions(IDS, outputs)
    assert found.findings == ("nodule",)
    np.testing.assert_allclose(
        found.probabilities[:, 0], outputs.logits.sigmoid().max(dim=0).values[:, 2].numpy(), rtol=1e-6
    )
    assert post.watch() is None
    assert not post.need_features


def test_decisions_are_by_what_the_model_gives_and_gating_comes_after_calibration(
    checkpoint: Checkpoint, outputs: Outputs
) -> None:
    given = options(calibration="platt", decisions="d.csv", decide="sensitivity-0.9", postprocess="normal_gating")
    post = Postprocess.of(given, checkpoint)
    found, decided = post.predictions(IDS, outputs)
    (plain,) = Postprocess.of(options(), checkpoint).predictions(IDS, outputs)
    calibration = Calibration.of(checkpoint.training, FINDINGS)
    np.testing.assert_array_equal(decided.probabilities, calibration.decide(plain, "sensitivity-0.9").probabilities)
    calibrated = calibration.calibrate(plain, "platt").probabilities
    gate = (1 - calibrated[:, :1]) ** given.alpha
    np.testing.assert_allclose(found.probabilities, np.hstack([calibrated[:, :1], calibrated[:, 1:] * gate]))


def test_the_gating_finding_need_not_be_written(checkpoint: Checkpoint, outputs: Outputs) -> None:
    every = Postprocess.of(options(postprocess="normal_gating"), checkpoint).predictions(IDS, outputs)[0]
    one = Postprocess.of(options(postprocess="normal_gating", findings="effusion"), checkpoint)
    (found,) = one.predictions(IDS, outputs)
    assert found.findings == ("effusion",)
    np.testing.assert_array_equal(found.probabilities[:, 0], every.probabilities[:, 1])


def test_familiarity_is_a_column(checkpoint: Checkpoint, outputs: Outputs) -> None:
    post = Postprocess.of(options(ood_score=True), checkpoint)
    assert post.need_features
    (found,) = post.predictions(IDS, outputs)
    assert found.findings == (*FINDINGS, OOD_SCORE)
    assert post.novelty is not None
    assert outputs.features is not None
    np.testing.assert_allclose(found.probabilities[:, 3], post.novelty.score(outputs.features).numpy())


def test_what_the_model_lacks_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(OptionError, match="does not know efusion"):
        Postprocess.of(options(findings="efusion"), checkpoint)
    with pytest.raises(OptionError, match="--normal: the model does not know Healthy"):
        Postprocess.of(options(postprocess="normal_gating", normal="Healthy"), checkpoint)
    with pytest.raises(OptionError, match="No finding means normal"):
        normal_finding(options(postprocess="normal_gating"), ["effusion", "nodule"])
    bare = type(checkpoint)(**{**vars(checkpoint), "novelty": {}})
    with pytest.raises(CheckpointError, match="remembers nothing"):
        Postprocess.of(options(ood_score=True), bare)


def test_the_plan_tells_views_and_gating() -> None:
    assert plan_of_views(options(), None) == {}
    told = plan_of_views(options(tta="flip", merge="max", alpha=2, postprocess="normal_gating"), "Normal")
    assert told["views"].startswith("flip (")
    assert told["views"].endswith("), merged by max")
    assert told["gating"] == "every finding times (1 - Normal) to the power of 2"
