"""Which films and findings ``evaluate`` scores: what predictions and labels share, and what is left out."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import DataError, OptionError, listed, missing_column
from cxrlt_cli.names import meant
from cxrlt_cli.scores import Floats
from cxrlt_cli.scores.metrics import prevalence
from cxrlt_cli.scores.predictions import Decisions, Predictions
from cxrlt_cli.tables import parts
from cxrlt_cli.tables.chosen import EVERY, Chosen
from cxrlt_cli.tables.columns import judged_columns
from cxrlt_cli.tables.corrections import Corrections
from cxrlt_cli.tables.groupings import read_by
from cxrlt_cli.tables.label_table import LabelTable, read_csv, read_header, read_labels


def with_phantom_truth(options: EvaluateOptions, predictions: Predictions, reporter: Reporter) -> EvaluateOptions:
    """Options that name the truth of the phantoms that were predicted, and their training films for the bands."""
    from cxrlt_cli.phantom.folder import truth_csv

    csv = truth_csv(predictions.ids)
    if csv is None:
        raise OptionError(
            "--csv is missing.",
            "It holds the true labels, one row per film. (Only phantoms in the cache are found without it.)",
        )
    reporter.note(f"These are digital phantoms; their true labels are in {csv}.")
    train_csv = csv.with_name("train.csv") if csv.stem == "test_task1_truth" else None
    return options.model_copy(update={"csv": csv, "train_csv": options.train_csv or train_csv})


def shared(files: Sequence[Predictions], options: EvaluateOptions, reporter: Reporter) -> list[Predictions]:
    """Predictions on the films and findings that all of them have, in the order of the first."""
    first = files[0]
    known = set.intersection(*(set(file.ids) for file in files))
    ids = [film for film in first.ids if film in known]
    findings = [name for name in first.findings if all(name in file.findings for file in files)]
    names = " and ".join(str(path) for path in options.predictions)
    if not ids or not findings:
        raise DataError(f"{names} share no {'finding' if ids else 'film'}.", "Compare predictions for the same films.")
    where = f"in one of {names} alone" if len(files) == 2 else f"in some of {names} alone"
    alone = sorted(set.union(*(set(file.ids) for file in files)) - known)
    odd = sorted({name for file in files for name in file.findings} - set(findings))
    if alone:
        _leave_out(f"{counted(len(alone), 'film')} {_stand(len(alone))} {where}", alone, options, reporter)
    if odd:
        reporter.warn(f"Findings {where} are left out: {listed(odd, 40)}.")
    return [file.select(findings).rows(ids) for file in files]


def _leave_out(what: str, films: Sequence[str], options: EvaluateOptions, reporter: Reporter) -> None:
    """Warn of films that cannot be scored; raises DataError where ``--missing`` does not ask for that."""
    if options.missing == "error":
        raise DataError(
            f"{what}: {listed(films)}.",
            "Predict them. Scores without them are often too high; to score only the others, pass --missing leave-out.",
        )
    reporter.warn(f"{what}, and so are not scored: {listed(films)}.")


def _stand(number: int) -> str:
    return "stands" if number == 1 else "stand"


def read_truth(
    options: EvaluateOptions,
    path: Path,
    predictions: Predictions,
    excluded: Collection[str],
    chosen: Chosen,
    corrections: Corrections | None = None,
) -> tuple[LabelTable, bool]:
    """The labels in a CSV of the findings that were predicted, and whether it says whose films they are."""
    columns = [name for name in read_header(path) if name]
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
        chosen=chosen,
        corrections=corrections,
    )
    return table, options.patient_column in columns


def tell_not_predicted(
    options: EvaluateOptions,
    csv: Path,
    predictions: Predictions,
    excluded: Collection[str],
    chosen: Chosen,
    reporter: Reporter,
) -> None:
    """Warn of findings with labels that nobody predicted: they lower no mean."""
    if options.findings is not None:
        return
    if not set(read_header(csv)) - {*predictions.findings, options.id_column, options.patient_column, ""}:
        return
    frame = chosen.rows_of(read_csv(csv), csv)
    frame = frame[~frame[options.id_column].isin(list(excluded))]
    apart = {by.column for by in read_by(options.by, csv, list(frame.columns))}
    columns = judged_columns(frame, {options.id_column, options.patient_column, *apart})
    names = [column.name for column in columns if column.kind == "finding" and not column.why]
    lost = [name for name in names if name not in predictions.findings]
    if lost:
        reporter.warn(f"Labelled in {csv}, but not predicted, so not scored: {listed(lost, 40)}.")


def align(
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
    if not isinstance(predictions, Decisions):
        _tell_decided(predictions.select(findings), path, reporter)
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
        among = "no label" if options.where is None and options.split is None else "no label among the rows taken"
        number = len(predictions.ids) - len(ids)
        reporter.warn(f"{number:,} of the {len(predictions.ids):,} films of {path} have {among}.")
    return predictions.rows(ids).select(findings), truth.rows(np.array([row[film] for film in ids])).select(findings)


def _tell_decided(predictions: Predictions, path: Path, reporter: Reporter) -> None:
    """Warn of columns of 0 and 1 beside probabilities."""
    columns = zip(predictions.findings, predictions.probabilities.T, strict=True)
    decided = [name for name, column in columns if np.isin(column, (0, 1)).all()]
    if decided:
        reporter.warn(
            f"{path} holds 0 and 1 alone for {listed(decided, 40)}: decisions, for which AP and AUROC mean little. "
            "Score the probabilities behind them."
        )


def frequencies_of(options: EvaluateOptions, predictions: Predictions, reporter: Reporter) -> Floats:
    """Of the rows of ``--train-csv``; with ``--split``, of those that are called ``train``, where it has such."""
    assert options.train_csv is not None
    chosen = EVERY
    if options.split is not None and parts.TRAINING in parts.num_rows(options.train_csv):
        chosen = Chosen((parts.TRAINING,))
        which = f"rows of {options.train_csv} whose {parts.COLUMN} is {parts.TRAINING}"
        reporter.note(f"Frequencies are those of the {which}.")
    train, _ = read_truth(options, options.train_csv, predictions, (), chosen)
    missing = [name for name in predictions.findings if name not in train.space.findings]
    if missing:
        raise DataError(f"--train-csv {options.train_csv} has no column {listed(missing)}.")
    return prevalence(train.select(predictions.findings).targets)
