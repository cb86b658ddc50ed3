"""ConvNeXtV2-Base at 512 px and ViT-L/14 on one GPU: ours against timm's own loop and a plain open_clip script.

Both sides compute in bf16 with channels last, so that what differs is the loop around them. ``lines`` adds the use of
the GPU's floating-point units, and how long it waits for films that are read and augmented alongside.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]
from torch.utils.flop_counter import FlopCounterMode

from cxrlt_cli import losses
from cxrlt_cli.config import OodOptions
from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import Batch, EpochDraws, FilmDataset, training_loader
from cxrlt_cli.engine.encode import ImageEncoder
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.engine.process import Process, default_workers
from cxrlt_cli.engine.reporter import Silent
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.clip import load
from cxrlt_cli.training.learner import Learner
from cxrlt_cli.training.schedule import Phase
from tests.benchmarks import reading, zero_shot
from tests.benchmarks.harness import HEAD, Benchmark

GPU = torch.device("cuda", 0)
BACKBONE, SIDE, BATCH, STEPS = "convnextv2_base", 512, 32, 20
FINDINGS = [f"finding {number}" for number in range(30)]
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}  # bf16, dense, a second


def timm_trains(_: Path) -> Callable[[], int]:
    model = timm.create_model(BACKBONE, num_classes=len(FINDINGS), drop_path_rate=0.2).train()
    model = model.to(GPU).to(memory_format=torch.channels_last)
    optimizer, average = torch.optim.AdamW(model.parameters(), lr=1e-4), ModelEmaV3(model)
    images = torch.randn(BATCH, 3, SIDE, SIDE, device=GPU).contiguous(memory_format=torch.channels_last)
    targets = (torch.rand(BATCH, len(FINDINGS), device=GPU) < 0.1).float()

    def once() -> int:
        for _ in range(STEPS):
            with torch.autocast("cuda", torch.bfloat16):
                loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            average.update(model)
            loss.item()
        torch.cuda.synchronize()
        return STEPS * BATCH

    return once


def ours_trains(_: Path) -> Callable[[], int]:
    learner, process = _learner(), _process()
    batches = [_made_up()] * STEPS
    targets = (torch.rand(BATCH, len(FINDINGS)) < 0.1).float()

    def once() -> int:
        learner.epoch(batches, range(STEPS), targets, [""] * BATCH, lambda _: None, lambda *_: None)
        process.wait()
        return STEPS * BATCH

    return once


def timm_predicts(_: Path) -> Callable[[], int]:
    model = timm.create_model(BACKBONE, num_classes=len(FINDINGS)).eval().to(GPU).to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, SIDE, SIDE, device=GPU).contiguous(memory_format=torch.channels_last)

    def once() -> int:
        for _ in range(STEPS):
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
                model(images).sigmoid().float().cpu()
        return STEPS * BATCH

    return once


def ours_predicts(_: Path) -> Callable[[], int]:
    model = Classifier(Architecture(BACKBONE, "linear"), FINDINGS, Preprocessing(SIDE)).eval().to(GPU)
    batches, process = [_made_up()] * STEPS, _process()

    def once() -> int:
        predict([model], batches, process, lambda _: None)
        return STEPS * BATCH

    return once


def open_clip_encodes(folder: Path) -> Callable[[], int]:
    """Films that are ready, so that the encoder is measured and not the reading."""
    encoder = load(folder / "model").to(GPU)
    images = torch.randn(BATCH, 3, 224, 224, device=GPU)

    def once() -> int:
        for _ in range(STEPS):
            with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
                encoded = encoder._model.encode_image(images)
                (encoded / encoded.norm(dim=-1, keepdim=True)).float().cpu()
        return STEPS * BATCH

    return once


def ours_encodes(folder: Path) -> Callable[[], int]:
    options = OodOptions.model_validate({"device": "cuda", "batch_size": BATCH})
    process = Process.of(options)
    model = load(folder / "model").to(process.device).lower(process.dtype)
    images = ImageEncoder(model, options, process, Silent())
    paths = [path for path in sorted((folder / "phantoms" / "images").iterdir()) for _ in range(8)]
    return lambda: sum(len(rows) for rows, _ in images.encoded(np.arange(len(paths)), paths))


BENCHMARKS = (
    Benchmark("training, ConvNeXtV2-B, 512 px, bf16", "films/s", timm_trains, ours_trains, 1.3, rounds=3),
    Benchmark("predicting, ConvNeXtV2-B, 512 px, bf16", "films/s", timm_predicts, ours_predicts, 1.0, rounds=3),
    Benchmark("ViT-L/14 (ours with reading)", "films/s", open_clip_encodes, ours_encodes, 0.9, 3, zero_shot.prepare),
)


def lines(folder: Path) -> None:
    """The table, and two lines more; one that says so where there is no GPU."""
    if not torch.cuda.is_available():
        print("PyTorch finds no GPU on this machine.")
        return
    print(f"{torch.cuda.get_device_name(GPU)}, PyTorch {torch.__version__}\n\n{HEAD}", flush=True)
    for benchmark in BENCHMARKS:
        print(benchmark.measure(folder).row(), flush=True)
    once = ours_trains(folder)
    once()
    rate = _rate(once)
    flops = 3 * _flops_of_a_film() * rate  # a backward pass takes twice a forward one
    peak = next((peak for name, peak in PEAK.items() if name in torch.cuda.get_device_name(GPU)), None)
    used = "" if peak is None else f", {100 * flops / peak:.0f} % of what it can do"
    print(f"\nTraining computes {flops / 1e12:.0f} TFLOP/s{used}.")
    reading.prepare_cache(folder)
    waits = 1 - _rate(partial(_learns_from_films, folder, _learner())) / rate
    print(f"With films read from the cache and augmented alongside, the GPU waits {100 * max(0.0, waits):.1f} %.")


def _rate(once: Callable[[], int]) -> float:
    start = time.perf_counter()
    number = once()
    torch.cuda.synchronize()
    return number / (time.perf_counter() - start)


def _learns_from_films(folder: Path, learner: Learner) -> int:
    names = [path.name for path in reading.films(folder)]
    kept = reading.cached(reading.RECIPE, folder / "kept").films(reading.films(folder))
    assert kept is not None
    draws = EpochDraws(lambda _: np.tile(np.arange(len(names)), STEPS * BATCH // len(names)), BATCH, 0)
    films, readers = FilmDataset(kept, Augmentation()), default_workers(GPU)
    loader = training_loader(films, draws, num_workers=readers, pin=True)
    targets = (torch.rand(len(names), len(FINDINGS)) < 0.1).float()
    learner.epoch(loader, range(len(draws)), targets, names, lambda _: None, lambda *_: None)
    return len(draws) * BATCH


def _flops_of_a_film() -> float:
    model = Classifier(Architecture(BACKBONE, "linear"), FINDINGS, Preprocessing(SIDE)).eval().to(GPU)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, SIDE, SIDE, device=GPU))
    return float(counter.get_total_flops())


def _process() -> Process:
    return Process.of(OodOptions.model_validate({"device": "cuda", "workers": 0}))


def _made_up() -> Batch:
    films = torch.randint(0, 256, (BATCH, 1, SIDE, SIDE), dtype=torch.uint8).pin_memory()
    return Batch(torch.arange(BATCH), (films,), ())


def _learner() -> Learner:
    model = Classifier(Architecture(BACKBONE, "linear"), FINDINGS, Preprocessing(SIDE), drop_path=0.2).to(GPU)
    criterion = losses.create("bce", [1] * len(FINDINGS), 100).to(GPU)
    phase = Phase("all", 1, "all", 1e-4, 1e-4, 0.1, True, 0.9998)
    return Learner(
        model, criterion, phase, num_steps=10**6, weight_decay=0.01, layer_decay=1.0, clip_grad=1.0, accumulate=1,
        process=_process(),
    )  # fmt: skip
