"""Models and films to logits: what training, infer and ensemble share."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from cxrlt_cli.data.image import Preprocessing, report_faults
from cxrlt_cli.data.loading import Batch, Samples, on_device, ordered_loader
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Advance, Reporter, duration
from cxrlt_cli.engine.several import require_single
from cxrlt_cli.errors import FilmError, WorkerError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.tta import VIEWS, View

STRETCH_SECONDS, STRETCH_FILMS = 60.0, 2**15  # between two writings, at most: what a stop can lose, what is in memory


@dataclass(frozen=True)
class Outputs:
    """What a model gives for N films in V views, in float32 on the CPU."""

    logits: Tensor  # [V, N, C]
    features: Tensor | None  # [N, D], means over the feature map of the first view; None unless they were asked for


def predict(
    models: Sequence[Classifier],
    batches: Iterable[Batch],
    process: Process,
    advance: Advance,
    views: Sequence[View] = VIEWS["none"],
    features: bool = False,
) -> list[Outputs]:
    """What each model gives, in the order of the films, which are read once; with ``features`` where these are wanted.

    ``batches`` come from a dataset of ``preprocessings(models)``. Raises DataError with every film that could not be
    read: none is left out, none is made up. Raises WorkerError where a logit is not finite.
    """
    distinct = preprocessings(models)
    logits: list[list[Tensor]] = [[] for _ in models]
    pooled: list[list[Tensor]] = [[] for _ in models]
    faults: list[FilmError] = []
    highest = -1
    with torch.inference_mode():
        for batch in on_device(batches, process.device):
            highest = max(highest, *batch.indices.tolist(), -1)
            faults.extend(batch.faults)
            for preprocessing, films in zip(distinct, batch.films, strict=False):  # no films where none could be read
                levels = films.float()
                seen = [view.apply(levels) for view in views]
                for model, mine, own in zip(models, logits, pooled, strict=True):
                    if model.preprocessing == preprocessing:
                        model.eval()
                        with process.autocast():
                            given = [model.logits_and_map(model.normalize(view)) for view in seen]
                        mine.append(torch.stack([logit for logit, _ in given]))
                        if features:
                            own.append(given[0][1].float().mean(dim=(2, 3)))
            advance((len(batch.indices) + len(batch.faults)) * process.num_processes)
    shares = process.collected((faults, highest))
    if every := {fault.path: fault for share, _ in shares for fault in share}:  # the last film may come twice
        raise report_faults(list(every.values()))  # of how many is known for this stretch alone
    total = 1 + max(place for _, place in shares)
    return [
        Outputs(
            process.gathered(_finite(torch.cat(mine, dim=1)), total, dim=1),
            process.gathered(_finite(torch.cat(own)), total, dim=0) if features else None,
        )
        for mine, own in zip(logits, pooled, strict=True)
    ]


def read_checkpoint(path: Path, reporter: Reporter) -> Checkpoint:
    """``Checkpoint.read``, with a warning where nothing can tell whether the file is what was written."""
    require_single(path)
    checkpoint = Checkpoint.read(path)
    if not checkpoint.checked:
        reporter.warn(
            f"{path} carries no checksum, as files of cxrlt 0.1.0 and of others: damage would not be noticed."
        )
    return checkpoint


def films_in_order(films: Samples, batch_size: int, process: Process) -> "DataLoader[Batch]":
    """Every film once; each process has its share, as ``predict`` expects it."""
    return ordered_loader(
        films,
        batch_size=batch_size,
        num_workers=process.num_workers,
        pin=process.pins,
        rank=process.rank,
        num_processes=process.num_processes,
    )


def preprocessings(models: Sequence[Classifier]) -> list[Preprocessing]:
    """The different ways in which these models want a film, in the order of the models."""
    return list(dict.fromkeys(model.preprocessing for model in models))


def rehearse(
    models: Sequence[Classifier],
    loader: Iterable[Batch],
    views: Sequence[View],
    num_films: int,
    process: Process,
    reporter: Reporter,
) -> None:
    """One batch, timed; nothing is written."""
    start = time.perf_counter()
    done: list[int] = []
    predict(models, islice(loader, 1), process, done.append, views)
    seconds = (time.perf_counter() - start) * num_films / sum(done)
    reporter.result(
        f"Dry run: one batch went through; all films take about {duration(seconds)}. Nothing was written."
    )  # fmt: skip


def stretches(batch_size: int, process: Process) -> Iterator[int]:
    """How many films to predict before they are written: as many as take about a minute, in whole batches.

    Each number is wanted when the films of the one before are done.
    """
    one = batch_size * process.num_processes
    batches, most = 8, max(1, STRETCH_FILMS // one)
    while True:
        start = time.monotonic()
        yield min(batches, most) * one
        seconds = process.collected(time.monotonic() - start)[0]
        if seconds < STRETCH_SECONDS / 2:
            batches = min(2 * batches, most)
        elif seconds > STRETCH_SECONDS:
            batches = max(1, batches // 2)


def _finite(outputs: Tensor) -> Tensor:
    """On the CPU; raises WorkerError where a number is not finite."""
    outputs = outputs.cpu()
    if not torch.isfinite(outputs).all():
        raise WorkerError(
            f"The model gives {int((~torch.isfinite(outputs)).sum())} outputs that are no finite numbers.",
            "Its training diverged, or the precision is too low: lower the learning rates, or pass --precision fp32.",
        )
    return outputs
