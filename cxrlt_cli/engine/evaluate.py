"""Predictions and true labels to scores. Imports no torch."""

import json
from pathlib import Path

import numpy as np

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.data.table import LabelTable, read_csv, read_exclusions, read_labels
from cxrlt_cli.engine.reporting import Reporter, tell_exclusions
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import require_file, write_text
from cxrlt_cli.metrics import Floats, Scores, prevalence, score
from cxrlt_cli.predictions import Predictions


def evaluate(options: EvaluateOptions, reporter: Reporter) -> Scores:
    """Score a prediction CSV on the films and findings that it shares with ``--csv``, by name."""
    if len(options.predictions) > 1:
        raise OptionError("The comparison of two prediction files is not built yet in this version of cxrlt.")
    (path,) = options.predictions
    if options.json_path is not None:
        inputs = (path, options.csv, options.train_csv, *options.exclude)
        require_file(options.json_path, "--json", inputs)
    predictions = Predictions.read(path, options.id_column)
    if options.csv is None:
        options = _with_phantom_truth(options, predictions, reporter)
    csv = options.csv
    assert csv is not None, "given, or found"
    truth, has_patients = _read_truth(options, csv, predictions)
    predictions, truth = _align(predictions, truth, csv, options, path, reporter)
    frequencies = None if options.train_csv is None else _frequencies(options, predictions)
    scores = score(
        truth.targets,
        predictions.probabilities,
        predictions.findings,
        frequencies=frequencies,
        threshold="best" if options.threshold == "best" else 0.5,
        empty=options.empty,
        num_patients=truth.num_patients if has_patients else None,
    )
    if scores.skipped:
        verb = "count as AP 0" if options.empty == "zero" else "are left out of the means"
        reporter.note(f"Without a positive film: {listed(scores.skipped, 40)}; they {verb}.")
    always = [finding.name for finding in scores.findings if finding.positives and finding.auroc is None]
    if always:
        reporter.note(
            f"Positive on every film: {listed(always, 40)}; AP is 1 whatever the prediction, and there is no AUROC."
        )
    reporter.scores(f"{path} on {csv}", scores)
    if options.json_path is not None:
        write_text(options.json_path, json.dumps(scores.to_json(), indent=2, allow_nan=False) + "\n")
        reporter.note(f"Wrote {options.json_path}.")
    return scores


def _with_phantom_truth(options: EvaluateOptions, predictions: Predictions, reporter: Reporter) -> EvaluateOptions:
    """Options that name the truth of the phantoms that were predicted, and their training films for the bands."""
    from cxrlt_cli.data.phantom.dataset import truth_csv

    csv = truth_csv(predictions.ids)
    if csv is None:
        raise OptionError("--csv is missing.", "It holds the true labels, one row a film.")
    reporter.note(f"These are digital phantoms; their truth stands in {csv}.")
    train_csv = csv.with_name("train.csv") if csv.stem == "test_task1_truth" else None
    return options.model_copy(update={"csv": csv, "train_csv": options.train_csv or train_csv})


def _read_truth(options: EvaluateOptions, path: Path, predictions: Predictions) -> tuple[LabelTable, bool]:
    """The labels in a CSV of the findings that were predicted, and whether it says whose films they are."""
    columns = read_csv(path).columns
    if "patient_column" in options.model_fields_set and options.patient_column not in columns:
        raise DataError(f"{path} has no column '{options.patient_column}'.", "Check --patient-column.")
    wanted = options.findings or predictions.findings
    shared = [name for name in wanted if name in columns]
    if not shared:
        raise DataError(
            f"{path} has none of the findings that were predicted ({listed(wanted)}).",
            f"Its columns are {listed(list(columns), 40)}.",
        )
    table = read_labels(
        path, id_column=options.id_column, patient_column=options.patient_column, findings=shared, needs_patients=False
    )
    return table, options.patient_column in columns


def _align(
    predictions: Predictions,
    truth: LabelTable,
    csv: Path,
    options: EvaluateOptions,
    path: Path,
    reporter: Reporter,
) -> tuple[Predictions, LabelTable]:
    """The films and findings that both have, in the order of the predictions; what is left out is said."""
    not_predicted = [name for name in options.findings or () if name not in predictions.findings]
    if not_predicted:
        raise OptionError(f"--findings: {path} has no column {listed(not_predicted)}.")
    wanted = options.findings or predictions.findings
    findings = [name for name in wanted if name in truth.space.findings]
    left_out = [name for name in wanted if name not in findings]
    if left_out:
        reporter.warn(f"Not scored, since {csv} has no such column: {listed(left_out, 40)}.")
    excluded = read_exclusions(options.exclude, options.id_column)
    tell_exclusions(reporter, excluded, truth.ids)
    truth = truth.without(excluded)
    row = {film: index for index, film in enumerate(truth.ids)}
    ids = [film for film in predictions.ids if film in row]
    if not ids:
        raise DataError(f"{path} and {csv} share no film.", "Check --id-column, and whether ids end in .png in both.")
    if len(ids) < len(truth):
        reporter.warn(f"{len(truth) - len(ids):,} of the {len(truth):,} films of {csv} have no prediction.")
    if len(ids) < len(predictions.ids):
        reporter.warn(
            f"{len(predictions.ids) - len(ids):,} of the {len(predictions.ids):,} films of {path} have no label."
        )
    return predictions.rows(ids).select(findings), truth.rows(np.array([row[film] for film in ids])).select(findings)


def _frequencies(options: EvaluateOptions, predictions: Predictions) -> Floats:
    assert options.train_csv is not None
    train, _ = _read_truth(options, options.train_csv, predictions)
    missing = [name for name in predictions.findings if name not in train.space.findings]
    if missing:
        raise DataError(f"--train-csv {options.train_csv} has no column {listed(missing)}.")
    return prevalence(train.select(predictions.findings).targets)
