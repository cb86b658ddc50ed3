"""A checkpoint and films to predictions."""

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from cxrlt_cli.calibration import Calibration
from cxrlt_cli.config import FilmOptions, InferOptions, PredictOptions
from cxrlt_cli.data.image import Preprocessing, report_faults
from cxrlt_cli.data.loading import Batch, FilmDataset, ordered_loader
from cxrlt_cli.data.table import Texts, read_exclusions, read_ids
from cxrlt_cli.engine.films import film_paths, image_folder, require_films
from cxrlt_cli.engine.phantom import phantom_test_csv
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Advance, Reporter, counted, duration, tell_exclusions
from cxrlt_cli.errors import DataError, FilmError, OptionError, WorkerError, listed
from cxrlt_cli.files import require_file
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier, WithFeatures, from_checkpoint
from cxrlt_cli.nets.novelty import Novelty
from cxrlt_cli.predictions import OOD_SCORE, Predictions, normal_gating
from cxrlt_cli.tta import VIEWS, View, merge


def infer(options: InferOptions, reporter: Reporter) -> Predictions | None:
    """Write the probabilities of every film of ``--csv``, in its order; None after a dry run."""
    if options.merge == "rank":
        raise OptionError("--merge rank blends members of an ensemble; views of a film have no ranks.")
    process = Process.of(options)
    inputs = (options.checkpoint, options.csv, *options.exclude)
    require_file(options.out, "--out", inputs)
    if options.decisions is not None:
        require_file(options.decisions, "--decisions", inputs)
        if options.decisions.resolve() == options.out.resolve():
            raise OptionError(f"--decisions and --out are both {options.out}.", "Give each a file of its own.")
    checkpoint = Checkpoint.read(options.checkpoint)
    csv = films_csv(options.csv, [checkpoint], reporter)
    ids, paths = films_to_predict(options, csv, reporter)
    model = from_checkpoint(checkpoint, options.checkpoint).to(process.device)
    findings = options.findings or model.findings
    unknown = [name for name in findings if name not in model.findings]
    if unknown:
        raise OptionError(
            f"--findings: the model does not know {listed(unknown)}.", f"It has {listed(model.findings, 40)}."
        )
    normal = normal_finding(options, model.findings)
    calibrates = options.calibration != "none" or options.decisions is not None
    calibration = Calibration.of(checkpoint.training, model.findings) if calibrates else None
    novelty = Novelty.of(checkpoint.novelty) if options.ood_score else None
    dataset = FilmDataset(paths, preprocessings([model]), None, options.max_pixels)
    loader = films_in_order(dataset, options.batch_size, process)
    views = VIEWS[options.tta]
    reporter.plan(
        "Prediction",
        {
            "films": f"{len(paths):,} of {csv}",
            "model": f"{options.checkpoint}: {model.architecture.backbone}, {model.architecture.head}, "
            f"{len(model.findings)} findings, {model.image_size} px",
            **plan_of_views(options, normal),
            "process": str(process),
            "out": str(options.out),
        },
    )
    if options.dry_run:
        rehearse([model], loader, views, len(paths), process, reporter)
        return None
    with reporter.progress("Predicting", len(paths)) as advance:
        (logits,) = predict([model if novelty is None else WithFeatures(model)], loader, process, advance, views)
    logits, features = logits[..., : len(model.findings)], logits[0, :, len(model.findings) :]
    predictions = Predictions(ids, model.findings, merge(logits, options.merge).numpy())
    if calibration is not None and len(views) > 1:
        reporter.note("Calibration and thresholds were fitted on the film as it is, and suit merged views less well.")
    if calibration is not None and options.decisions is not None:
        decided = calibration.decide(predictions, options.decide).select(findings)
        write(decided, options.decisions, options.id_column, reporter)
    if calibration is not None and options.calibration != "none":
        predictions = calibration.calibrate(predictions, options.calibration)
    if normal is not None:
        predictions = normal_gating(predictions, options.alpha, normal)
    predictions = predictions.select(findings)
    if novelty is not None:
        predictions = predictions.with_column(OOD_SCORE, novelty.score(features).numpy())
    write(predictions, options.out, options.id_column, reporter)
    return predictions


def predict(
    models: Sequence[Classifier | WithFeatures],
    batches: Iterable[Batch],
    process: Process,
    advance: Advance,
    views: Sequence[View] = VIEWS["none"],
) -> list[torch.Tensor]:
    """Logits ``[V, N, C]`` of each model, in float32 on the CPU, in the order of the films, which are read once.

    Of a model with features, ``[V, N, C + D]``.

    ``batches`` come from a dataset of ``preprocessings(models)``. Raises DataError with every film that could not be
    read: none is left out, none is made up. Raises WorkerError where a logit is not finite.
    """
    distinct = preprocessings(models)
    logits: list[list[torch.Tensor]] = [[] for _ in models]
    faults: list[FilmError] = []
    num_films = 0
    with torch.inference_mode():
        for batch in batches:
            num_films += len(batch.indices) + len(batch.faults)
            faults.extend(batch.faults)
            for preprocessing, films in zip(distinct, batch.films, strict=False):  # no films where none could be read
                levels = films.to(process.device, non_blocking=True).float()
                seen = [view.apply(levels) for view in views]
                for model, mine in zip(models, logits, strict=True):
                    if model.preprocessing == preprocessing:
                        model.eval()
                        with process.autocast():
                            mine.append(torch.stack([model(model.normalize(view)) for view in seen]))
            advance((len(batch.indices) + len(batch.faults)) * process.num_processes)
    if faults:
        raise report_faults(faults, num_films)
    total = int(process.summed(torch.tensor(num_films)))
    return [process.gathered(_finite(torch.cat(mine, dim=1).cpu()), total, dim=1) for mine in logits]


def films_in_order(films: FilmDataset, batch_size: int, process: Process) -> "DataLoader[Batch]":
    """Every film once; each process has its share, as ``predict`` expects it."""
    return ordered_loader(
        films,
        batch_size=batch_size,
        num_workers=process.num_workers,
        pin=process.pins,
        rank=process.rank,
        num_processes=process.num_processes,
    )


def preprocessings(models: Sequence[Classifier | WithFeatures]) -> list[Preprocessing]:
    """The different ways in which these models want a film, in the order of the models."""
    return list(dict.fromkeys(model.preprocessing for model in models))


def films_csv(given: Path | None, checkpoints: Sequence[Checkpoint], reporter: Reporter) -> Path:
    """``--csv``; or, of models that were trained on phantoms, the test films that belong to those."""
    if given is not None:
        return given
    for checkpoint in checkpoints:
        csv = phantom_test_csv(checkpoint.training.get("options", {}).get("csv"), reporter)
        if csv is not None:
            return csv
    raise OptionError("--csv is missing.", "It names the films to predict, one row each.")


def normal_finding(options: PredictOptions, findings: Sequence[str]) -> str | None:
    """The finding that gates the others, where that is asked for; raises OptionError where there is none."""
    if options.postprocess == "none":
        return None
    normal = options.normal or LabelSpace.of(findings).normal
    if normal not in findings:
        what = f"--normal: the model does not know {normal}" if options.normal else "No finding means normal"
        raise OptionError(f"{what}; normal_gating needs one.", f"Name it with --normal: {listed(findings, 40)}.")
    return normal


def plan_of_views(options: PredictOptions, normal: str | None) -> dict[str, str]:
    views = VIEWS[options.tta]
    names = ", ".join(view.name for view in views)
    facts = {"views": f"{options.tta} ({names}), merged by {options.merge}"} if len(views) > 1 else {}
    gating = {"gating": f"every finding times (1 - {normal}) to the power of {options.alpha:g}"} if normal else {}
    return {**facts, **gating}


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


def write(predictions: Predictions, path: Path, id_column: str, reporter: Reporter) -> None:
    written = "Replaced" if path.exists() else "Wrote"
    predictions.write(path, id_column)
    films, findings = (
        counted(len(predictions.ids), "film"),
        counted(len(set(predictions.findings) - {OOD_SCORE}), "finding"),
    )
    reporter.result(f"{written} {path}: {films}, {findings}.")


def _finite(logits: torch.Tensor) -> torch.Tensor:
    if not torch.isfinite(logits).all():
        raise WorkerError(
            f"The model gives {int((~torch.isfinite(logits)).sum())} logits that are no finite numbers.",
            "Its training diverged, or the precision is too low: lower the learning rates, or pass --precision fp32.",
        )
    return logits


def ids_to_predict(options: FilmOptions, csv: Path, reporter: Reporter) -> Texts:
    """The ids of a CSV in its order, those of ``--exclude`` left out."""
    ids = read_ids(csv, options.id_column)
    excluded = read_exclusions(options.exclude, options.id_column)
    tell_exclusions(reporter, excluded, ids)
    ids = ids[[film not in excluded for film in ids]]
    if len(ids) == 0:
        raise DataError(f"--exclude leaves no film of {csv}.")
    return ids


def films_to_predict(options: FilmOptions, csv: Path, reporter: Reporter) -> tuple[Texts, list[Path]]:
    """Their ids and where they are; raises DataError with all that are missing."""
    ids = ids_to_predict(options, csv, reporter)
    paths = film_paths(image_folder(csv, options.image_dir, ids), ids)
    require_films(paths)
    return ids, paths
