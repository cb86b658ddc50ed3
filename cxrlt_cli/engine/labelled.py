"""Training and validation films by their tables alone: as ``train`` takes them, and as ``data check`` judges them."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import FitOptions
from cxrlt_cli.engine.chosen_rows import chosen_rows
from cxrlt_cli.engine.reporter import Reporter, counted, tell_corrections, tell_exclusions
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.tables import parts
from cxrlt_cli.tables.chosen import Chosen
from cxrlt_cli.tables.columns import warnings_about_ignored
from cxrlt_cli.tables.corrections import Corrected, Corrections, read_corrections
from cxrlt_cli.tables.label_table import LabelTable, read_exclusions, read_header, read_ids, read_labels
from cxrlt_cli.tables.study_columns import STUDY, read_cells


class SplitError(DataError):
    """Another share held out, or validation films of their own, would mend it."""


def labelled_films(options: FitOptions, csv: Path, reporter: Reporter) -> tuple[LabelTable, LabelTable]:
    """The tables of the training and of the validation films: of one CSV, disjoint by patient, or of two.

    With ``--split``, and nothing said of other validation films, those are the rows ``val`` where the CSV has any.

    Raises DataError where a label, an id or a patient is at fault, or nothing could be learned or judged.
    """
    table, validation, scored = _tables(options, csv, reporter)
    if scored is None or validation is None:
        if table.num_patients == 1:
            hint = "Pass others with --val-csv."
            raise SplitError(f"All films of {csv} are of one patient: none can be held out.", hint)
        training, validation = table.split(options.val_fraction, options.seed_of_split)
    else:
        training = table
        _require_apart(training, validation, csv, scored)
        if scored.parts is not None:
            reporter.note(f"Validation films: the {counted(len(validation), 'row')} of {scored}.")
        nameless = [where for where, part in ((csv, training), (scored, validation)) if not _says_whose(part)]
        if nameless and (len(nameless) == 1 or scored.parts is not None):
            reporter.warn(
                f"{nameless[0]} has no column '{options.patient_column}': whether it shares patients with the "
                "other films cannot be told. Validation scores would then be too good."
            )
    _check_labels(training, validation, options, reporter)
    return training, validation


def labelled_folds(options: FitOptions, csv: Path, reporter: Reporter) -> tuple[LabelTable, NDArray[np.int64]]:
    """All films of ``--csv``, and the fold ``[N]`` that each is judged in, from 0: no patient is in two.

    Raises DataError as ``labelled_films`` does.
    """
    assert options.folds is not None, "asked for"
    table, _, _ = _tables(options, csv, reporter)
    if table.num_patients < options.folds:
        number = counted(table.num_patients, "patient")
        raise SplitError(f"--folds {options.folds}: the films of {csv} are of {number}.", "Pass fewer --folds.")
    fold = table.folds(options.folds, options.seed_of_split)
    for one in range(options.folds):
        for what, part in (("no film with", fold == one), ("all films with", fold != one)):
            if not table.rows(part).counts.sum():
                raise SplitError(
                    f"Fold {one + 1} of {options.folds} has {what} a finding.",
                    "Pass fewer --folds. Labels are 1 where there is a finding.",
                )
    having = {
        name: len(set(table.patients[column == 1].tolist()))
        for name, column in zip(table.space.findings, table.targets.T, strict=True)
    }
    few = [f"{name} ({number})" for name, number in having.items() if 0 < number < options.folds]
    if few:
        reporter.warn(
            f"Findings of fewer patients than there are folds ({options.folds}), by how many have them: "
            f"{listed(few, 40)}. Some folds have no film to judge them by; all of their films count together."
        )
    _tell_untaught(table, fold, reporter)
    _tell_labels(table, options, reporter)
    return table, fold


def _tell_untaught(table: LabelTable, fold: NDArray[np.int64], reporter: Reporter) -> None:
    """Findings whose positive films are all in one fold: the member that judges these has learned from none."""
    lacking: dict[int, list[str]] = {}
    for name, column in zip(table.space.findings, table.targets.T, strict=True):
        having = set(fold[column == 1].tolist())
        if len(having) == 1:
            lacking.setdefault(having.pop() + 1, []).append(name)
    if lacking:
        told = "; ".join(f"fold {one} is trained without {listed(names, 40)}" for one, names in sorted(lacking.items()))
        reporter.warn(
            f"All films with a finding are in one fold: {told}. Such a member alone scores them, and its scores for "
            "these findings mean nothing."
        )


def _tables(
    options: FitOptions, csv: Path, reporter: Reporter
) -> tuple[LabelTable, LabelTable | None, "Scored | None"]:
    """The films to learn from, those to judge by where they stand elsewhere, and where that is; what was read of it."""
    excluded = read_exclusions(options.exclude, options.id_column)
    scored = scored_by(options, csv, reporter)
    if options.folds is not None and scored is not None:
        _refuse_own(scored, options, excluded, reporter)
        scored = None
    chosen = chosen_rows(options, csv, options.split, reporter)
    csvs = [csv] if options.val_csv is None else [csv, options.val_csv]
    corrections = read_corrections(options.corrections, options.id_column, options.patient_column, csvs)
    known = (excluded, corrections)
    table = _read_table(options, csv, options.findings, known, chosen, reporter, needs_patients=scored is None)
    validation = None
    if scored is not None:
        chosen = chosen_rows(options, scored.csv, scored.parts, reporter)
        validation = _read_table(options, scored.csv, table.space.findings, known, chosen, reporter)
    read = [table] if validation is None else [table, validation]
    tell_exclusions(reporter, excluded, {film for one in read for film in one.left_out})
    tell_corrections(reporter, len(corrections), sum((one.corrected for one in read), Corrected()))
    if options.split is None and len(table.num_of_part) > 1:
        reporter.warn(
            f"All rows of {csv} are taken, whatever their {parts.COLUMN} ({parts.told(table.num_of_part)}). For its "
            f"parts, pass --split, such as --split {parts.TRAINING}."
        )
    if table.ignored:
        reporter.note(f"Columns of {csv} that are not read as findings: {listed(table.ignored, 40)}.")
    if options.findings is None:
        for warning in warnings_about_ignored(table.ignored):
            reporter.warn(warning)
    if table.doubtful:
        reporter.warn(
            f"Read as findings, and look like metadata: {listed(table.doubtful, 40)}. Name yours: --findings."
        )
    return table, validation, scored


def _refuse_own(scored: "Scored", options: FitOptions, excluded: Collection[str], reporter: Reporter) -> None:
    """Raise OptionError where validation films stand beside those that --folds shares out; excluded ones do not."""
    chosen = chosen_rows(options, scored.csv, scored.parts, reporter)
    rows = [film for film in read_ids(scored.csv, options.id_column, chosen) if film not in excluded]
    if rows:
        raise OptionError(
            f"--folds judges the films of --split out of fold, and the {counted(len(rows), 'row')} of {scored} would "
            "be judged by besides.",
            f"{scored.way_out} To keep them for a test, leave them out by a list of their ids: --exclude.",
        )


@dataclass(frozen=True)
class Scored:
    """Where the validation films stand: in a CSV of their own, or in a part of the one that is learned from."""

    csv: Path
    parts: tuple[str, ...] | None
    way_out: str  # where they share patients with the training films

    def __str__(self) -> str:
        return f"{self.csv}{'' if self.parts is None else f' whose {parts.COLUMN} is ' + listed(self.parts)}"


def scored_by(options: FitOptions, csv: Path, reporter: Reporter) -> Scored | None:
    """Where the validation films stand; None where they are to be held out."""
    if options.val_csv is not None:
        lists = f"cxrlt data check --csv {csv} --against {options.val_csv} --fix exclude.csv"
        return Scored(options.val_csv, None, f"{lists} lists those of the first, for --exclude exclude.csv.")
    if options.split is None or parts.VALIDATION in options.split or "val_fraction" in options.model_fields_set:
        return None
    numbers = parts.num_rows(csv)
    if numbers[""]:
        reporter.note(f"Of {csv}, {counted(numbers[''], 'row')} without a part: --split takes none of them.")
    together = ",".join((*options.split, parts.VALIDATION))
    way_out = f"Or take them together, to hold films out by patient: --split {together}."
    if options.folds is not None:
        way_out = f"Take them together: --split {together}."
    return Scored(csv, (parts.VALIDATION,), way_out) if numbers[parts.VALIDATION] else None


def _require_apart(training: LabelTable, validation: LabelTable, csv: Path, scored: Scored) -> None:
    """Raise DataError where films are scored that are learned from, or other films of their patients."""
    for what, mine, theirs in (
        ("patient", training.patients, validation.patients),
        ("film", training.ids, validation.ids),
    ):
        if both := sorted(set(mine) & set(theirs)):
            number = counted(len(both), what)
            stand = f"the training films share {number} with the rows of {scored}"
            if scored.parts is None:
                stand = f"{number} of {csv} are in {scored} too (data leakage)"
            raise DataError(
                f"{stand[0].upper()}{stand[1:]} ({listed(both)}): validation scores would be too good.",
                f"Leave their films out of one of the two. {scored.way_out}",
            )


def _says_whose(table: LabelTable) -> bool:
    return not np.array_equal(table.patients, table.ids)


def _read_table(
    options: FitOptions,
    csv: Path,
    findings: tuple[str, ...] | None,
    known: tuple[Collection[str], Corrections],
    chosen: Chosen,
    reporter: Reporter,
    *,
    needs_patients: bool = False,
) -> LabelTable:
    """``known``: films that are left out, and labels that were looked at again."""
    table = read_labels(
        csv,
        id_column=options.id_column,
        patient_column=options.patient_column,
        view_column=options.view_column,
        findings=findings,
        needs_patients=needs_patients,
        excluded=known[0],
        chosen=chosen,
        corrections=known[1],
    )
    return table if _says_whose(table) else _by_study(table, csv, options, reporter)


def _by_study(table: LabelTable, csv: Path, options: FitOptions, reporter: Reporter) -> LabelTable:
    """Films that are each of another patient, with their studies for patients where a column has such of several."""
    if STUDY not in read_header(csv):
        return table
    cells = read_cells(csv, table.ids, options.id_column, STUDY)
    studies = np.array([cells[film] or film for film in table.ids], object)
    if len(set(studies)) == len(studies):
        return table
    reporter.note(f"Films of a study ({STUDY}) of {csv} stay together: each is taken for a patient.")
    return replace(table, patients=studies)


def _check_labels(training: LabelTable, validation: LabelTable, options: FitOptions, reporter: Reporter) -> None:
    """What would make training pointless is an error; what the user may not have meant is a warning."""
    if training.counts.sum() == 0:
        kind = SplitError if validation.counts.sum() else DataError
        raise kind("No training film has a finding.", "Labels are 1 where there is one. Or lower --val-fraction.")
    if validation.counts.sum() == 0:
        kind = SplitError if options.val_csv is None else DataError  # also of a part without any: others can be given
        raise kind("No validation film has a finding.", "Pass a larger --val-fraction, or films with --val-csv.")
    unscored = [name for name, count in zip(training.space.findings, validation.counts, strict=True) if count == 0]
    if unscored:
        reporter.note(f"On no validation film, so left out of the validation scores: {listed(unscored, 40)}.")
    _tell_labels(training, options, reporter)
    _tell_bare(validation, "validation", reporter)


def _tell_labels(training: LabelTable, options: FitOptions, reporter: Reporter) -> None:
    """What these films cannot teach."""
    names = training.space.findings
    unseen = [name for name, count in zip(names, training.counts, strict=True) if count == 0]
    if unseen:
        reporter.warn(f"On no training film: {listed(unseen, 40)}. What is never seen cannot be learned.")
    always = [
        name
        for name, count, labelled in zip(names, training.counts, training.num_labelled, strict=True)
        if 0 < count == labelled
    ]
    if always:
        reporter.warn(
            f"On every labelled training film: {listed(always, 40)}. Nothing can be learned of such a finding; its AP "
            "is 1 whatever is predicted. Where empty means that there is none, write 0."
        )
    without = int((~(training.targets == 1).any(axis=1)).sum())
    if options.sampler == "cas" and options.sampler_options.get("negative_share") == 0 and without:
        reporter.warn(
            f"{without:,} of {len(training):,} training films have no positive label; --sampler cas with "
            "negative_share=0 never draws them."
        )
    _tell_bare(training, "training", reporter)


def _tell_bare(films: LabelTable, what: str, reporter: Reporter) -> None:
    if bare := int(np.isnan(films.targets).all(axis=1).sum()):
        reporter.warn(
            f"{bare:,} of {len(films):,} {what} films have no label at all, and are read for nothing. --exclude leaves "
            "films out."
        )
