"""A model, or its predictions, and films of the place of use to thresholds and probabilities that suit it."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import CalibrateOptions, changed, flags
from cxrlt_cli.engine.chosen_rows import chosen_rows
from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.engine.next_step import tell_next
from cxrlt_cli.engine.reporter import Reporter, Silent, counted, tell_exclusions
from cxrlt_cli.engine.several import require_single
from cxrlt_cli.engine.stated_views import StatedViews
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import require_file, require_no_labels, write_text
from cxrlt_cli.names import meant
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.drift import STATED, Traits
from cxrlt_cli.scores.local_fit import LocalFit, Wanted
from cxrlt_cli.scores.local_fitting import fit_labelled, fit_unlabelled, shipped_rule
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable, Texts, read_csv, read_exclusions, read_labels
from cxrlt_cli.tables.patients import read_patients
from cxrlt_cli.tables.rows import is_table
from cxrlt_cli.verbs.calibrate_told import tell_labelled, tell_unlabelled

NUM_FOLDS = 5


def calibrate(options: CalibrateOptions, reporter: Reporter) -> LocalFit | None:
    """Write what ``--fitted`` of infer and ensemble takes; None after a dry run, and in all processes but the first.

    Raises DataError and OptionError where labels, patients or films are missing.
    """
    of_predictions = is_table(options.model)
    require_single(options.model, _with_all(options))
    _check(options, of_predictions)
    require_no_labels([options.model], options.csv)
    require_file(options.out, "--out", (options.model, options.csv, *options.exclude))
    if of_predictions:
        with lock_outputs(("--out", options.out)):
            return _of_predictions(options, reporter)
    from cxrlt_cli.engine.launch import prepared_once  # PyTorch: predictions need none

    return prepared_once(_of_checkpoint)(options, reporter)


def _with_all(options: CalibrateOptions) -> str:
    """How all members of a run are calibrated together."""
    run, csv = options.model, options.csv or "LOCAL.csv"
    return (
        f"All of them together: cxrlt ensemble {run} --csv {csv} --out all.csv, then cxrlt calibrate all.csv "
        f"--csv {csv}, and cxrlt ensemble {run} --fitted with its JSON. On the films of their training: "
        f"cxrlt ensemble {run} --fit --csv LABELS.csv, which goes by what they predicted out of fold."
    )


def _check(options: CalibrateOptions, of_predictions: bool) -> None:
    if of_predictions and (needless := changed(options) & {"tta", "image_dir", "cache", "links", "max_pixels"}):
        raise OptionError(
            f"{flags(options, needless)} has no effect with a prediction CSV: no film is read.", "Leave it out."
        )
    if of_predictions and options.unlabelled:
        raise OptionError(
            f"--unlabelled needs the prevalence of findings in training, which {options.model} does not say.",
            "Pass a checkpoint.",
        )
    if options.csv is None and not (options.unlabelled and options.image_dir):
        raise OptionError(
            "--csv is missing.",
            "It lists films of your hospital, with a column of 0 and 1 for each finding. With --unlabelled, films "
            "without labels will do, or a folder of them: --image-dir.",
        )


def _of_predictions(options: CalibrateOptions, reporter: Reporter) -> LocalFit | None:
    given = Predictions.read(options.model, options.id_column)
    table = _labels(options, given.findings, reporter)
    _require_predicted(given, table, options)
    if options.dry_run:
        reporter.result("Dry run: predictions and labels were read. Nothing was written.")
        return None
    stated = StatedViews.of(given.ids, options.csv, None, options).comparable(given.ids)
    traits = Traits(views={STATED: stated})
    return _fit(given, traits, table, Calibration.identity(given.findings), None, options, reporter)


def _of_checkpoint(options: CalibrateOptions, reporter: Reporter) -> LocalFit | None:
    from cxrlt_cli.engine.topology import lock_outputs_once

    with lock_outputs_once(options, ("--out", options.out)):
        return _fitted(options, reporter)


def _fitted(options: CalibrateOptions, reporter: Reporter) -> LocalFit | None:
    from cxrlt_cli.verbs.calibrate_films import Model, predicted

    model = Model.read(options, reporter)
    table = None if options.unlabelled else _labels(options, model.findings, reporter)
    seen = None if table is None else model.num_seen(table, options, reporter)
    found = predicted(model, options, reporter)
    if found is None:
        return None
    predictions, traits = found
    if table is not None:
        return _fit(predictions, traits, table, model.calibration, model.digest, options, reporter, seen)
    patients = _patients_of(predictions.ids, options, reporter)
    predictions = predictions.select(_chosen(options, model.findings))
    fit = fit_unlabelled(predictions, patients, model.calibration, model=model.digest, tta=options.tta, traits=traits)
    tell_unlabelled(fit, options, reporter)
    return _written(fit, options, reporter)


def _fit(
    predictions: Predictions,
    traits: Traits,
    table: LabelTable,
    prior: Calibration,
    model: str | None,
    options: CalibrateOptions,
    reporter: Reporter,
    trained_on: int | None = None,
) -> LocalFit:
    place = {film: row for row, film in enumerate(predictions.ids)}
    traits = traits.rows([place[film] for film in table.ids])
    predictions = predictions.rows(list(table.ids)).select(table.space.findings)
    wanted = Wanted(options.sensitivity, options.miss_at_most, options.sure, options.joint, options.ppv)
    fold = table.folds(min(NUM_FOLDS, table.num_patients), options.seed)
    films = table.targets, table.patients, fold
    fit = fit_labelled(predictions, *films, wanted, prior, model=model, tta=options.tta, traits=traits)
    fit = replace(fit, trained_on=trained_on)
    before = "threshold 0.5" if model is None else f"by {shipped_rule(wanted)}, as the training fitted it"
    tell_labelled(fit, before, options, reporter)
    return _written(fit, options, reporter)


def _written(fit: LocalFit, options: CalibrateOptions, reporter: Reporter) -> LocalFit:
    replaced = options.out.is_file()
    write_text(options.out, json.dumps(fit.to_json(), indent=1, allow_nan=False) + "\n")
    reporter.result(f"{'Replaced' if replaced else 'Wrote'} {options.out}.")
    command = ("infer", options.model) if fit.model else ("ensemble", "MEMBERS")
    goal = ("--calibration", "platt", "--decisions", "decisions.csv")
    tell_next(reporter, *command, "--csv", "FILMS.csv", "--fitted", options.out, *goal)
    return fit


def _labels(options: CalibrateOptions, known: Sequence[str], reporter: Reporter) -> LabelTable:
    """The labels of the findings that the model knows; their patients are needed."""
    csv = options.csv
    assert csv is not None, "it was asked for"
    tells = reporter if is_table(options.model) else Silent()  # of a checkpoint, the list of its films tells
    wanted = _chosen(options, known)
    columns = read_csv(csv).columns
    findings = list(wanted) if options.findings else [name for name in wanted if name in columns]
    if not findings:
        raise DataError(
            f"{csv} has none of the findings of {options.model} ({listed(wanted)}).",
            f"Its columns are {listed(list(columns), 40)}. For films without labels: --unlabelled estimates "
            "prevalences.",
        )
    excluded = read_exclusions(options.exclude, options.id_column)
    table = read_labels(
        csv,
        id_column=options.id_column,
        patient_column=options.patient_column,
        findings=findings,
        excluded=excluded,
        chosen=chosen_rows(options, csv, options.split, tells),
    )
    tell_exclusions(tells, excluded, table.left_out)
    if table.counts.sum() == 0:
        raise DataError(f"{csv} has no positive label.", "Labels are 1 where there is a finding.")
    if table.num_patients < 2:
        raise DataError(f"All films of {csv} are of one patient, so nothing can be cross-validated.")
    if lost := [name for name in wanted if name not in findings]:
        reporter.warn(f"Not calibrated, as {csv} has no such column: {listed(lost, 40)}.")
    return table


def _chosen(options: CalibrateOptions, known: Sequence[str]) -> tuple[str, ...]:
    if unknown := [name for name in options.findings or () if name not in known]:
        raise OptionError(
            f"--findings: {options.model} does not know {listed(unknown)}.{meant(unknown[0], known)}",
            f"It has {listed(known, 40)}.",
        )
    return options.findings or tuple(known)


def _patients_of(ids: Texts, options: CalibrateOptions, reporter: Reporter) -> NDArray[np.object_]:
    """Whose films without labels are; where ``--csv`` does not say, each is of another patient."""
    if options.csv is not None:
        chosen = chosen_rows(options, options.csv, options.split, Silent())
        frame = chosen.rows_of(read_csv(options.csv), options.csv)
        if options.patient_column in frame.columns:
            patients = read_patients(frame, str(options.csv), options.id_column, options.patient_column)
            whose = dict(zip(frame[options.id_column], patients, strict=True))
            return np.array([whose[film] for film in ids], object)
    reporter.note("The patients are not known: each film counts as one patient.")
    return ids


def _require_predicted(given: Predictions, table: LabelTable, options: CalibrateOptions) -> None:
    """Raise DataError where a labelled film has no prediction."""
    predicted = set(given.ids)
    if missing := [film for film in table.ids if film not in predicted]:
        raise DataError(
            f"{options.model} lacks {counted(len(missing), 'film')} of {options.csv}: {listed(missing)}.",
            "Predict them, or leave them out with --exclude.",
        )
