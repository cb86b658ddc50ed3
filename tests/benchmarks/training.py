"""A step of training ConvNeXtV2-Tiny at 224 px on the CPU, in batches of 16: ours against a plain loop of timm."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
import torch
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]

from cxrlt_cli import losses
from cxrlt_cli.config import TrainOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import Batch
from cxrlt_cli.engine.precision import choose_for_training, compile_backbone
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Silent
from cxrlt_cli.machine import keep_freed_memory
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.training.learner import Learner
from cxrlt_cli.training.schedule import Phase
from tests.benchmarks.harness import Benchmark

BACKBONE, SIDE, BATCH, STEPS = "convnextv2_tiny", 224, 16, 3
FINDINGS = [f"finding {number}" for number in range(30)]


def plain_loop(_: Path) -> Callable[[], int]:
    """float32, eager, AdamW, a moving average of the weights: what timm's own loop does on a CPU."""
    torch.manual_seed(0)
    model = timm.create_model(BACKBONE, num_classes=len(FINDINGS), drop_path_rate=0.2).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    average = ModelEmaV3(model)
    images, targets = torch.randn(BATCH, 3, SIDE, SIDE), (torch.rand(BATCH, len(FINDINGS)) < 0.1).float()

    def once() -> int:
        for _ in range(STEPS):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            average.update(model)
            loss.item()
        return STEPS * BATCH

    return once


def ours(_: Path, compiled: bool = False) -> Callable[[], int]:
    """``Learner``, with what ``--precision auto`` takes."""
    keep_freed_memory()
    torch.manual_seed(0)
    model = Classifier(Architecture(BACKBONE, "linear"), FINDINGS, Preprocessing(SIDE), drop_path=0.2)
    given = {"batch_size": BATCH, "compile": False, "epochs": 1, "weights": "none"}
    options = TrainOptions.model_validate(given).resolved()
    cpu = Process(torch.device("cpu"), torch.float32, 0)
    process = choose_for_training(options, cpu, model, options.batch_size, Silent())[1]
    learner = learner_of(model, process)
    if compiled:
        compile_backbone(model)
    films = torch.randint(0, 256, (BATCH, 1, SIDE, SIDE), dtype=torch.uint8)
    targets = (torch.rand(BATCH, len(FINDINGS)) < 0.1).float()
    batch = Batch(torch.arange(BATCH), (films,), ())

    def once() -> int:
        learner.epoch([batch] * STEPS, range(STEPS), targets, [""] * BATCH, lambda _: None, lambda *_: None)
        return STEPS * BATCH

    return once


def learner_of(model: Classifier, process: Process) -> Learner:
    phase = Phase("all", 1, "all", 1e-4, 1e-4, 0.1, True, 0.9998)
    settings = {"weight_decay": 0.01, "layer_decay": 1.0, "clip_grad": 1.0, "accumulate": 1}
    criterion = losses.create("bce", [1] * len(FINDINGS), 100)
    return Learner(model, criterion, phase, num_steps=10**6, process=process, **settings)  # type: ignore[arg-type]


BENCHMARKS = (
    Benchmark("training step", "films/s", plain_loop, ours, 1.3, rounds=3),
    Benchmark("training step, compiled", "films/s", plain_loop, partial(ours, compiled=True), 1.3, rounds=3),
)
