"""A checkpoint and films to predictions."""

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import torch

from cxrlt_cli.config import InferOptions
from cxrlt_cli.data.image import report_faults
from cxrlt_cli.data.loading import Batch, FilmDataset, ordered_loader
from cxrlt_cli.data.table import Texts, read_exclusions, read_ids
from cxrlt_cli.engine.films import film_paths, image_folder, require_films
from cxrlt_cli.engine.phantom import phantom_test_csv
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Advance, Reporter, counted, duration, tell_exclusions
from cxrlt_cli.errors import DataError, FilmError, OptionError, WorkerError, listed
from cxrlt_cli.files import require_file
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint
from cxrlt_cli.predictions import Predictions


def infer(options: InferOptions, reporter: Reporter) -> Predictions | None:
    """Write the probabilities of every film of ``--csv``, in its order; None after a dry run."""
    process = Process.of(options)
    require_file(options.out, "--out", (options.checkpoint, options.csv, *options.exclude))
    checkpoint = Checkpoint.read(options.checkpoint)
    csv = options.csv or phantom_test_csv(checkpoint.training.get("options", {}).get("csv"))
    if csv is None:
        raise OptionError("--csv is missing.", "It names the films to predict, one row each.")
    ids, paths = _find_films(options, csv, reporter)
    model = from_checkpoint(checkpoint, options.checkpoint).to(process.device)
    findings = options.findings or model.findings
    unknown = [name for name in findings if name not in model.findings]
    if unknown:
        raise OptionError(
            f"--findings: the model does not know {listed(unknown)}.", f"It has {listed(model.findings, 40)}."
        )
    dataset = FilmDataset(paths, model.preprocessing, None, options.max_pixels)
    loader = ordered_loader(dataset, batch_size=options.batch_size, num_workers=process.num_workers, pin=process.pins)
    reporter.plan(
        "Prediction",
        {
            "films": f"{len(paths):,} of {csv}",
            "model": f"{options.checkpoint}: {model.architecture.backbone}, {model.architecture.head}, "
            f"{len(model.findings)} findings, {model.image_size} px",
            "process": str(process),
            "out": str(options.out),
        },
    )
    if options.dry_run:
        start = time.perf_counter()
        predict([model], islice(loader, 1), process, lambda _: None)
        seconds = (time.perf_counter() - start) * len(paths) / min(options.batch_size, len(paths))
        reporter.result(
            f"Dry run: one batch went through; all films take about {duration(seconds)}. Nothing was written."
        )
        return None
    with reporter.progress("Predicting", len(paths)) as advance:
        (logits,) = predict([model], loader, process, advance)
    predictions = Predictions(ids, model.findings, torch.sigmoid(logits.double()).numpy()).select(findings)
    written = "Replaced" if options.out.exists() else "Wrote"
    predictions.write(options.out, options.id_column)
    reporter.result(f"{written} {options.out}: {counted(len(ids), 'film')}, {counted(len(findings), 'finding')}.")
    return predictions


def predict(
    models: Sequence[Classifier], batches: Iterable[Batch], process: Process, advance: Advance
) -> list[torch.Tensor]:
    """Logits ``[N, C]`` of each model, in float32 on the CPU, in the order of the films, which are read once.

    Raises DataError with every film that could not be read: none is left out, none is made up. Raises WorkerError where
    a logit is not finite.
    """
    logits: list[list[torch.Tensor]] = [[] for _ in models]
    faults: list[FilmError] = []
    num_films = 0
    with torch.inference_mode():
        for batch in batches:
            num_films += len(batch.indices) + len(batch.faults)
            faults.extend(batch.faults)
            if len(batch.indices):
                films = batch.films.to(process.device, non_blocking=True)
                for model, mine in zip(models, logits, strict=True):
                    model.eval()
                    with process.autocast():
                        mine.append(model(model.normalize(films)))
            advance(len(batch.indices) + len(batch.faults))
    if faults:
        raise report_faults(faults, num_films)
    return [_finite(torch.cat(mine).cpu()) for mine in logits]


def _finite(logits: torch.Tensor) -> torch.Tensor:
    if not torch.isfinite(logits).all():
        raise WorkerError(
            f"The model gives {int((~torch.isfinite(logits)).sum())} logits that are no finite numbers.",
            "Its training diverged, or the precision is too low: lower the learning rates, or pass --precision fp32.",
        )
    return logits


def _find_films(options: InferOptions, csv: Path, reporter: Reporter) -> tuple[Texts, list[Path]]:
    ids = read_ids(csv, options.id_column)
    excluded = read_exclusions(options.exclude, options.id_column)
    tell_exclusions(reporter, excluded, ids)
    ids = ids[[film not in excluded for film in ids]]
    if len(ids) == 0:
        raise DataError(f"--exclude leaves no film of {csv}.")
    paths = film_paths(image_folder(csv, options.image_dir, ids), ids)
    require_films(paths)
    return ids, paths
