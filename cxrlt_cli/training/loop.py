"""The training loop: phases of epochs, and what they leave in the run folder."""

import hashlib
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from cxrlt_cli.config import FinetuneOptions, FitOptions, to_yaml
from cxrlt_cli.engine.films import LabelledFilms
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import EpochSummary, Reporter, counted
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.scores.calibration import Calibration
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.training.method import Method
from cxrlt_cli.training.novelty_fit import fit_novelty
from cxrlt_cli.training.plan import plan_of, rehearse_run
from cxrlt_cli.training.resume import CHANGEABLE, Position, ResumeFile
from cxrlt_cli.training.run import Run, set_up
from cxrlt_cli.training.run_folder import RunFolder
from cxrlt_cli.training.schedule import Phase, phases_of
from cxrlt_cli.training.tracking import tracking


@dataclass(frozen=True)
class Fitted:
    """What a run came to."""

    scores: Scores  # of the validation films, by the best epoch
    best: str  # which one that was, and which weights
    was_finished: bool = False  # before it was gone on with


def command_of(options: FitOptions) -> str:
    return "finetune" if isinstance(options, FinetuneOptions) else "train"


def fit(
    process: Process,
    reporter: Reporter,
    model: Classifier,
    method: Method,
    training: LabelledFilms,
    validation: LabelledFilms,
    options: FitOptions,
    folder: RunFolder,
    before: Classifier | None = None,
    facts: Mapping[str, str] | None = None,
    num_runs: int = 1,
    begun: Callable[[], None] = lambda: None,
) -> Fitted | None:
    """Train ``model`` phase by phase; keep the epoch with the best validation macro AP. None after a dry run.

    Of the weights of an epoch, raw, smoothed and averaged, the best are kept. With ``--folds`` nothing is chosen on the
    films that judge: the last epoch is kept, and of its weights the most averaged. ``before`` is scored on the
    validation films for comparison. With ``--resume``, a run that was stopped goes on as if it had not been. ``facts``
    end the plan; None shows none. ``num_runs``: how many are like this one, for the estimate of a dry run.
    ``begun`` is called once nothing stands against training, and there is some to do.
    """
    if process.num_processes > 1:  # the weights are made; what follows is drawn by each process for itself
        torch.manual_seed(int(np.random.SeedSequence([options.seed, process.rank]).generate_state(1)[0]))
    run = set_up(model, method, training, validation, options, process, reporter)
    options, process = run.options, run.process
    phases = phases_of(options)
    command = command_of(options)
    if facts is not None:
        reporter.plan(f"cxrlt {command}", {**plan_of(run, phases), **facts})
    num_draws = len(run.draws) * options.batch_size * process.num_processes
    if facts is not None and options.sampler == "cas" and 2 * num_draws < len(training.paths):
        reporter.warn(
            f"An epoch of --sampler cas draws {num_draws:,} films of {len(training.paths):,}; for longer ones "
            f"pass --sampler-options epoch_length={len(training.paths)}."
        )
    if options.dry_run:
        rehearse_run(run, phases, num_runs)
        return None

    with folder.held() if process.is_main else nullcontext():
        return _fit(run, phases, command, before, folder, begun)


def _fit(
    run: Run,
    phases: tuple[Phase, ...],
    command: str,
    before: Classifier | None,
    folder: RunFolder,
    begun: Callable[[], None],
) -> Fitted:
    options, process, reporter = run.options, run.process, run.reporter
    resume = ResumeFile(
        folder.path / "resume.pt", options, process, _digest(run.training, run.validation), reporter.note
    )
    kept = resume.read() if options.resume else None
    if options.resume and kept is None:
        reporter.warn(f"--resume: {resume.path} does not exist; the run starts from the beginning.")
    at, learned = kept or (Position(), None)
    if at.finished:
        return Fitted(run.score_of(folder), at.best, was_finished=True)
    run.prepare()
    if process.is_main:
        folder.start(options, command, at.num_epochs)
        begun()
    if learned is not None:
        reporter.note(f"Resuming in phase {phases[at.phase].name}, after {counted(at.num_epochs, 'epoch')}.")
    elif before is not None and (known := run.seen.adapted(before)) is not None:
        (ap,) = (_ap(scores) for _, scores in run.validate({"before": known.to(process.device)}).values())
        reporter.note(f"Validation AP of the checkpoint before training: {ap:.3f}.")
    del before
    steps_per_epoch = math.ceil(len(run.draws) / options.accumulate)
    steps_left = options.max_steps or sys.maxsize
    chooses = options.folds is None
    track = options.track if process.is_main else "none"
    with resume.listening(), tracking(track, folder.path, to_yaml(options), at.num_epochs, reporter) as log:
        for number, phase in enumerate(phases):
            num_steps = min(phase.num_epochs * steps_per_epoch, steps_left)
            steps_left -= num_steps
            if number < at.phase or num_steps == 0:
                continue
            learner = run.learner(phase, num_steps)
            if learned is not None:
                learner.restore(learned)
                learned = None
            num_epochs = math.ceil(num_steps / steps_per_epoch)
            planned = sum(one.num_epochs for one in phases[:number])
            for epoch in range(at.epoch, num_epochs):
                if options.patience and at.num_flat >= options.patience:
                    average = phase is phases[-1] and options.average_last > 1
                    missed = ", before --average-last began" if average and learner.num_averaged == 0 else ""
                    reporter.note(
                        f"Phase {phase.name} ended early after {epoch} of "
                        f"{counted(phase.num_epochs, 'epoch')}{missed}: "
                        f"validation AP had not risen for {options.patience}."
                    )
                    break
                num_batches = min(len(run.draws), (num_steps - epoch * steps_per_epoch) * options.accumulate)
                start = time.perf_counter()
                run.criterion.set_epoch(planned + epoch)
                title = f"{phase.name} {epoch + 1}/{phase.num_epochs}"
                averages = options.average_last > 1 and phase is phases[-1]
                averages = averages and epoch >= num_epochs - options.average_last and not at.learned
                at, num_films = run.learn(learner, num_batches, planned + epoch, at, resume, title)
                seconds = time.perf_counter() - start
                if averages:
                    learner.average()
                variants = learner.variants
                if not chooses:
                    variants = dict([list(variants.items())[-1]])
                results = run.validate(variants, partial(run.keep_if_due, resume, at, learner))
                kind = max(results, key=lambda kind: _ap(results[kind][1]))
                predictions, scores = results[kind]
                means = scores.macro()
                is_last = epoch + 1 == num_epochs and (phase is phases[-1] or steps_left == 0)
                improved = (at.best_ap is None or _ap(scores) > at.best_ap) if chooses else is_last
                summary = EpochSummary(
                    phase=phase.name,
                    epoch=epoch + 1,
                    num_epochs=phase.num_epochs,
                    loss=at.loss / max(1, at.num_films),
                    lr_head=learner.rates["head"],
                    lr_backbone=learner.rates.get("backbone", 0.0),
                    weights=kind,
                    val_ap=means["ap"],
                    val_auroc=means["auroc"],
                    films_per_second=num_films / seconds,
                    seconds=time.perf_counter() - start,
                    best=improved and chooses,
                    ema_decay=learner.ema_decay,
                )
                where = {"phase": phase.name, "epoch": epoch + 1, "weights": kind, "val_ap": means["ap"]}
                if process.is_main:
                    judged_by = run.validation.table
                    calibration = Calibration.fit(predictions, judged_by.targets, judged_by.patients).to_json()
                    checkpoint = variants[kind].checkpoint(
                        **where, **_origin(run.training, options), calibration=calibration
                    )  # fmt: skip
                    if improved:
                        folder.save_best(checkpoint, predictions, scores, where)
                    folder.save_last(checkpoint)
                    folder.add(summary)
                    log(summary, scores)
                if improved:
                    at = replace(at, best_ap=_ap(scores), best=f"{phase.name} {epoch + 1}, {kind} weights")
                reporter.epoch(summary)
                rose = at.phase_ap is None or _ap(scores) > at.phase_ap
                at = Position(
                    number,
                    epoch + 1,
                    num_epochs=at.num_epochs + 1,
                    phase_ap=_ap(scores) if rose else at.phase_ap,
                    num_flat=0 if rose else at.num_flat + 1,
                    best_ap=at.best_ap,
                    best=at.best,
                )
                run.keep_if_due(resume, at, learner)
            at = replace(at, phase=number + 1, epoch=0, phase_ap=None, num_flat=0)
        fit_novelty(folder.best, run)
        resume.write(replace(at, finished=True), {})
    return Fitted(run.score_of(folder), at.best)


def _digest(*films: LabelledFilms) -> str:
    """Of their ids and labels, which decide the order of the films, the loss and the scores."""
    digest = hashlib.sha256()
    for one in films:
        digest.update("\n".join(one.table.ids).encode())
        digest.update(one.table.targets.tobytes())
    return digest.hexdigest()


def _ap(scores: Scores) -> float:
    ap = scores.macro()["ap"]
    assert ap is not None, "labels are checked: a validation film has a finding"
    return ap


def _origin(training: LabelledFilms, options: FitOptions) -> dict[str, object]:
    """What a checkpoint keeps of where it comes from."""
    table = training.table
    return {
        "options": options.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=set(CHANGEABLE)),
        "counts": dict(zip(table.space.findings, table.counts.tolist(), strict=True)),
        "num_labelled": dict(zip(table.space.findings, table.num_labelled.tolist(), strict=True)),
        "num_films": len(table),
        "normal": table.space.normal,
        "labels": table.policy,
    }
