"""``--batch-size auto``: the largest batch that a GPU trains with; gradients accumulate to a step of as many films."""

import gc
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch

from cxrlt_cli.config import STEP, FitOptions
from cxrlt_cli.data.loading import Batch
from cxrlt_cli.engine.films import LabelledFilms
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import WorkerError
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.training.learner import Learner
from cxrlt_cli.training.method import Method
from cxrlt_cli.training.schedule import phases_of

ROOM = 0.9  # of the GPU's memory that a trial may hold; the rest is for fragments of it, and for other programs


def choose_batch(
    options: FitOptions,
    process: Process,
    model: Classifier,
    method: Method,
    training: LabelledFilms,
    reporter: Reporter,
) -> FitOptions:
    """Options with ``batch`` and ``accumulate`` chosen, so that a step sees ``STEP`` films for each of the latter.

    Steps of a copy of the model are tried, on made-up films with labels of the training films. All processes choose
    alike. On a CPU nothing is tried: too large a batch would end the process. Raises WorkerError where none fits.
    """
    whole = STEP * options.accumulate
    if process.device.type != "cuda":
        reporter.note(f"--batch-size auto: nothing is tried on a CPU; it is {STEP}.")
        return options.model_copy(update={"batch": STEP})
    sizes = halved(whole)
    mine = next((size for size in sizes if _fits(size, options, process, model, method, training)), 0)
    size = min(process.collected(mine))
    if not size:
        raise WorkerError(
            f"--batch-size auto: the GPU has too little memory to train on {sizes[-1]} films at once.",
            "Lower --image-size, or pass a smaller --backbone.",
        )
    reporter.note(f"--batch-size auto: {size} films fit; {whole // size} such batches make a step of {whole}.")
    return options.model_copy(update={"batch": size, "accumulate": whole // size})


def halved(number: int) -> list[int]:
    """The number, its half, and so on while they are whole and 2 or more, of which a batch norm has a variance."""
    sizes = [number]
    while sizes[-1] % 2 == 0 and sizes[-1] > 2:
        sizes.append(sizes[-1] // 2)
    return sizes


def _fits(
    size: int, options: FitOptions, process: Process, model: Classifier, method: Method, training: LabelledFilms
) -> bool:
    """Whether training on batches of this size leaves room; memory is given back."""
    device = process.device
    torch.cuda.reset_peak_memory_stats(device)
    try:
        _train(size, options, process, model, method, training)
        held, there = process.peak_memory() or (0, 0)
        return held <= ROOM * there
    except torch.OutOfMemoryError:
        return False
    finally:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _train(
    size: int, options: FitOptions, process: Process, model: Classifier, method: Method, training: LabelledFilms
) -> None:
    """Two steps of the last phase: the second has the optimizer's state beside its activations."""
    device, table = process.device, training.table
    with torch.random.fork_rng([device]):
        copy, criterion = deepcopy(model).to(device), deepcopy(method.criterion).to(device)
        alone = replace(process, rank=0, num_processes=1)
        learner = Learner.of(options, copy, criterion, phases_of(options)[-1], num_steps=2, process=alone)
        exchanged = [torch.empty_like(one) for one in copy.parameters()] if process.num_processes > 1 else []
        films = torch.randint(0, 256, (size, 1, *model.image_shape), dtype=torch.uint8)
        batch = Batch(torch.from_numpy(np.resize(np.arange(len(table)), size)), (films,), ())
        targets = torch.from_numpy(table.targets)
        learner.epoch([batch, batch], range(2), targets, list(table.ids), lambda _: None, lambda *_: None)
        if options.average_last > 1:
            learner.average()
        del exchanged  # as much as DDP holds of the gradients
