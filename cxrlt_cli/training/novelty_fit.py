"""Fits to the training films what tells other films, and views, from them, and adds that to a checkpoint."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxrlt_cli.engine.predict import films_in_order, predict
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import from_checkpoint
from cxrlt_cli.nets.novelty import Novelty
from cxrlt_cli.nets.view_classifier import ViewClassifier
from cxrlt_cli.training.run import Run

MAX_FILMS = 5000  # of the training films that are looked at


def fit_novelty(path: Path, run: Run) -> None:
    """Write into the checkpoint at ``path`` how its features of training and validation films lie."""
    checkpoint, options, process = Checkpoint.read(path), run.options, run.process
    model = run.seen.adapted(from_checkpoint(checkpoint, path))
    assert model is not None, "it is what was trained"
    model = model.to(process.device)
    chosen = np.random.default_rng(options.seed).permutation(len(run.training.paths))[:MAX_FILMS]

    def features(paths: Sequence[Path], title: str) -> Tensor:
        loader = films_in_order(run.seen.plain(paths), options.batch_size, process)
        with run.reporter.progress(title, len(paths)) as advance:
            (outputs,) = predict([model], loader, process, advance, features=True)
        assert outputs.features is not None, "asked for"
        return outputs.features

    targets = torch.from_numpy(run.training.table.targets[chosen])
    seen = features([run.training.paths[index] for index in chosen], "training films")
    held_out = features(run.validation.paths, "validation films")
    novelty = Novelty.fit(seen, targets, held_out, torch.Generator().manual_seed(options.seed))
    tensors, training = novelty.tensors(), dict(checkpoint.training)
    views, val_views = run.training.table.views, run.validation.table.views
    told = None if views is None else ViewClassifier.fit(seen, views[chosen].tolist())
    if told is not None and val_views is not None:
        tensors |= told.tensors()
        training["views"] = told.judged(held_out, val_views.tolist()).to_json()
    if process.is_main:
        replace(checkpoint, novelty=tensors, training=training).write(path)
