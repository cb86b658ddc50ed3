"""Training and validation films by their tables alone: as ``train`` takes them, and as ``data check`` judges them."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from cxrlt_cli.config import FitOptions
from cxrlt_cli.engine.reporter import Reporter, counted, tell_exclusions
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.tables.columns import warnings_about_ignored
from cxrlt_cli.tables.label_table import LabelTable, read_exclusions, read_labels


class SplitError(DataError):
    """Another share held out, or validation films of their own, would mend it."""


def labelled_films(options: FitOptions, csv: Path, reporter: Reporter) -> tuple[LabelTable, LabelTable]:
    """The tables of the training and of the validation films: of one CSV, disjoint by patient, or of two.

    Raises DataError where a label, an id or a patient is at fault, or nothing could be learned or judged.
    """
    excluded = read_exclusions(options.exclude, options.id_column)
    table = _read_table(options, csv, options.findings, excluded)
    tell_exclusions(reporter, excluded, table.left_out)
    if table.ignored:
        reporter.note(f"Columns of {csv} that are not read as findings: {listed(table.ignored, 40)}.")
    if options.findings is None:
        for warning in warnings_about_ignored(table.ignored):
            reporter.warn(warning)
    if table.doubtful:
        reporter.warn(
            f"Read as findings, and look like metadata: {listed(table.doubtful, 40)}. Name yours: --findings."
        )
    if options.val_csv is None and table.num_patients == 1:
        raise SplitError(f"All films of {csv} are of one patient: none can be held out.", "Pass others with --val-csv.")
    if options.val_csv is None:
        training, validation = table.split(options.val_fraction, options.seed)
    else:
        training, validation = table, _read_table(options, options.val_csv, table.space.findings, excluded)
        require_apart(training, validation, csv, options.val_csv)
        nameless = [path for path, part in ((csv, training), (options.val_csv, validation)) if not _says_whose(part)]
        if len(nameless) == 1:
            reporter.warn(
                f"{nameless[0]} has no column '{options.patient_column}': whether it shares patients with the other "
                "CSV cannot be told. Validation scores would then be too good."
            )
    _check_labels(training, validation, options, reporter)
    return training, validation


def require_apart(training: LabelTable, validation: LabelTable, csv: Path, val_csv: Path) -> None:
    """Raise DataError where films are scored that are learned from, or other films of their patients."""
    for what, mine, theirs in (
        ("patient", training.patients, validation.patients),
        ("film", training.ids, validation.ids),
    ):
        if both := sorted(set(mine) & set(theirs)):
            raise DataError(
                f"{counted(len(both), what)} of {csv} stand in {val_csv} too ({listed(both)}): validation scores would "
                "be too good.",
                f"Leave their films out of one of the two. cxrlt data check --csv {csv} --against {val_csv} "
                "--fix exclude.csv lists those of the first, for --exclude exclude.csv.",
            )


def _says_whose(table: LabelTable) -> bool:
    return not np.array_equal(table.patients, table.ids)


def _read_table(
    options: FitOptions, csv: Path, findings: tuple[str, ...] | None, excluded: Collection[str]
) -> LabelTable:
    return read_labels(
        csv,
        id_column=options.id_column,
        patient_column=options.patient_column,
        findings=findings,
        needs_patients=options.val_csv is None,
        excluded=excluded,
    )


def _check_labels(training: LabelTable, validation: LabelTable, options: FitOptions, reporter: Reporter) -> None:
    """What would make training pointless is an error; what the user may not have meant is a warning."""
    if training.counts.sum() == 0:
        kind = SplitError if validation.counts.sum() else DataError
        raise kind("No training film has a finding.", "Labels are 1 where there is one. Or lower --val-fraction.")
    if validation.counts.sum() == 0:
        kind = SplitError if options.val_csv is None else DataError
        raise kind("No validation film has a finding.", "Pass a larger --val-fraction, or films with --val-csv.")
    names = training.space.findings
    unseen = [name for name, count in zip(names, training.counts, strict=True) if count == 0]
    unscored = [name for name, count in zip(names, validation.counts, strict=True) if count == 0]
    if unseen:
        reporter.warn(f"On no training film: {listed(unseen, 40)}. What is never seen cannot be learned.")
    if unscored:
        reporter.note(f"On no validation film, so left out of the validation scores: {listed(unscored, 40)}.")
    always = [
        name
        for name, count, labelled in zip(names, training.counts, training.num_labelled, strict=True)
        if 0 < count == labelled
    ]
    if always:
        reporter.warn(
            f"On every labelled training film: {listed(always, 40)}. Nothing can be learned of such a finding; its AP "
            "is 1 whatever is predicted."
        )
    without = int((~(training.targets == 1).any(axis=1)).sum())
    if options.sampler == "cas" and without:
        reporter.warn(
            f"{without:,} of {len(training):,} training films have no positive label; --sampler cas never draws them."
        )
