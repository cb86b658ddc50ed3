"""A checkpoint and films to predictions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.utils.data import DataLoader

from cxrlt_cli.calibration import Calibration
from cxrlt_cli.config import FilmOptions, InferOptions, PredictOptions
from cxrlt_cli.data.loading import Batch, FilmDataset
from cxrlt_cli.data.outputs import require_table
from cxrlt_cli.data.table import Texts, read_exclusions, read_ids
from cxrlt_cli.engine.cache import film_sources, keep_films
from cxrlt_cli.engine.checkpoints import read_checkpoint
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.launch import launch, writing
from cxrlt_cli.engine.partial import PartialCsvs
from cxrlt_cli.engine.phantom import phantom_test_csv
from cxrlt_cli.engine.predict import films_in_order, predict, rehearse, stretches
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Reporter, counted, tell_exclusions, tell_needless
from cxrlt_cli.engine.room import require_room_for_table
from cxrlt_cli.engine.speed import predicting
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import real
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.names import meant
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier, WithFeatures, from_checkpoint
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.nets.novelty import Novelty
from cxrlt_cli.predictions import OOD_SCORE, Predictions, normal_gating
from cxrlt_cli.tta import VIEWS, merge


def infer(options: InferOptions, reporter: Reporter) -> None:
    """Write the probabilities of every film of ``--csv``, in its order; nothing in a dry run.

    Films are predicted and written a stretch at a time. After a stop, the same command goes on where it was.
    """
    if options.merge == "rank":
        raise OptionError("--merge rank blends members of an ensemble; views of a film have no ranks.")
    Process.of(options)
    inputs = (options.checkpoint, options.csv, *options.exclude)
    require_table(options.out, "--out", inputs)
    if options.decisions is not None:
        require_table(options.decisions, "--decisions", inputs)
        if real(options.decisions) == real(options.out):
            raise OptionError(f"--decisions and --out are both {options.out}.", "Give each a file of its own.")
    tell_needless(reporter, options, ["patient_column"], "predicting looks at no patient")
    with writing(options, ("--out", options.out), ("--decisions", options.decisions)):
        _infer(options, reporter)


def _infer(options: InferOptions, reporter: Reporter) -> None:
    checkpoint = read_checkpoint(options.checkpoint, reporter)
    csv = films_csv(options.csv, [checkpoint], reporter)
    films = FilmList.of(options, csv, reporter)
    model = from_checkpoint(checkpoint, options.checkpoint)
    findings = options.findings or model.findings
    unknown = [name for name in findings if name not in model.findings]
    if unknown:
        raise OptionError(
            f"--findings: the model does not know {listed(unknown)}.{meant(unknown[0], model.findings)}",
            f"It has {listed(model.findings, 40)}.",
        )
    normal = normal_finding(options, model.findings)
    calibrates = options.calibration != "none" or options.decisions is not None
    calibration = Calibration.of(checkpoint.training, model.findings) if calibrates else None
    novelty = Novelty.of(checkpoint.novelty) if options.ood_score else None
    if not options.dry_run:
        require_room_for_table("--out", options.out, films.number, len(findings))
        keep_films(films.path_stretches(), films.number, [model.preprocessing], options, reporter)
    launch(_predict, options, reporter, model, films, _Afterwards(options, findings, normal, calibration, novelty))


@dataclass(frozen=True)
class _Afterwards:
    """What is made of a model's logits."""

    options: InferOptions
    findings: tuple[str, ...]
    normal: str | None
    calibration: Calibration | None
    novelty: Novelty | None

    def predictions(self, ids: Texts, known: tuple[str, ...], logits: Tensor) -> tuple[Predictions, ...]:
        """For ``--out`` and, if it is asked for, ``--decisions``, from ``[V, N, C]`` or ``[V, N, C + D]``."""
        logits, features = logits[..., : len(known)], logits[0, :, len(known) :]
        predictions = Predictions(ids, known, merge(logits, self.options.merge).numpy())
        decided = []
        if self.calibration is not None and self.options.decisions is not None:
            decided = [self.calibration.decide(predictions, self.options.decide).select(self.findings)]
        if self.calibration is not None and self.options.calibration != "none":
            predictions = self.calibration.calibrate(predictions, self.options.calibration)
        if self.normal is not None:
            predictions = normal_gating(predictions, self.options.alpha, self.normal)
        predictions = predictions.select(self.findings)
        if self.novelty is not None:
            predictions = predictions.with_column(OOD_SCORE, self.novelty.score(features).numpy())
        return predictions, *decided


def _predict(process: Process, reporter: Reporter, model: Classifier, films: FilmList, then: _Afterwards) -> None:
    options, views = then.options, VIEWS[then.options.tta]
    reporter.plan(
        "Prediction",
        {
            "films": f"{films.number:,} of {films.csv}",
            "model": f"{options.checkpoint}: {model.architecture.backbone}, {model.architecture.head}, "
            f"{len(model.findings)} findings, {model.image_size} px",
            **plan_of_views(options, then.normal),
            "process": str(process),
            "out": str(options.out),
        },
    )
    if then.calibration is not None and len(views) > 1:
        reporter.note("Calibration and thresholds were fitted on the film as it is, and suit merged views less well.")
    process = predicting(options, process, model, films.number * len(views), reporter)
    network = (model if then.novelty is None else WithFeatures(model)).to(process.device)

    source = film_sources([network.preprocessing], options, reporter)

    def batches(ids: Texts) -> "DataLoader[Batch]":
        dataset = FilmDataset(source(films.paths(ids)))
        return films_in_order(dataset, options.batch_size, process)

    sizes = stretches(options.batch_size, process)
    if options.dry_run:
        rehearse([network], batches(next(films.stretches(sizes))), views, films.number, process, reporter)
        return
    paths = [options.out, *([options.decisions] if options.decisions else [])]
    existed = [path.is_file() for path in paths]
    partial = PartialCsvs(paths, _key(options, films, process), options.id_column) if process.is_main else None
    if partial is not None and partial.note:
        reporter.note(partial.note)
    done = process.collected(partial.num_films if partial else 0)[0]
    if done:
        reporter.note(f"Going on after {counted(done, 'film')} that were predicted before.")
    with reporter.progress("Predicting", films.number) as advance:
        advance(done)
        for ids in films.stretches(sizes, done):
            (logits,) = predict([network], batches(ids), process, advance, views)
            if partial is not None:
                partial.append(*then.predictions(ids, model.findings, logits))
    if partial is not None:
        partial.finish()
    what = f"{counted(films.number, 'film')}, {counted(len(then.findings), 'finding')}"
    for path, replaced in zip(paths, existed, strict=True):
        reporter.result(f"{'Replaced' if replaced else 'Wrote'} {path}: {what}.")


def _key(options: InferOptions, films: FilmList, process: Process) -> dict[str, object]:
    """All that decides what is written."""
    path = options.checkpoint / "best.safetensors" if options.checkpoint.is_dir() else options.checkpoint
    free = {"csv", "image_dir", "exclude", "out", "workers", "quiet", "debug", "seed", "processes", "nodes", "device",
            "rendezvous", "run_id", "checkpoint", "batch_size", "cache"}  # fmt: skip
    chosen = json.loads(options.model_dump_json(exclude=free))
    return {"model": sha256(path), "films": films.to_json(), "options": chosen, "dtype": str(process.dtype)}


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


def write(predictions: Predictions, path: Path, id_column: str, reporter: Reporter) -> None:
    written = "Replaced" if path.is_file() else "Wrote"
    predictions.write(path, id_column)
    films, findings = (
        counted(len(predictions.ids), "film"),
        counted(len(set(predictions.findings) - {OOD_SCORE}), "finding"),
    )
    reporter.result(f"{written} {path}: {films}, {findings}.")


def ids_to_predict(options: FilmOptions, csv: Path, reporter: Reporter) -> Texts:
    """The ids of a CSV in its order, those of ``--exclude`` left out."""
    ids = read_ids(csv, options.id_column)
    excluded = read_exclusions(options.exclude, options.id_column)
    tell_exclusions(reporter, excluded, ids)
    ids = ids[[film not in excluded for film in ids]]
    if len(ids) == 0:
        raise DataError(f"--exclude leaves no film of {csv}.")
    return ids
