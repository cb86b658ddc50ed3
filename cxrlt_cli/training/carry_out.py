"""From films and what to start from to one run, or to a run for each of ``--seeds`` and ``--folds``."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch

from cxrlt_cli.config import FitOptions
from cxrlt_cli.data.loading import EpochDraws
from cxrlt_cli.engine.default_films import is_of_phantoms
from cxrlt_cli.engine.films import Division
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.next_step import tell_next
from cxrlt_cli.engine.precision import choose_for_training
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter, WarningsAlone, counted
from cxrlt_cli.engine.topology import num_processes
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.training.batch_size import choose_batch
from cxrlt_cli.training.loop import Fitted, command_of, fit
from cxrlt_cli.training.members import Member, members_of, side_by_side
from cxrlt_cli.training.method import Method
from cxrlt_cli.training.out_of_fold import (
    judge,
    page_of,
    resampled_patients,
    tell_best_place,
    tell_by_view,
    warn_of_few,
)
from cxrlt_cli.training.preflight import check_batches, read_once
from cxrlt_cli.training.record import Record
from cxrlt_cli.training.run_folder import RunFolder, require_room_for_run
from cxrlt_cli.training.schedule import num_films_learned
from cxrlt_cli.training.starts import Start, Started

Waiting = list[tuple[Started, Method]]


def carry_out(
    start: Start, division: Division, options: FitOptions, folder: RunFolder, reporter: Reporter
) -> Scores | None:
    """Check what can be, read every film once, and train; the scores of all films judged, None after a dry run.

    With ``--fold`` those of that fold: what all come to is told by who trains, or resumes, all of them.
    """
    if options.frozen and options.features is None:
        options = options.model_copy(update={"features": folder.path / "features"})
    members = members_of(options, folder, division)
    first = members[0]
    method = Method.of(first.training.table, first.options, start.architecture.logit_scale)
    started = start(first.training, first.options)
    number = num_processes(options, os.environ, torch.cuda.device_count())
    apart = side_by_side(members, options, number, os.environ)
    num_films = min(len(member.training.paths) for member in members)
    check_batches(started.model, num_films, options, num_processes=1 if apart else number)
    for note in started.notes:
        reporter.note(note)
    read_once(first.training, first.validation, start.preprocessing, options, reporter)
    if not options.dry_run:
        num_validation = max(len(member.validation.paths) for member in members)
        require_room_for_run(started.model, options, num_validation, folder.path, len(members), number if apart else 1)
    waiting = [(started, method)]  # popped by who uses it, so that no model outlives its run
    del started, method
    record = Record.of(options, division, command_of(options))
    return launch(_fit_each, options, reporter, members, start, waiting, division, options, folder, record)


def _fit_each(
    process: Process,
    reporter: Reporter,
    members: list[Member],
    start: Start,
    waiting: Waiting,
    division: Division,
    options: FitOptions,
    folder: RunFolder,
    record: Record,
) -> Scores | None:
    if options.batch == "auto":
        options, members = _with_batch(process, reporter, members, waiting[-1], options)
    together = options.fold is None and members[0].name != ""
    apart = side_by_side(members, options, process.num_processes, os.environ)
    fitted: list[Fitted] = []
    with ExitStack() as stack:
        if together and process.is_main and not options.dry_run:
            stack.enter_context(folder.held())
            if not (options.resume and (folder.path / "run.yaml").is_file()):
                folder.write_options(options, command_of(options))
        mine, computing = list(enumerate(members, 1)), process
        if apart:
            collected = process.collecting_late()
            members = _computing_alike(process, reporter, members, waiting.pop(), options)
            mine = list(enumerate(members, 1))[process.rank :: process.num_processes]
            computing = replace(process, rank=0, num_processes=1)
        for number, member in mine:
            facts = _facts(members, start, options, folder, apart) if member is members[0] else None
            if member.name and facts is None:
                reporter.note(f"{member.name}, {number} of {len(members)}:")
            heard = reporter if process.is_main or not apart else WarningsAlone(reporter.remote(), member.name)
            begun = partial(_begun, process, record, folder if options.fold is None else member.folder, members)
            one = _fit_one(computing, heard, member, members[0], start, waiting, facts, len(mine), begun)
            if one is None:
                return None
            if together and process.is_main and not fitted:
                folder.begin_again(options, command_of(options))
            fitted.append(one)
            if member.name:
                _tell_member(member, one, reporter)
        if apart:
            shares = collected(fitted)
            fitted = [shares[place % len(shares)][place // len(shares)] for place in range(len(members))]
            for place, (member, one) in enumerate(zip(members, fitted, strict=True)):
                if place % len(shares):  # the others were told as they ended
                    _tell_member(member, one, reporter)
        if together and process.is_main:  # where other processes, or commands, trained the members
            trained = not all(one.was_finished for one in fitted)
            record.write(folder.path, str(process) if trained else None, [member.folder.path for member in members])
        if process.is_main and not members[0].name:
            return _tell_run(members[0], fitted[0], options, reporter)
        if not together or not process.is_main:
            return fitted[0].scores
        return judge(members, fitted, division, options, folder, reporter)


def _with_batch(
    process: Process, reporter: Reporter, members: Sequence[Member], first: tuple[Started, Method], options: FitOptions
) -> tuple[FitOptions, list[Member]]:
    """The command's options and its members, with the batch chosen for the first, or as each was started."""
    started, method = first
    known = [one.folder.as_started(one.options) if options.resume else one.options for one in members]
    chosen = known[0]
    if chosen.batch == "auto":
        chosen = choose_batch(chosen, process, started.model, method, members[0].training, reporter)

    def given(options: FitOptions, own: FitOptions = chosen) -> FitOptions:
        taken = chosen if own.batch == "auto" else own
        return options.model_copy(update={"batch": taken.batch, "accumulate": taken.accumulate})

    mine = [replace(one, options=given(one.options, own)) for one, own in zip(members, known, strict=True)]
    return given(options), mine


def _begun(process: Process, record: Record, folder: RunFolder, members: Sequence[Member]) -> None:
    if process.is_main:
        record.write(folder.path, str(process), [member.folder.path for member in members])


def _computing_alike(
    process: Process, reporter: Reporter, members: Sequence[Member], first: tuple[Started, Method], options: FitOptions
) -> list[Member]:
    """Members that each process trains by itself, with the precision chosen on all, and compiled or not.

    ``first``: of the first member, and not trained any further: torch's generator was left behind with it.
    """
    started, method = first
    member = members[0]
    asked = member.folder.as_started(member.options) if options.resume else member.options
    num_batches = len(EpochDraws(method.order, options.batch_size, options.seed))
    num_films = num_films_learned(options, num_batches)
    chosen, _ = choose_for_training(asked, process, started.model, num_films, reporter)
    alike = {"precision": chosen.precision, "compile": chosen.compile, "processes": 1}
    return [replace(one, options=one.options.model_copy(update=alike)) for one in members]


def _fit_one(
    process: Process,
    reporter: Reporter,
    member: Member,
    first: Member,
    start: Start,
    waiting: Waiting,
    facts: dict[str, str] | None,
    num_runs: int,
    begun: Callable[[], None],
) -> Fitted | None:
    """``fit``, in the precision that was chosen for the first member, and compiled or not as that one."""
    options = member.options
    if options.resume:
        options = member.folder.as_started(options)
    if member is not first:
        options = first.folder.as_started(options)
    if waiting:
        started, method = waiting.pop()
    else:
        started = start(member.training, options)
        method = Method.of(member.training.table, options, start.architecture.logit_scale)
    return fit(
        process,
        reporter,
        started.model,
        method,
        member.training,
        member.validation,
        options,
        member.folder,
        started.before,
        facts,
        num_runs,
        begun,
    )


def _facts(
    members: Sequence[Member], start: Start, options: FitOptions, folder: RunFolder, apart: bool
) -> dict[str, str]:
    """The end of the plan."""
    facts = dict(start.facts)
    if members[0].name:
        several = [counted(options.folds, "fold")] if options.folds else []
        several += [f"seeds {options.seed} to {options.seed + options.seeds - 1}"] if options.seeds else []
        one = f", only fold {options.fold}" if options.fold else ""
        how = "in parallel, one per process" if apart else "one after another"
        facts["members"] = f"{len(members)}, {how}: {' and '.join(several)}{one}; the plan above is for the first"
    return {**facts, "out": str(folder.path)}


def _tell_member(member: Member, fitted: Fitted, reporter: Reporter) -> None:
    means = fitted.scores.macro()
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in (("AP", means["ap"]), ("AUROC", means["auroc"]))
                        if value is not None)  # fmt: skip
    was = "was finished; " if fitted.was_finished else ""
    films = counted(fitted.scores.num_films, "validation film")
    reporter.result(f"{member.name}: {was}{numbers} on {films}; epoch kept: {fitted.best}.")
    if not fitted.was_finished:
        tell_best_place(member.folder.path, member.options, reporter)


def _tell_run(member: Member, fitted: Fitted, options: FitOptions, reporter: Reporter) -> Scores:
    """Show what a single run came to, and what that is worth; its scores, with intervals where it was not finished."""
    path = member.folder.path
    if fitted.was_finished:
        reporter.result(f"{path} is finished.")
        return fitted.scores
    table = member.validation.table
    predictions = Predictions.read(path / "val_predictions.csv", options.id_column).select(table.space.findings)
    (resampled,) = resampled_patients([predictions], table, options.seed, reporter)
    scores = fitted.scores.with_intervals(resampled)
    reporter.scores(f"Validation, best epoch: {fitted.best}", scores)
    tell_by_view(predictions, table, options, reporter)
    warn_of_few(scores, options, reporter)
    tell_best_place(path, options, reporter)
    reporter.result(f"Wrote {path}: best.safetensors, last.safetensors, val_predictions.csv, metrics.json.")
    csv = options.val_csv or options.csv
    assert csv is not None, "phantoms have one too"
    if is_of_phantoms(str(csv)):
        tell_next(reporter, "infer", path)
    else:
        others = [] if options.val_csv else ["--missing", "leave-out"]
        tell_next(reporter, *page_of(path / "val_predictions.csv", csv, table, options), *others)
    return scores
