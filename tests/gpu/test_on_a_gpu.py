"""What only a GPU can show: ``pytest -m gpu``. About ten minutes; skipped where there is none."""

import gc
import re
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cxrlt_cli import losses
from cxrlt_cli.config import InferOptions, TrainOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import Batch
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.engine.process import DTYPES, Process
from cxrlt_cli.errors import WorkerError
from cxrlt_cli.losses import LOSSES
from cxrlt_cli.nets.checkpoints import Architecture, Checkpoint
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.heads import HEADS
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.training.learner import Learner
from cxrlt_cli.training.resume import ResumeFile
from cxrlt_cli.training.schedule import Phase
from cxrlt_cli.tta import VIEWS, merge
from cxrlt_cli.verbs.infer import infer
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU on this machine"),
]

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
FINDINGS = tuple(f"finding {number}" for number in range(6))
APART = {torch.float32: 2e-4, torch.bfloat16: 5e-2, torch.float16: 2e-2}  # probabilities, at most


def model_of(head: str, backbone: str = "test_convnext") -> Classifier:
    torch.manual_seed(0)
    return Classifier(Architecture(backbone, head), FINDINGS, Preprocessing(64))


def films(number: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(1)
    levels = torch.randint(0, 256, (number, 1, 64, 64), dtype=torch.uint8, generator=generator)
    return Batch(torch.arange(number), (levels,), ())


def targets(number: int = 16) -> Tensor:
    labels = (torch.rand(number, len(FINDINGS), generator=torch.Generator().manual_seed(2)) < 0.3).float()
    labels[0, 0] = torch.nan
    return labels


def learner_of(model: Classifier, loss: str, process: Process) -> Learner:
    criterion = losses.create(loss, [5] * len(FINDINGS), 16, findings=FINDINGS).to(process.device)
    settings: dict[str, Any] = {"weight_decay": 0.01, "layer_decay": 1.0, "clip_grad": 1.0, "accumulate": 1}
    phase = Phase("all", 1, "all", 1e-3, 1e-4, 0.1, True, 0.9)
    return Learner(model.to(process.device), criterion, phase, num_steps=10**6, process=process, **settings)


def learn(learner: Learner, num_steps: int) -> float:
    """The summed loss of the films."""
    batch, labels = films(), targets()
    names = [str(index) for index in range(len(labels))]
    return learner.epoch([batch] * num_steps, range(num_steps), labels, names, lambda _: None, lambda *_: None)[0]


@pytest.mark.parametrize(("head", "dtype"), list(product(HEADS, DTYPES.values())))
def test_each_head_and_view_predicts_what_the_cpu_does(head: str, dtype: torch.dtype) -> None:
    model = model_of(head)
    for name, views in VIEWS.items():
        (expected,) = predict([model.to(CPU)], [films()], Process(CPU, torch.float32, 0), lambda _: None, views)
        (found,) = predict([model.to(GPU)], [films()], Process(GPU, dtype, 0), lambda _: None, views)
        apart = merge(found.logits, "mean") - merge(expected.logits, "mean")
        assert apart.abs().max() < APART[dtype], name


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_and_its_gradient_are_those_of_the_cpu(name: str) -> None:
    given = {}
    for device in (CPU, GPU):
        criterion = losses.create(name, [5] * len(FINDINGS), 16, findings=FINDINGS).to(device)
        logits = torch.linspace(-3, 3, 16 * len(FINDINGS)).view(16, -1).to(device).requires_grad_()
        loss = criterion(logits, targets().to(device))
        loss.backward()
        assert logits.grad is not None
        given[device.type] = loss.detach().cpu(), logits.grad.cpu()
    torch.testing.assert_close(given["cuda"], given["cpu"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_training_goes_the_way_of_the_cpu(dtype: torch.dtype) -> None:
    lost = {device: learn(learner_of(model_of("csra"), "db", Process(device, kind, 0)), 20)
            for device, kind in ((CPU, torch.float32), (GPU, dtype))}  # fmt: skip
    assert lost[GPU] == pytest.approx(lost[CPU], rel=0.02)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a part in a thousand: atomic additions come in any order. The largest difference is told."""
    common: dict[str, Any] = {"device": "cuda", "epochs": 2}
    train(run_options(labels, tmp_path / "whole", **common), Recorder())
    asked = iter(["continue", "continue", "stop"])
    with monkeypatch.context() as patch, pytest.raises(BaseException):  # noqa: B017, PT011
        patch.setattr(ResumeFile, "due", lambda _: next(asked, "continue"))
        train(run_options(labels, tmp_path / "stopped", **common), Recorder())
    train(run_options(labels, tmp_path / "stopped", resume=True, **common), Recorder())
    whole, stopped = (Checkpoint.read(tmp_path / name / "last.safetensors").tensors for name in ("whole", "stopped"))
    apart = max(float((whole[name].float() - stopped[name].float()).abs().max()) for name in whole)
    print(f"largest difference of a weight: {apart:.2g}")
    assert apart < 1e-3


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("number", range(1, 1 + max(1, torch.cuda.device_count())))
def test_processes_learn_and_predict_together(number: int, compiled: bool, labels: Path, tmp_path: Path) -> None:
    """By NCCL where they are several."""
    given: dict[str, Any] = {"device": "cuda", "processes": number, "batch_size": 4, "compile": compiled}
    train(run_options(labels, tmp_path / "run", **given), Recorder())
    found = Predictions.read(tmp_path / "run" / "val_predictions.csv")
    common = {"checkpoint": tmp_path / "run", "csv": labels, "workers": 0, "precision": "fp32"}
    infer(InferOptions.model_validate({**common, "device": "cpu", "out": tmp_path / "p.csv"}), Recorder())
    again = Predictions.read(tmp_path / "p.csv").rows(list(found.ids))
    np.testing.assert_allclose(again.probabilities, found.probabilities, atol=2e-3)


def test_too_large_a_batch_is_told_with_what_helps(labels: Path, tmp_path: Path) -> None:
    free = torch.cuda.mem_get_info()[0]
    held = torch.empty(free - 2**27, dtype=torch.uint8, device=GPU)
    with pytest.raises(WorkerError, match="too little memory") as caught:
        train(run_options(labels, tmp_path / "run", device="cuda", image_size=512, batch_size=32), Recorder())
    assert "--batch-size" in caught.value.hint
    del held


def test_the_largest_batch_that_fits_is_found_and_trains(labels: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    held = torch.empty(torch.cuda.mem_get_info()[0] * 3 // 4, dtype=torch.uint8, device=GPU)
    recipe: dict[str, Any] = {"device": "cuda", "image_size": 512, "batch_size": "auto", "max_steps": 1, "epochs": 1}
    train(run_options(labels, tmp_path / "run", **recipe), recorder)
    assert any("such batches make a step of 64" in note for note in recorder.notes)
    del held


def test_a_dry_run_tells_how_much_memory_a_run_takes(labels: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"device": "cuda", "image_size": 128, "batch_size": 16, "backbone": "convnextv2_atto"}
    recorder = Recorder()
    torch.cuda.reset_peak_memory_stats()
    train(run_options(labels, None, dry_run=True, **options), recorder)
    told = re.search(r"with ([\d.]+) (kB|MB|GB) of the GPU", recorder.results[-1])
    assert told, recorder.results[-1]
    predicted = float(told[1]) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}[told[2]]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    train(run_options(labels, tmp_path / "run", **options), Recorder())
    assert torch.cuda.max_memory_reserved() == pytest.approx(predicted, rel=0.2)


def test_two_hundred_epochs_leave_nothing_behind() -> None:
    learner = learner_of(model_of("csra"), "db", Process(GPU, torch.bfloat16, 0))
    learn(learner, 2)
    gc.collect()
    before = torch.cuda.memory_allocated()
    for _ in range(200):
        learn(learner, 2)
    gc.collect()
    assert torch.cuda.memory_allocated() <= before


def test_a_copy_of_a_trial_is_gone_after_it() -> None:
    from cxrlt_cli.engine.precision import choose_for_training
    from cxrlt_cli.engine.reporter import Silent

    model = deepcopy(model_of("csra")).to(GPU)
    gc.collect()
    before = torch.cuda.memory_allocated()
    given = {"batch_size": 8, "epochs": 1, "weights": "none", "compile": False}
    options = TrainOptions.model_validate(given).resolved()
    choose_for_training(options, Process(GPU, torch.bfloat16, 0), model, 8, Silent())
    gc.collect()
    assert torch.cuda.memory_allocated() <= before
