"""Training, predicting, encoding and trials on a GPU that is pretended: no tensor is left behind on the CPU."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrlt_cli import losses
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import Batch
from cxrlt_cli.engine.precision import _Trial
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.engine.process import DTYPES, Process
from cxrlt_cli.losses import LOSSES
from cxrlt_cli.nets import clip
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.heads import HEADS
from cxrlt_cli.training.learner import Learner
from cxrlt_cli.training.schedule import Phase
from cxrlt_cli.tta import VIEWS
from tests.pretended_gpu import GPU, devices_of, pretended_gpu

FINDINGS = ("a", "b")
PHASE = Phase("all", 1, "all", 1e-3, 1e-4, 0.1, True, 0.9)


def model_of(head: str) -> Classifier:
    return Classifier(Architecture("test_convnext", head), FINDINGS, Preprocessing(32))


def batch() -> Batch:
    return Batch(torch.zeros(4, dtype=torch.int64), (torch.zeros(4, 1, 32, 32, dtype=torch.uint8),), ())


def learner_of(model: Classifier, criterion: losses.Criterion, process: Process) -> Learner:
    settings: dict[str, Any] = {"weight_decay": 0.01, "layer_decay": 0.9, "clip_grad": 1.0, "accumulate": 2}
    return Learner(model, criterion, PHASE, num_steps=2, process=process, **settings)


def epoch(learner: Learner) -> None:
    targets = torch.zeros(4, len(FINDINGS))
    learner.epoch([batch(), batch()], range(2), targets, list("wxyz"), lambda _: None, lambda *_: None)


@pytest.mark.parametrize(("head", "dtype"), list(zip(HEADS, cycle(DTYPES.values()), strict=False)))
def test_a_step_its_averages_its_state_and_a_prediction(head: str, dtype: torch.dtype) -> None:
    process = Process(GPU, dtype, 0)
    with pretended_gpu(model_of(head), losses.create("db", [4, 3], 8)) as (model, criterion):
        learner = learner_of(model.to(GPU), criterion.to(GPU), process)
        epoch(learner)
        learner.average()
        learner.restore(learner.state())
        variants = list(learner.variants.values())
        assert [devices_of(variant) for variant in variants] == [{GPU}] * 3
        outputs = predict(variants, [batch()], process, lambda _: None, VIEWS["flip"], features=True)
        for one in outputs:
            assert one.features is not None
            assert {one.logits.device.type, one.features.device.type} == {"cpu"}
            assert (one.logits.dtype, tuple(one.logits.shape)) == (torch.float32, (2, 4, 2))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_stays_where_logits_are(name: str) -> None:
    real = losses.create(name, [4, 3], 8, findings=FINDINGS, logit_adjust=1.0)
    with pretended_gpu(real) as (criterion,):
        criterion.to(GPU)
        for number in (0, 20):
            criterion.set_epoch(number)
            logits = torch.zeros(4, 2, device=GPU, dtype=torch.bfloat16, requires_grad=True)
            loss = criterion(logits, torch.zeros(4, 2, device=GPU))
            assert loss.device == GPU


def test_films_are_encoded_by_clip_where_it_is(clip_folder: Path) -> None:
    with pretended_gpu(clip.load(clip_folder)) as (encoder,):
        encoder.to(GPU)
        features = encoder.encode_images(torch.zeros(3, 1, 32, 32, device=GPU))
        assert (features.device, tuple(features.shape)) == (GPU, (3, 16))


@pytest.mark.parametrize("learns", [True, False])
def test_a_trial_of_precision(learns: bool) -> None:
    with pretended_gpu(model_of("csra")) as (model,):
        trial = _Trial(model, Process(GPU, torch.float32, 0), 2, learns)
        assert trial.seconds(torch.bfloat16) >= 0


def left_behind(learner: Learner) -> None:
    learner._criterion.counts = learner._criterion.counts.to("cpu")


def wrong_labels(learner: Learner) -> None:
    learner._backward = lambda images, labels: learner._criterion(learner._network(images), labels)  # type: ignore


@pytest.mark.parametrize("fault", [left_behind, wrong_labels])
def test_what_is_left_on_the_cpu_is_noticed(fault: Callable[[Learner], None]) -> None:
    real, criterion = model_of("linear"), losses.create("db", [4, 3], 8)
    with pretended_gpu(real, criterion) as (model, loss):
        learner = learner_of(model.to(GPU), loss.to(GPU), Process(GPU, torch.float32, 0))
        fault(learner)
        with pytest.raises(RuntimeError, match="cuda:0"):
            epoch(learner)
