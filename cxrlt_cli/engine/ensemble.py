"""Several members, checkpoints and prediction CSVs, to one prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.data.loading import FilmDataset, ordered_loader
from cxrlt_cli.data.table import LabelTable, read_labels
from cxrlt_cli.engine.infer import (
    films_csv,
    find_films,
    normal_finding,
    plan_of_views,
    predict,
    preprocessings,
    rehearse,
    write,
)
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Reporter
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import require_file, write_text
from cxrlt_cli.machine import num_cores
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier, from_checkpoint
from cxrlt_cli.predictions import Predictions, blend, normal_gating
from cxrlt_cli.selection import Choice, choose
from cxrlt_cli.tta import VIEWS, merge

NUM_RESAMPLES = 500


@dataclass(frozen=True)
class Members:
    """What was named: models by their place, and predictions by theirs."""

    paths: tuple[Path, ...]
    models: dict[int, Classifier]
    files: dict[int, Predictions]
    csv: Path | None  # of the films to predict; None where all members are predictions


def ensemble(options: EnsembleOptions, reporter: Reporter) -> Predictions | None:
    """Blend checkpoints and prediction CSVs, aligned by film and finding; None after a dry run.

    Checkpoints share one reading of each film. Raises DataError where members differ in films or findings.
    """
    process = Process.of(options)
    if options.weights is not None and len(options.weights) != len(options.members):
        raise OptionError(f"--weights has {len(options.weights)} numbers for {len(options.members)} members.")
    if options.fit and options.weights is not None:
        raise OptionError("--fit chooses the weights: leave --weights out.")
    require_file(options.out, "--out", (*options.members, options.csv, *options.exclude))
    members = _read(options, process, reporter)
    truth = _truth(options, members) if options.fit else None
    predictions = _predict(members, options, process, reporter)
    if predictions is None:
        return None
    names = [str(path) for path in members.paths]
    if options.findings is not None:
        predictions = [_select(one, options.findings, name) for one, name in zip(predictions, names, strict=True)]
    aligned = predictions[0].same_films(predictions[1:], names)
    if truth is not None:
        options = _fitted(aligned, truth, options, reporter)
    blended = blend(aligned, options.weights, options.merge)
    normal = normal_finding(options, blended.findings)
    if normal is not None:
        blended = normal_gating(blended, options.alpha, normal)
    write(blended, options.out, options.id_column, reporter)
    return blended


def _read(options: EnsembleOptions, process: Process, reporter: Reporter) -> Members:
    """Every member, before any film is read."""
    models, files, checkpoints = {}, {}, []
    for index, path in enumerate(options.members):
        if path.suffix.lower() == ".csv":
            files[index] = Predictions.read(path, options.id_column)
        else:
            checkpoints.append(Checkpoint.read(path))
            models[index] = from_checkpoint(checkpoints[-1], path).to(process.device)
    if not models and options.tta != "none":
        raise OptionError("--tta is of no use with prediction CSVs alone.", "Pass checkpoints, or leave it out.")
    csv = films_csv(options.csv, checkpoints, reporter) if models else options.csv
    return Members(options.members, models, files, csv)


def _predict(
    members: Members, options: EnsembleOptions, process: Process, reporter: Reporter
) -> list[Predictions] | None:
    """The predictions of every member, in the order of the command; None after a dry run."""
    weights = options.weights or (1.0,) * len(members.paths)
    lines = {
        f"member {index + 1}": f"{path} (weight {weight:g})"
        for index, (path, weight) in enumerate(zip(members.paths, weights, strict=True))
    }
    findings = next(iter(members.models.values())).findings if members.models else members.files[0].findings
    normal = normal_finding(options, findings)
    plan = {**lines, **plan_of_views(options, normal), "merge": options.merge, "out": str(options.out)}
    if not members.models:
        reporter.plan("Ensemble", plan)
        if options.dry_run:
            reporter.result("Dry run: all members were read. Nothing was written.")
            return None
        return list(members.files.values())
    assert members.csv is not None, "checkpoints need films"
    ids, paths = find_films(options, members.csv, reporter)
    models = list(members.models.values())
    dataset = FilmDataset(paths, preprocessings(models), None, options.max_pixels)
    loader = ordered_loader(dataset, batch_size=options.batch_size, num_workers=process.num_workers, pin=process.pins)
    reporter.plan("Ensemble", {"films": f"{len(paths):,} of {members.csv}", **plan, "process": str(process)})
    if options.dry_run:
        rehearse(models, loader, VIEWS[options.tta], len(paths), process, reporter)
        return None
    with reporter.progress("Predicting", len(paths)) as advance:
        logits = predict(models, loader, process, advance, VIEWS[options.tta])
    of_views = "mean" if options.merge == "rank" or options.fit else options.merge
    predicted = {
        index: Predictions(ids, model.findings, merge(mine, of_views).numpy())
        for (index, model), mine in zip(members.models.items(), logits, strict=True)
    }
    wanted = set(ids)
    files = {index: file.rows([film for film in file.ids if film in wanted]) for index, file in members.files.items()}
    ordered = {**predicted, **files}
    return [ordered[index] for index in range(len(members.paths))]


def _select(predictions: Predictions, findings: Sequence[str], name: str) -> Predictions:
    missing = [finding for finding in findings if finding not in predictions.findings]
    if missing:
        raise OptionError(f"--findings: {name} does not know {listed(missing)}.")
    return predictions.select(findings)


def _truth(options: EnsembleOptions, members: Members) -> LabelTable:
    """The labels to choose by; read before any film is."""
    if members.csv is None:
        raise OptionError("--fit needs labelled films.", "Pass their labels with --csv.")
    first = members.models[0].findings if 0 in members.models else members.files[0].findings
    findings = options.findings or first
    truth = read_labels(
        members.csv,
        id_column=options.id_column,
        patient_column=options.patient_column,
        findings=findings,
        needs_patients=False,
    )
    if truth.counts.sum() == 0:
        raise DataError(f"{members.csv} has no positive label, so --fit has nothing to choose by.")
    return truth


def _fitted(
    members: Sequence[Predictions], truth: LabelTable, options: EnsembleOptions, reporter: Reporter
) -> EnsembleOptions:
    """Options with what was chosen on the labelled films; written to a YAML file for ``--config``."""
    row = {film: index for index, film in enumerate(truth.ids)}
    missing = [film for film in members[0].ids if film not in row]
    if missing:
        raise DataError(f"--fit: the films {listed(missing)} have no label in {options.csv}.")
    truth = truth.rows(np.array([row[film] for film in members[0].ids])).select(members[0].findings)
    normal = options.normal or truth.space.normal
    choice = choose(
        members,
        truth.targets,
        truth.patients,
        normal=normal,
        num_resamples=NUM_RESAMPLES,
        seed=options.seed,
        num_threads=num_cores(),
    )
    chosen = {
        "weights": choice.weights,
        "merge": choice.merge,
        "postprocess": "normal_gating" if choice.alpha else "none",
        "alpha": choice.alpha or options.alpha,
        "normal": normal,
    }
    path = options.out.with_suffix(".yaml")
    text = yaml.safe_dump({**chosen, "weights": list(choice.weights)}, sort_keys=False, allow_unicode=True)
    command = " ".join(str(member) for member in options.members)
    write_text(path, f"# The same again: cxrlt ensemble {command} --tta {options.tta} --config {path}\n{text}")
    reporter.result(_told(choice))
    reporter.result(f"Wrote {path}: weights, merge and gating, for --config.")
    return options.model_copy(update=chosen)


def _told(choice: Choice) -> str:
    def held(bounds: tuple[float, float] | None, sign: str) -> str:
        return f" (95 % of resampled patients: {bounds[0]:{sign}.3f} to {bounds[1]:{sign}.3f})" if bounds else ""

    gating = f"normal_gating with alpha {choice.alpha:g}" if choice.alpha else "no gating"
    weights = ", ".join(f"{weight:.2f}" for weight in choice.weights)
    return (
        f"Chosen: weights {weights}; {choice.merge}; {gating}. Macro AP {choice.ap:.3f}{held(choice.ap_ci, '')}, "
        f"{choice.gain:+.3f}{held(choice.gain_ci, '+')} against the mean of all alike; on the films it was chosen on, "
        "so it is too good."
    )
