"""What a checkpoint remembers of its training films, so that ``infer --ood-score`` can tell others from them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxrlt_cli.config import FitOptions
from cxrlt_cli.data.loading import FilmDataset
from cxrlt_cli.engine.cache import film_source
from cxrlt_cli.engine.films import Films
from cxrlt_cli.engine.predict import films_in_order, predict
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Reporter
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import WithFeatures, from_checkpoint
from cxrlt_cli.nets.novelty import Novelty

MAX_FILMS = 5000  # of the training films that are looked at


def remember(
    path: Path, training: Films, validation: Films, options: FitOptions, process: Process, reporter: Reporter
) -> None:
    """Write into the checkpoint at ``path`` how its features of training and validation films lie."""
    checkpoint = Checkpoint.read(path)
    model = WithFeatures(from_checkpoint(checkpoint, path)).to(process.device)
    chosen = np.random.default_rng(options.seed).permutation(len(training.paths))[:MAX_FILMS]
    known = [training.paths[index] for index in chosen]

    def features(paths: list[Path], title: str) -> Tensor:
        dataset = FilmDataset(film_source(paths, [model.preprocessing], options, reporter))
        loader = films_in_order(dataset, options.batch_size, process)
        with reporter.progress(title, len(paths)) as advance:
            (seen,) = predict([model], loader, process, advance)
        return seen[0, :, len(model.findings) :]

    targets = torch.from_numpy(training.table.targets[chosen])
    seen, held_out = features(known, "training films"), features(list(validation.paths), "validation films")
    novelty = Novelty.fit(seen, targets, held_out, torch.Generator().manual_seed(options.seed))
    tensors: Mapping[str, Tensor] = novelty.tensors()
    if process.is_main:
        replace(checkpoint, novelty=tensors).write(path)
