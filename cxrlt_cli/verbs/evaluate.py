"""Predictions and true labels to scores. Imports no torch."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.engine.reporter import Advance, Reporter, counted, tell_exclusions
from cxrlt_cli.errors import DataError, OptionError, listed, missing_column
from cxrlt_cli.files import real, require_file, write_text
from cxrlt_cli.machine import num_cores
from cxrlt_cli.names import meant
from cxrlt_cli.scores import Floats
from cxrlt_cli.scores.bootstrap import Resampled, resample
from cxrlt_cli.scores.metrics import Scores, compare, prevalence, score
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables import parts
from cxrlt_cli.tables.columns import judged_columns
from cxrlt_cli.tables.label_table import LabelTable, read_csv, read_exclusions, read_labels
from cxrlt_cli.verbs.evaluate_report import Judged, write_report

if TYPE_CHECKING:
    from cxrlt_cli.nets.checkpoints import Checkpoint

MIN_GROUP = 10  # films, below which a group is not scored apart


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
    files = [Predictions.read(path, options.id_column) for path in options.predictions]
    if options.report is None and (options.checkpoint or options.image_dir):
        raise OptionError("--checkpoint and --image-dir are for the report.", "Pass --report page.html too.")
    if options.csv is None:
        options = _with_phantom_truth(options, files[0], reporter)
    csv = options.csv
    assert csv is not None, "given, or found"
    if len(files) == 2:
        files = _shared(files, options, reporter)
    model = None if options.checkpoint is None else _read_model(options.checkpoint, options.among, reporter)
    excluded = read_exclusions(options.exclude, options.id_column)
    truth, has_patients = _read_truth(options, csv, files[0], excluded, options.split)
    tell_exclusions(reporter, excluded, truth.left_out)
    policies = {"csv": truth.policy, "checkpoint": None if model is None else model.policy}
    for name, path in (("csv", csv), ("checkpoint", options.checkpoint)):
        if policies[name]:
            reporter.note(f"Labels of {path}: {policies[name]}.")
    _tell_not_predicted(options, csv, files[0], excluded, reporter)
    aligned = [
        _align(file, truth, csv, options, path, reporter) for file, path in zip(files, options.predictions, strict=True)
    ]
    truth = aligned[0][1]
    frequencies = None if options.train_csv is None else _frequencies(options, aligned[0][0], reporter)
    judged = [
        Judged(path, predictions, truth, _score(predictions, truth, options, frequencies, has_patients))
        for path, (predictions, _) in zip(options.predictions, aligned, strict=True)
    ]
    if options.bootstrap and not has_patients:
        reporter.note("The labels do not say whose films they are: for the intervals, each is of another patient.")
    with reporter.progress("Resampling patients", options.bootstrap, "resamples") as advance:
        judged = _with_intervals(judged, options, advance)
    _tell_what_is_not_scored(judged[0].scores, options, reporter)
    for one in judged:
        reporter.scores(f"{one.path} on {csv}", one.scores)
    groups = {} if options.by is None else _groups(judged[0], csv, options, reporter)
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


def _with_phantom_truth(options: EvaluateOptions, predictions: Predictions, reporter: Reporter) -> EvaluateOptions:
    """Options that name the truth of the phantoms that were predicted, and their training films for the bands."""
    from cxrlt_cli.phantom.folder import truth_csv

    csv = truth_csv(predictions.ids)
    if csv is None:
        raise OptionError(
            "--csv is missing.",
            "It holds the true labels, one row a film. (Only phantoms in the cache are found without it.)",
        )
    reporter.note(f"These are digital phantoms; their truth stands in {csv}.")
    train_csv = csv.with_name("train.csv") if csv.stem == "test_task1_truth" else None
    return options.model_copy(update={"csv": csv, "train_csv": options.train_csv or train_csv})


def _shared(files: Sequence[Predictions], options: EvaluateOptions, reporter: Reporter) -> list[Predictions]:
    """Two predictions on the films and findings that both have, in the order of the first."""
    first, second = files
    known = set(second.ids)
    ids = [film for film in first.ids if film in known]
    findings = [name for name in first.findings if name in second.findings]
    names = " and ".join(str(path) for path in options.predictions)
    if not ids or not findings:
        raise DataError(f"{names} share no {'finding' if ids else 'film'}.", "Compare predictions for the same films.")
    alone = len(first.ids) + len(second.ids) - 2 * len(ids)
    odd = sorted(set(first.findings) ^ set(second.findings))
    if alone:
        lone = sorted(set(first.ids) ^ set(second.ids))
        _leave_out(f"{counted(alone, 'film')} {_stand(alone)} in one of {names} alone", lone, options, reporter)
    if odd:
        reporter.warn(f"Findings of one of {names} alone are left out: {listed(odd, 40)}.")
    return [file.select(findings).rows(ids) for file in files]


def _leave_out(what: str, films: Sequence[str], options: EvaluateOptions, reporter: Reporter) -> None:
    """Warn of films that cannot be scored; raises DataError where ``--missing`` does not ask for that."""
    if options.missing == "error":
        raise DataError(
            f"{what}: {listed(films)}.",
            "Predict them. Scores of the others alone are scores of other films, often too good: for those, pass "
            "--missing leave-out.",
        )
    reporter.warn(f"{what}, and so are not scored: {listed(films)}.")


def _stand(number: int) -> str:
    return "stands" if number == 1 else "stand"


def _read_truth(
    options: EvaluateOptions,
    path: Path,
    predictions: Predictions,
    excluded: Collection[str],
    chosen: tuple[str, ...] | None,
) -> tuple[LabelTable, bool]:
    """The labels in a CSV of the findings that were predicted, and whether it says whose films they are."""
    columns = read_csv(path).columns
    if path == options.csv and options.by is not None and options.by not in columns:
        raise missing_column(path, options.by, list(columns), "--by", options.by)
    if "patient_column" in options.model_fields_set and options.patient_column not in columns:
        raise missing_column(path, options.patient_column, list(columns), "--patient-column", options.patient_column)
    wanted = options.findings or predictions.findings
    shared = [name for name in wanted if name in columns]
    if not shared:
        raise DataError(
            f"{path} has none of the findings that were predicted ({listed(wanted)}).",
            f"Its columns are {listed(list(columns), 40)}.",
        )
    table = read_labels(
        path,
        id_column=options.id_column,
        patient_column=options.patient_column,
        findings=shared,
        needs_patients=False,
        excluded=excluded,
        parts=chosen,
    )
    return table, options.patient_column in columns


def _tell_not_predicted(
    options: EvaluateOptions, csv: Path, predictions: Predictions, excluded: Collection[str], reporter: Reporter
) -> None:
    """Warn of findings with labels that nobody predicted: they lower no mean."""
    if options.findings is not None:
        return
    frame = parts.rows_of(read_csv(csv), csv, options.split)
    frame = frame[~frame[options.id_column].isin(list(excluded))]
    apart = (options.id_column, options.patient_column, options.by or "")
    columns = judged_columns(frame, apart)
    names = [column.name for column in columns if column.kind == "finding" and not column.why]
    lost = [name for name in names if name not in predictions.findings]
    if lost:
        reporter.warn(f"Labelled in {csv}, but not predicted, so not scored: {listed(lost, 40)}.")


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
        near = meant(not_predicted[0], predictions.findings)
        raise OptionError(f"--findings: {path} has no column {listed(not_predicted)}.{near}")
    wanted = options.findings or predictions.findings
    findings = [name for name in wanted if name in truth.space.findings]
    left_out = [name for name in wanted if name not in findings]
    if left_out:
        reporter.warn(f"Not scored, since {csv} has no such column: {listed(left_out, 40)}.")
    decided = [
        name
        for name, column in zip(predictions.findings, predictions.probabilities.T, strict=True)
        if name in findings and np.isin(column, (0, 1)).all()
    ]
    if decided:
        reporter.warn(
            f"{path} holds 0 and 1 alone for {listed(decided, 40)}: decisions, of which AP and AUROC say little. Score "
            "the probabilities that they were made of."
        )
    row = {film: index for index, film in enumerate(truth.ids)}
    ids = [film for film in predictions.ids if film in row]
    if not ids:
        raise DataError(
            f"{path} and {csv} share no film.", "Check --id-column, and whether ids end in .png in both."
        )  # fmt: skip
    if len(ids) < len(truth):
        known = set(predictions.ids)
        lost = [film for film in truth.ids if film not in known]
        what = f"{path} has no prediction for {len(lost):,} of the {len(truth):,} films of {csv}"
        _leave_out(what, lost, options, reporter)
    if len(ids) < len(predictions.ids):
        reporter.warn(
            f"{len(predictions.ids) - len(ids):,} of the {len(predictions.ids):,} films of {path} have no label."
        )
    return predictions.rows(ids).select(findings), truth.rows(np.array([row[film] for film in ids])).select(findings)


def _score(
    predictions: Predictions,
    truth: LabelTable,
    options: EvaluateOptions,
    frequencies: Floats | None,
    has_patients: bool,
) -> Scores:
    return score(
        truth.targets,
        predictions.probabilities,
        predictions.findings,
        frequencies=frequencies,
        threshold="best" if options.threshold == "best" else 0.5,
        empty=options.empty,
        num_patients=truth.num_patients if has_patients else None,
    )


def _with_intervals(judged: list[Judged], options: EvaluateOptions, advance: Advance) -> list[Judged]:
    """The scores with intervals, and those of the first with its comparison with the second."""
    resampled: list[Resampled] = []
    if options.bootstrap:
        resampled = resample(
            judged[0].truth.targets,
            [one.predictions.probabilities for one in judged],
            judged[0].truth.patients,
            options.bootstrap,
            seed=options.seed,
            num_threads=num_cores(),
            empty=options.empty,
            advance=advance,
        )
        judged = [
            replace(one, scores=one.scores.with_intervals(mine)) for one, mine in zip(judged, resampled, strict=True)
        ]
    if len(judged) == 2:
        first = replace(judged[0].scores, comparison=compare(judged[0].scores, judged[1].scores, resampled))
        judged[0] = replace(judged[0], scores=first)
    return judged


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


def _groups(judged: Judged, csv: Path, options: EvaluateOptions, reporter: Reporter) -> dict[str, Scores]:
    """Scores of the films of each value of the column ``--by``, in the order of their names."""
    assert options.by is not None
    frame = parts.rows_of(read_csv(csv), csv, options.split)
    value = dict(zip(frame[options.id_column], frame[options.by], strict=True))
    values: NDArray[np.object_] = np.array([value[film] or "(empty)" for film in judged.truth.ids], object)
    frequencies = np.array([finding.frequency for finding in judged.scores.findings])
    groups, small = {}, []
    for name in sorted(set(values)):
        rows = np.flatnonzero(values == name)
        if len(rows) < MIN_GROUP:
            small.append(f"{name} ({len(rows)})")
            continue
        predictions, truth = judged.predictions.rows(list(judged.truth.ids[rows])), judged.truth.rows(rows)
        scores = _score(predictions, truth, options, frequencies, judged.scores.num_patients is not None)
        (group,) = _with_intervals([Judged(judged.path, predictions, truth, scores)], options, lambda _: None)
        groups[str(name)] = group.scores
    if small:
        reporter.note(f"Groups of fewer than {MIN_GROUP} films, not scored apart: {listed(small, 10)}.")
    return groups


def _frequencies(options: EvaluateOptions, predictions: Predictions, reporter: Reporter) -> Floats:
    """Of the rows of ``--train-csv``; with ``--split``, of those that are called ``train``, where it has such."""
    assert options.train_csv is not None
    chosen = None
    if options.split is not None and parts.TRAINING in parts.num_rows(options.train_csv):
        chosen = (parts.TRAINING,)
        reporter.note(f"Frequencies are those of the rows of {options.train_csv} whose {parts.COLUMN} is {chosen[0]}.")
    train, _ = _read_truth(options, options.train_csv, predictions, (), chosen)
    missing = [name for name in predictions.findings if name not in train.space.findings]
    if missing:
        raise DataError(f"--train-csv {options.train_csv} has no column {listed(missing)}.")
    return prevalence(train.select(predictions.findings).targets)
