"""Predictions and true labels to scores. Imports no torch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.chosen_rows import chosen_rows
from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.engine.reporter import Reporter, tell_exclusions
from cxrlt_cli.errors import OptionError, listed
from cxrlt_cli.files import real, require_file, write_text
from cxrlt_cli.scores.judged import Judged, scored, with_intervals
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.tables.label_table import read_exclusions
from cxrlt_cli.verbs.evaluate_groups import scores_of_groups
from cxrlt_cli.verbs.evaluate_report import write_report
from cxrlt_cli.verbs.evaluate_studies import read_files, to_studies, truth_of_studies
from cxrlt_cli.verbs.evaluate_truth import (
    align,
    frequencies_of,
    read_truth,
    shared,
    tell_not_predicted,
    with_phantom_truth,
)

if TYPE_CHECKING:
    from cxrlt_cli.nets.checkpoints import Checkpoint


def evaluate(options: EvaluateOptions, reporter: Reporter) -> Scores:
    """Score a prediction CSV on the films and findings that it shares with ``--csv``, by name.

    A second one is scored on the same films, and the first is compared with it, on the same resampled patients.
    """
    if len(options.predictions) > 2:
        raise OptionError(f"{len(options.predictions)} prediction files were given.", "Give one, or two to compare.")
    models = (options.checkpoint, options.among)
    inputs = (*options.predictions, options.csv, options.train_csv, *models, *options.exclude)
    if options.json_path is not None:
        require_file(options.json_path, "--json", inputs)
    if options.report is not None:
        require_file(options.report, "--report", inputs)
        if options.json_path is not None and real(options.json_path) == real(options.report):
            raise OptionError(f"--report and --json are both {options.report}.", "Give each a file of its own.")
    with lock_outputs(("--json", options.json_path), ("--report", options.report)):
        return _evaluate(options, reporter)


def _evaluate(options: EvaluateOptions, reporter: Reporter) -> Scores:
    files, of_studies = read_files(options)
    if options.report is None and (options.checkpoint or options.image_dir):
        raise OptionError("--checkpoint and --image-dir are for the report.", "Pass --report page.html too.")
    if options.csv is None:
        options = with_phantom_truth(options, files[0], reporter)
    csv = options.csv
    assert csv is not None, "given, or found"
    if len(files) == 2:
        files = shared(files, options, reporter)
    model = None if options.checkpoint is None else _read_model(options.checkpoint, options.among, reporter)
    excluded = read_exclusions(options.exclude, options.id_column)
    chosen = chosen_rows(options, csv, options.split, reporter)
    truth, has_patients = read_truth(options, csv, files[0], excluded, chosen)
    tell_exclusions(reporter, excluded, truth.left_out)
    if of_studies:
        truth = truth_of_studies(truth, csv, options, reporter)
    policies = {"csv": truth.policy, "checkpoint": None if model is None else model.policy}
    for name, path in (("csv", csv), ("checkpoint", options.checkpoint)):
        if policies[name]:
            reporter.note(f"Labels of {path}: {policies[name]}.")
    tell_not_predicted(options, csv, files[0], excluded, chosen, reporter)
    aligned = [
        align(file, truth, csv, options, path, reporter) for file, path in zip(files, options.predictions, strict=True)
    ]
    if options.per_study is not None and not of_studies:
        aligned = to_studies(aligned, csv, options, reporter)
    truth = aligned[0][1]
    frequencies = None if options.train_csv is None else frequencies_of(options, aligned[0][0], reporter)
    judged = [
        Judged(path, predictions, truth, scored(predictions, truth, options, frequencies, has_patients))
        for path, (predictions, _) in zip(options.predictions, aligned, strict=True)
    ]
    if options.bootstrap and not has_patients:
        reporter.note("The labels do not say whose films they are: for the intervals, each is of another patient.")
    with reporter.progress("Resampling patients", options.bootstrap, "resamples") as advance:
        judged = with_intervals(judged, options, advance)
    _tell_what_is_not_scored(judged[0].scores, options, reporter)
    for one in judged:
        reporter.scores(f"{one.path} on {csv}", one.scores)
    groups = {} if options.by is None else scores_of_groups(judged[0], csv, chosen, options, reporter)
    if options.by is not None:
        reporter.groups(f"{judged[0].path} by {options.by}", groups)
    if judged[0].scores.comparison is not None:
        reporter.comparison(str(judged[0].path), str(judged[1].path), judged[0].scores.comparison)
    scores = judged[0].scores
    if options.json_path is not None:
        content = scores.to_json()
        if any(policies.values()):
            content["labels"] = policies
        if len(judged) > 1:
            content["second"] = judged[1].scores.to_json()
        if groups:
            content["groups"] = {name: group.to_json() for name, group in groups.items()}
        write_text(options.json_path, json.dumps(content, indent=2, allow_nan=False) + "\n")
        reporter.note(f"Wrote {options.json_path}.")
    if options.report is not None:
        write_report(judged[0], judged[1] if len(judged) > 1 else None, groups, csv, model, options, reporter)
    return scores


def _read_model(path: Path, among: Path | None, reporter: Reporter) -> "Checkpoint":
    """A checkpoint; raises DataError where the embeddings to look ``among`` are of another one."""
    from cxrlt_cli.engine.feature_files import require_same_checkpoint
    from cxrlt_cli.engine.predict import read_checkpoint

    checkpoint = read_checkpoint(path, reporter)
    if among is not None:
        require_same_checkpoint(among, path)
    return checkpoint


def _tell_what_is_not_scored(scores: Scores, options: EvaluateOptions, reporter: Reporter) -> None:
    if options.threshold == "best":
        reporter.note("--threshold best: F1 is at the threshold that is best on these very films, so it is too good.")
    if scores.skipped:
        verb = "count as AP 0" if options.empty == "zero" else "are left out of the means"
        reporter.note(f"Without a positive film: {listed(scores.skipped, 40)}; they {verb}.")
    always = [finding.name for finding in scores.findings if finding.positives and finding.auroc is None]
    if always:
        reporter.note(
            f"Positive on every film: {listed(always, 40)}; AP is 1 whatever the prediction, and there is no AUROC."
        )
