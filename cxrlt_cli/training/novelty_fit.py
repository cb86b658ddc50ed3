"""Fits to the training films what ``infer --ood-score`` tells other films from them by, and adds it to a checkpoint."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxrlt_cli.config import FitOptions
from cxrlt_cli.data.loading import FilmDataset
from cxrlt_cli.engine.films import LabelledFilms
from cxrlt_cli.engine.predict import films_in_order, predict
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.engine.sources import film_source
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import from_checkpoint
from cxrlt_cli.nets.novelty import Novelty

MAX_FILMS = 5000  # of the training films that are looked at


def fit_novelty(
    path: Path,
    training: LabelledFilms,
    validation: LabelledFilms,
    options: FitOptions,
    process: Process,
    reporter: Reporter,
) -> None:
    """Write into the checkpoint at ``path`` how its features of training and validation films lie."""
    checkpoint = Checkpoint.read(path)
    model = from_checkpoint(checkpoint, path).to(process.device)
    chosen = np.random.default_rng(options.seed).permutation(len(training.paths))[:MAX_FILMS]
    known = [training.paths[index] for index in chosen]

    def features(paths: list[Path], title: str) -> Tensor:
        dataset = FilmDataset(film_source(paths, [model.preprocessing], options, reporter))
        loader = films_in_order(dataset, options.batch_size, process)
        with reporter.progress(title, len(paths)) as advance:
            (outputs,) = predict([model], loader, process, advance, features=True)
        assert outputs.features is not None, "asked for"
        return outputs.features

    targets = torch.from_numpy(training.table.targets[chosen])
    seen, held_out = features(known, "training films"), features(list(validation.paths), "validation films")
    novelty = Novelty.fit(seen, targets, held_out, torch.Generator().manual_seed(options.seed))
    tensors: Mapping[str, Tensor] = novelty.tensors()
    if process.is_main:
        replace(checkpoint, novelty=tensors).write(path)
