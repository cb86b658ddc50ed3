"""Predictions and true labels to scores. Imports no torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.chosen_rows import chosen_rows
from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.engine.next_step import tell_next, typed
from cxrlt_cli.engine.reporter import Reporter, counted, tell_corrections, tell_exclusions, tell_needless
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.files import real, require_file, require_no_labels, write_text
from cxrlt_cli.report.group_tables import tables_of
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.scores.decisions import as_scores, score_decisions
from cxrlt_cli.scores.judged import Judged, scored, with_comparison, with_intervals
from cxrlt_cli.scores.metrics import Scores, Unit
from cxrlt_cli.scores.predictions import Decisions, Predictions
from cxrlt_cli.tables.chosen import EVERY, Chosen
from cxrlt_cli.tables.corrections import read_corrections
from cxrlt_cli.tables.groupings import read_by
from cxrlt_cli.tables.label_table import LabelTable, read_exclusions, read_header, read_ids
from cxrlt_cli.verbs.evaluate_decisions import NEEDLESS, require_alone, table_of, to_json
from cxrlt_cli.verbs.evaluate_errors import require_errors, write_errors
from cxrlt_cli.verbs.evaluate_groups import compared_groups, groupings_of
from cxrlt_cli.verbs.evaluate_places import Reference, held_against
from cxrlt_cli.verbs.evaluate_report import points_of, write_report, write_tables
from cxrlt_cli.verbs.evaluate_runs import Runs, compared_runs, of_seeds, seed_paths, with_runs
from cxrlt_cli.verbs.evaluate_studies import read_files, to_studies, truth_of_studies
from cxrlt_cli.verbs.evaluate_suspects import require_suspects, write_suspects
from cxrlt_cli.verbs.evaluate_told import show, tell_what_is_not_scored
from cxrlt_cli.verbs.evaluate_truth import (
    align,
    frequencies_of,
    read_truth,
    shared,
    tell_not_predicted,
    with_phantom_truth,
)

if TYPE_CHECKING:
    from cxrlt_cli.engine.heat_map_model import HeatMapModel
    from cxrlt_cli.verbs.evaluate_perturb import Trial


@dataclass(frozen=True)
class _Truth:
    """The rows of ``--csv`` that are scored, and by which rules their labels, and those of the model, were made."""

    csv: Path
    chosen: Chosen
    labels: LabelTable
    has_patients: bool
    of_studies: bool
    policies: dict[str, str | None]


@dataclass
class _Shown:
    """What is shown beside the scores: tables, and what ``--json`` holds of them."""

    tables: list[Table] = field(default_factory=list)
    content: dict[str, Any] = field(default_factory=dict)


def evaluate(options: EvaluateOptions, reporter: Reporter) -> Scores:
    """Score a prediction CSV, or that of a run, on the films and findings that it shares with ``--csv``, by name.

    Others are scored on the same films, and compared with the first, on the same resampled patients; with
    ``--against``, a second one is of the films of that CSV.
    """
    runs = with_runs(options)
    names, options = options.predictions, runs.options
    models = (options.checkpoint, options.among, options.perturb)
    tables = (options.csv, options.against, options.train_csv, *options.exclude, *options.corrections)
    inputs = (*options.predictions, *seed_paths(runs), *tables, *models)
    if options.json_path is not None:
        require_file(options.json_path, "--json", inputs)
    if options.report is not None:
        require_file(options.report, "--report", inputs)
        if options.json_path is not None and real(options.json_path) == real(options.report):
            raise OptionError(f"--report and --json are both {options.report}.", "Give each a file of its own.")
    if options.errors is not None:
        require_errors(options, inputs)
    if options.suspects is not None:
        require_suspects(options, inputs)
    files = (("--errors", options.errors), ("--suspects", options.suspects))
    with lock_outputs(("--json", options.json_path), ("--report", options.report), *files):
        return _evaluate(runs, names, reporter)


def _evaluate(runs: Runs, names: Sequence[Path], reporter: Reporter) -> Scores:
    options = runs.options
    require_no_labels(options.predictions, options.csv)
    read, of_studies = read_files(options)
    if of_studies:
        reporter.note(
            f"{listed(options.predictions)}: predictions of studies, scored as they are, whichever "
            "--per-study made them."
        )
    decided = [path for path, one in zip(options.predictions, read, strict=True) if isinstance(one, Decisions)]
    if decided:
        require_alone(options, decided[0], of_studies)
    looks_at_films = options.against is not None or options.perturb is not None
    if options.report is None and (options.checkpoint or (options.image_dir and not looks_at_films)):
        raise OptionError("--checkpoint and --image-dir are for the report.", "Pass --report page.html too.")
    if options.csv is None:
        options = with_phantom_truth(options, read[0], reporter)
    csv = options.csv
    assert csv is not None, "given, or found"
    read_by(options.by, csv, read_header(csv))  # what is wrong with tables is told before anything is scored
    if options.against is not None:
        read_header(options.against)
    files = _to_score([one for one in read if not isinstance(one, Decisions)], csv, options, reporter)
    model = None if options.checkpoint is None else _read_model(options.checkpoint, options, reporter)
    excluded = read_exclusions(options.exclude, options.id_column)
    chosen = chosen_rows(options, csv, options.split, reporter)
    first = files[0] if files else read[0]
    corrections = read_corrections(options.corrections, options.id_column, options.patient_column, [csv])
    labels, has_patients = read_truth(options, csv, first, excluded, chosen, corrections)
    tell_exclusions(reporter, excluded, labels.left_out)
    tell_corrections(reporter, len(corrections), labels.corrected)
    if of_studies:
        labels = truth_of_studies(labels, csv, options, reporter)
    if options.by and not of_studies:
        scored_films = set(first.ids)
        groupings_of([film for film in labels.ids if film in scored_films], csv, chosen, options)
    policies = {"csv": labels.policy, "checkpoint": None if model is None else model.policy}
    for name, path in (("csv", csv), ("checkpoint", options.checkpoint)):
        if policies[name]:
            reporter.note(f"Labels of {path}: {policies[name]}.")
    tell_not_predicted(options, csv, first, excluded, chosen, reporter)
    truth = _Truth(csv, chosen, labels, has_patients, of_studies, policies)
    if isinstance(first, Decisions):
        return _evaluate_decisions(first, truth, options, reporter)
    trial = None if options.perturb is None else _trial(files[0], truth, options, reporter)
    judged, seeds = _judged(files, truth, runs, options, reporter)
    if model is not None:
        judged[0] = _with_warnings(judged[0], model, reporter)
    shown = _compared(judged, read[-1], truth, options, reporter)
    if len(judged) > 2 or runs.has_seeds:
        shown.content["runs"], table = compared_runs(judged, seeds, runs, names)
        shown.tables.append(table)
        show(table, reporter)
    elif judged[0].scores.comparison is not None:
        reporter.comparison(str(judged[0].path), str(judged[1].path), judged[0].scores.comparison)
    perturbed = None if trial is None else trial.scores(judged[0], options, reporter)
    if perturbed is not None:
        shown.content["robustness"] = perturbed.to_json()
    points = points_of(judged[0], options)
    shown.content["operating_points"] = [point.to_json() for point in points]
    if options.suspects is not None:
        found = write_suspects(judged[0], corrections, csv, model, options, reporter)
        shown.content["suspects"] = found
    if options.json_path is not None:
        _write_json(options.json_path, {**judged[0].scores.to_json(), **shown.content}, truth, reporter)
    if options.errors is not None:
        write_errors(judged[0], csv, options, reporter)
    if options.report is not None:
        second = judged[1] if len(judged) > 1 else None
        write_report(judged[0], second, shown.tables, perturbed, points, csv, model, options, reporter)
    else:
        again = typed(options, set(type(options).model_fields) - {"predictions", "quiet", "debug"})
        tell_next(reporter, "evaluate", *names, *again, "--report", "page.html")
    return judged[0].scores


def _to_score(
    files: Sequence[Predictions], csv: Path, options: EvaluateOptions, reporter: Reporter
) -> list[Predictions]:
    """The predictions of the films of ``--csv``: of two files the same films, or without the films of ``--against``."""
    if options.against is not None and len(files) == 1:
        theirs = set(read_ids(options.against, options.id_column)) - set(read_ids(csv, options.id_column))
        kept = [film for film in files[0].ids if film not in theirs]
        return [files[0].rows(kept)] if kept else list(files)
    if options.against is not None:
        return list(files[:1])
    return shared(files, options, reporter) if len(files) > 1 else list(files)


def _trial(first: Predictions, truth: _Truth, options: EvaluateOptions, reporter: Reporter) -> "Trial | None":
    """What ``--perturb`` needs, looked for before anything is scored; None where no film is predicted, told later."""
    from cxrlt_cli.verbs.evaluate_perturb import Trial

    known = set(first.ids)
    rows = np.array([film in known for film in truth.labels.ids], bool)
    return Trial.of(truth.labels.rows(rows), truth.csv, options, reporter) if rows.any() else None


def _judged(
    files: Sequence[Predictions], truth: _Truth, runs: Runs, options: EvaluateOptions, reporter: Reporter
) -> tuple[list[Judged], list[Judged]]:
    """The scores of each file, shown where they are two or fewer, and of their seeds; all on the same films."""
    paths = list(options.predictions[: len(files)])
    aligned = [
        align(file, truth.labels, truth.csv, options, path, reporter) for file, path in zip(files, paths, strict=True)
    ]
    aligned += of_seeds(aligned, runs)
    if options.per_study is not None and not truth.of_studies:
        aligned = to_studies(aligned, truth.csv, options, reporter)
    labels = aligned[0][1]
    frequencies = None if options.train_csv is None else frequencies_of(options, aligned[0][0], reporter)
    judged = [
        Judged(path, predictions, labels, scored(predictions, labels, options, frequencies, truth.has_patients))
        for path, (predictions, _) in zip([*paths, *seed_paths(runs)], aligned, strict=True)
    ]
    if options.bootstrap and not truth.has_patients:
        reporter.note("The labels do not name patients: for the confidence intervals, each film counts as one patient.")
    with reporter.progress("Resampling patients", options.bootstrap, "resamples") as advance:
        judged = with_intervals(judged, options, advance)
    tell_what_is_not_scored(judged[0].scores, options, reporter)
    if frequencies is None:
        reporter.note(f"Bands (head, medium, tail) are by prevalence in {truth.csv}; by that in training: --train-csv.")
    judged, seeds = judged[: len(files)], judged[len(files) :]
    if len(judged) == 2:
        judged[0] = with_comparison(*judged)
    if len(judged) > 2:
        reporter.note("Scores by finding are shown for the first file; --json has them for all.")
    for one in judged if len(judged) <= 2 else judged[:1]:
        reporter.scores(f"{one.path} on {truth.csv}", one.scores)
    return judged, seeds


def _compared(
    judged: Sequence[Judged],
    last: Predictions,
    truth: _Truth,
    options: EvaluateOptions,
    reporter: Reporter,
) -> _Shown:
    """The first file by groups, against another place (``last``: what was predicted there) or against the second."""
    shown = _Shown()
    if len(judged) > 1:
        shown.content["second"] = judged[1].scores.to_json()
    if len(judged) > 2:
        shown.content["others"] = [{"predictions": str(one.path), **one.scores.to_json()} for one in judged[2:]]
    if options.by:
        comparison, groups = compared_groups(judged[0], truth.csv, truth.chosen, options, reporter)
        shown.content["groups"] = {name: group.to_json() for name, group in groups.items()}
        shown.content["group_comparison"] = comparison.to_json()
        shown.tables = tables_of(comparison, str(judged[0].path), by_finding=options.by_finding)
    if options.against is not None:
        assert not isinstance(last, Decisions), "decisions were refused"
        reference = _reference(options.against, last, judged[0].truth, options, reporter)
        content, shown.tables = held_against(judged[0], reference, truth.csv, truth.chosen, options, reporter)
        shown.content["against"] = content
    for table in shown.tables:
        show(table, reporter)
    return shown


def _reference(
    csv: Path, predictions: Predictions, films: LabelTable, options: EvaluateOptions, reporter: Reporter
) -> Reference:
    """The films of ``--against``, scored where they are predicted, by a file of their own or by that of ``--csv``.

    ``films``: those of ``--csv`` that are scored.
    """
    path = options.predictions[-1]
    excluded = read_exclusions(options.exclude, options.id_column)
    labels, has_patients = read_truth(options, csv, predictions, excluded, EVERY)
    _require_other_films(labels, films, csv, options, reporter)
    if len(options.predictions) == 1 and not set(labels.ids) & set(predictions.ids):
        reporter.note(f"{path} predicts no film of {csv}, so scores are not compared. Pass a second file that does.")
        return Reference(csv, labels, None)
    if len(options.predictions) == 1:  # films of neither CSV were told of with those of --csv
        known = set(labels.ids)
        predictions = predictions.rows([film for film in predictions.ids if film in known])
    aligned, labels = align(predictions, labels, csv, options, path, reporter)
    judged = Judged(path, aligned, labels, scored(aligned, labels, options, None, has_patients))
    with reporter.progress("Resampling patients", options.bootstrap, "resamples") as advance:
        (judged,) = with_intervals([judged], options, advance)
    reporter.scores(f"{path} on {csv}", judged.scores)
    return Reference(csv, labels, judged)


def _require_other_films(
    mine: LabelTable, scored: LabelTable, csv: Path, options: EvaluateOptions, reporter: Reporter
) -> None:
    """Raise DataError where films are held against themselves; two files may mean other films by the same ids."""
    both = sorted(set(mine.ids) & set(scored.ids))
    if not both:
        return
    told = f"--against {csv} holds {counted(len(both), 'film')} that --csv has too ({listed(both)})"
    if len(options.predictions) == 1:
        raise DataError(
            f"{told}: a film cannot be compared with itself.",
            "Give each hospital its own CSV, or leave films out with --exclude.",
        )
    reporter.warn(f"{told}, by their ids. If they are the same, the intervals of differences are wrong.")


def _evaluate_decisions(decisions: Predictions, truth: _Truth, options: EvaluateOptions, reporter: Reporter) -> Scores:
    path = options.predictions[0]
    tell_needless(reporter, options, NEEDLESS, f"{path} holds decisions")
    decisions, labels = align(decisions, truth.labels, truth.csv, options, path, reporter)
    frequencies = None if options.train_csv is None else frequencies_of(options, decisions, reporter)
    own = score_decisions(labels.targets, decisions.probabilities, labels.patients, decisions.findings)
    unit: Unit = "study" if truth.of_studies else "film"
    scores = as_scores(own, labels.targets, frequencies, labels.num_patients if truth.has_patients else None, unit)
    table = table_of(own, labels, scores, path, truth.csv)
    show(table, reporter)
    if options.json_path is not None:
        _write_json(options.json_path, {**scores.to_json(), "decisions": to_json(own, labels)}, truth, reporter)
    if options.report is not None:
        write_tables(options.report, f"{path.name} on {truth.csv.name}", scores, [table], reporter)
    return scores


def _write_json(path: Path, content: dict[str, Any], truth: _Truth, reporter: Reporter) -> None:
    if any(truth.policies.values()):
        content["labels"] = truth.policies
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    reporter.note(f"Wrote {path}.")


def _with_warnings(judged: Judged, model: "HeatMapModel", reporter: Reporter) -> Judged:
    """With what is to be known of films that the model was trained on, which is warned of."""
    from cxrlt_cli.engine.held_out import warning_of_source

    of_source = warning_of_source(judged.predictions, model.path)
    for warning in filter(None, (of_source, model.warning(judged.truth))):
        reporter.warn(warning)
    return replace(judged, warning=of_source)


def _read_model(path: Path, options: EvaluateOptions, reporter: Reporter) -> "HeatMapModel":
    """What heat maps are of; raises DataError where the embeddings of ``--among`` are of another checkpoint."""
    from cxrlt_cli.engine.feature_files import require_same_checkpoint
    from cxrlt_cli.engine.heat_map_model import HeatMapModel

    model = HeatMapModel.read(path, reporter)
    if options.among is not None:
        if len(model.members) > 1:
            raise OptionError(
                f"--among is of one checkpoint, and {path} holds {len(model.members)}.",
                "Name the one that made these embeddings with --checkpoint.",
            )
        require_same_checkpoint(options.among, path)
    return model
