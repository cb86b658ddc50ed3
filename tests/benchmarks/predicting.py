"""Prediction with flip_scale and two members: ours against a pass for each view and member that reads films again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import timm
import torch

from cxrlt_cli.config import InferOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import FilmDataset, FilmFiles
from cxrlt_cli.engine.precision import choose_for_predicting
from cxrlt_cli.engine.predict import films_in_order, predict, preprocessings
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Silent
from cxrlt_cli.machine import keep_freed_memory
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.tta import VIEWS
from tests.benchmarks import reading, zero_shot
from tests.benchmarks.harness import Benchmark

BACKBONE, SIDE, BATCH = "convnextv2_tiny", 224, 12
FINDINGS = [f"finding {number}" for number in range(30)]


def pass_by_pass(folder: Path) -> Callable[[], int]:
    """float32, eager, one view of one member after another, as the challenge's codes do it."""
    models = [timm.create_model(BACKBONE, num_classes=len(FINDINGS)).eval() for _ in range(2)]

    def once() -> int:
        for model in models:
            for view in VIEWS["flip_scale"]:
                squares = [reading.float_film(path) for path in reading.films(folder)]
                images = torch.stack([torch.from_numpy(square).permute(2, 0, 1) for square in squares])
                images = torch.nn.functional.interpolate(images, (SIDE, SIDE), mode="bilinear")
                with torch.no_grad():
                    model((view.apply(images * 255) / 255 - 0.45) / 0.225).sigmoid()
        return reading.NUM_FILMS

    return once


def ours(folder: Path) -> Callable[[], int]:
    keep_freed_memory()
    torch.manual_seed(0)
    architecture, recipe = Architecture(BACKBONE, "linear"), Preprocessing(SIDE)
    models = [Classifier(architecture, FINDINGS, recipe).eval() for _ in range(2)]
    options = InferOptions.model_validate({"checkpoint": Path("x"), "batch_size": BATCH})
    process = replace(Process.of(options), num_workers=0)
    process = choose_for_predicting(options, process, models[0], 10**6, Silent())
    dataset = FilmDataset(FilmFiles(reading.films(folder), preprocessings(models), 10**8))

    def once() -> int:
        predict(models, films_in_order(dataset, BATCH, process), process, lambda _: None, VIEWS["flip_scale"])
        return reading.NUM_FILMS

    return once


BENCHMARKS = (
    Benchmark("flip_scale, two members", "films/s", pass_by_pass, ours, 3.0, 3, reading.prepare),
    Benchmark("zero-shot, ViT-L/14", "films/s", zero_shot.plain_script, zero_shot.ours, 4.0, 3, zero_shot.prepare),
)
