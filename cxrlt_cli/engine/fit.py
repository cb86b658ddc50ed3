"""The loop: phases of epochs, and what they leave in the run folder."""

import hashlib
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from cxrlt_cli import losses
from cxrlt_cli.calibration import Calibration
from cxrlt_cli.config import FinetuneOptions, FitOptions, to_yaml
from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.loading import Batch, EpochDraws, FilmDataset, training_loader
from cxrlt_cli.engine.cache import film_source
from cxrlt_cli.engine.familiarity import remember
from cxrlt_cli.engine.films import Films
from cxrlt_cli.engine.keeper import FREE, Keeper, Position, Wish
from cxrlt_cli.engine.learner import Learner
from cxrlt_cli.engine.method import Method
from cxrlt_cli.engine.predict import films_in_order, predict
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import EpochSummary, Reporter, counted, duration
from cxrlt_cli.engine.run_folder import RunFolder
from cxrlt_cli.engine.schedule import Phase, phases_of
from cxrlt_cli.engine.speed import compile_backbone, eagerly, not_compiled, settled
from cxrlt_cli.engine.tracking import tracking
from cxrlt_cli.errors import explain
from cxrlt_cli.labels import BANDS, band
from cxrlt_cli.metrics import Scores, prevalence, score
from cxrlt_cli.nets.batch_norm import synchronize
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.predictions import Predictions
from cxrlt_cli.tta import merge


def fit(
    process: Process,
    reporter: Reporter,
    model: Classifier,
    method: Method,
    training: Films,
    validation: Films,
    options: FitOptions,
    folder: RunFolder,
    before: Classifier | None = None,
) -> Scores | None:
    """Train ``model`` phase by phase; keep the epoch with the best validation macro AP. None after a dry run.

    Of the weights of an epoch, raw, smoothed and averaged, the best are kept. ``before`` is scored on the validation
    films for comparison. With ``--resume``, a run that was stopped goes on as if it had not been.
    """
    if process.num_processes > 1:  # the weights are made; what follows is drawn by each process for itself
        torch.manual_seed(int(np.random.SeedSequence([options.seed, process.rank]).generate_state(1)[0]))
    if options.resume:
        options = folder.as_started(options)
    run = _set_up(model, method, training, validation, options, process, reporter)
    options, process = run.options, run.process
    phases = phases_of(options)
    command = "finetune" if isinstance(options, FinetuneOptions) else "train"
    reporter.plan(f"cxrlt {command}", {**_plan(run, phases), "out": str(folder.path)})
    num_draws = len(run.draws) * options.batch_size * process.num_processes
    if options.sampler == "cas" and 2 * num_draws < len(training.paths):
        reporter.warn(
            f"An epoch of --sampler cas draws {num_draws:,} films of {len(training.paths):,}; for longer ones "
            f"pass --sampler-options epoch_length={len(training.paths)}."
        )
    if options.dry_run:
        _rehearse(run, phases)
        return None

    with folder.held() if process.is_main else nullcontext():
        return _fit(run, phases, command, before, folder)


def _fit(run: "_Run", phases: tuple[Phase, ...], command: str, before: Classifier | None, folder: RunFolder) -> Scores:
    options, process, reporter = run.options, run.process, run.reporter
    keeper = Keeper(folder.path / "resume.pt", options, process, _digest(run.training, run.validation), reporter.note)
    kept = keeper.read() if options.resume else None
    if options.resume and kept is None:
        reporter.warn(f"--resume: {keeper.path} does not exist; the run starts from the beginning.")
    at, learned = kept or (Position(), None)
    if at.finished:
        reporter.result(f"{folder.path} is finished.")
        return run.score_of(folder)
    if process.is_main:
        folder.start(options, command, at.num_epochs)
    if learned is not None:
        reporter.note(f"Going on in phase {phases[at.phase].name}, after {counted(at.num_epochs, 'epoch')}.")
    elif before is not None:
        (ap,) = (_ap(scores) for _, scores in run.validate({"before": before.to(process.device)}).values())
        reporter.note(f"Validation AP of the checkpoint as it was: {ap:.3f}.")
    del before
    steps_per_epoch = math.ceil(len(run.draws) / options.accumulate)
    steps_left = options.max_steps or sys.maxsize
    track = options.track if process.is_main else "none"
    with keeper.listening(), tracking(track, folder.path, to_yaml(options), at.num_epochs, reporter) as log:
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
            for epoch in range(at.epoch, num_epochs):
                num_batches = min(len(run.draws), (num_steps - epoch * steps_per_epoch) * options.accumulate)
                start = time.perf_counter()
                run.criterion.set_epoch(at.num_epochs)
                title = f"{phase.name} {epoch + 1}/{phase.num_epochs}"
                loss, num_films = run.learn(learner, num_batches, at, keeper, title)
                seconds = time.perf_counter() - start
                if options.average_last > 1 and phase is phases[-1] and epoch >= num_epochs - options.average_last:
                    learner.average()
                candidates = learner.candidates
                results = run.validate(candidates)
                kind = max(results, key=lambda kind: _ap(results[kind][1]))
                predictions, scores = results[kind]
                means = scores.macro()
                improved = at.best_ap is None or _ap(scores) > at.best_ap
                summary = EpochSummary(
                    phase=phase.name,
                    epoch=epoch + 1,
                    num_epochs=phase.num_epochs,
                    loss=loss,
                    lr_head=learner.rates["head"],
                    lr_backbone=learner.rates.get("backbone", 0.0),
                    weights=kind,
                    val_ap=means["ap"],
                    val_auroc=means["auroc"],
                    films_per_second=num_films / seconds,
                    seconds=time.perf_counter() - start,
                    best=improved,
                )
                where = {"phase": phase.name, "epoch": epoch + 1, "weights": kind, "val_ap": means["ap"]}
                if process.is_main:
                    calibration = Calibration.fit(predictions, run.validation.table.targets).to_json()
                    checkpoint = candidates[kind].checkpoint(
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
                at = Position(number, epoch + 1, num_epochs=at.num_epochs + 1, best_ap=at.best_ap, best=at.best)
                if (wish := keeper.due()) != "go on":
                    run.tell(wish, keeper.path)
                    keeper.write(at, learner.state(), wish)
            at = replace(at, phase=number + 1, epoch=0)
        remember(folder.best, run.training, run.validation, options, process, reporter)
        keeper.write(replace(at, finished=True), {})
    best = run.score_of(folder)
    reporter.scores(f"Validation, best epoch: {at.best}", best)
    reporter.result(f"Wrote {folder.path}: best.safetensors, last.safetensors, val_predictions.csv, metrics.json.")
    return best


@dataclass(frozen=True)
class _Run:
    """What the phases of one run share."""

    model: Classifier
    training: Films
    validation: Films
    criterion: losses.Criterion
    draws: EpochDraws
    batches: "DataLoader[Batch]"
    val_batches: "DataLoader[Batch]"
    options: FitOptions
    process: Process
    reporter: Reporter

    def learner(self, phase: Phase, num_steps: int) -> Learner:
        if self.options.compile and phase.trains == "all":
            compile_backbone(self.model)
        return Learner(
            self.model,
            self.criterion,
            phase,
            num_steps=num_steps,
            weight_decay=self.options.weight_decay,
            layer_decay=self.options.layer_decay,
            clip_grad=self.options.clip_grad,
            accumulate=self.options.accumulate,
            process=self.process,
        )

    def learn(self, learner: Learner, num_batches: int, at: Position, keeper: Keeper, title: str) -> tuple[float, int]:
        """Learn from what is left of an epoch; the mean loss of its films, and how many were left."""
        table = self.training.table
        self.draws.enter(at.num_epochs * len(self.draws) + at.batch)

        def after_step(batch: int, sums: Callable[[], tuple[float, int]]) -> None:
            if (wish := keeper.due()) != "go on":
                loss, num_films = self.process.summed(torch.tensor(sums(), dtype=torch.float64)).tolist()
                here = replace(at, batch=batch, loss=loss, num_films=int(num_films))
                self.tell(wish, keeper.path)
                keeper.write(here, learner.state(), wish)

        films = (num_batches - at.batch) * self.options.batch_size * self.process.num_processes
        with self.reporter.progress(title, films) as advance:
            loss, num_films = learner.epoch(
                self.batches,
                range(at.batch, num_batches),
                torch.from_numpy(table.targets),
                list(table.ids),
                advance,
                after_step,
                (at.loss, at.num_films) if self.process.is_main else (0.0, 0),
            )
        return loss, num_films - at.num_films

    def rehearse(self, learner: Learner) -> None:
        """One batch, after which nothing is kept."""
        table = self.training.table
        targets, ids = torch.from_numpy(table.targets), list(table.ids)
        learner.epoch(self.batches, range(1), targets, ids, lambda _: None, lambda *_: None)

    def tell(self, wish: Wish, path: Path) -> None:
        if wish == "stop":
            self.reporter.warn(f"Stopped; the state is kept in {path}. Go on with --resume.")

    def score_of(self, folder: RunFolder) -> Scores:
        """The scores of the best epoch, from the predictions that it left."""
        return self.score(Predictions.read(folder.path / "val_predictions.csv", folder.id_column))

    def score(self, predictions: Predictions) -> Scores:
        table = self.validation.table
        return score(
            table.targets,
            predictions.probabilities,
            predictions.findings,
            frequencies=prevalence(self.training.table.targets),
            num_patients=table.num_patients,
        )

    def validate(self, models: Mapping[str, Classifier]) -> dict[str, tuple[Predictions, Scores]]:
        """What each model predicts for the validation films, and how good it is."""
        table = self.validation.table
        with self.reporter.progress("validation", len(table)) as advance, eagerly():
            logits = predict(list(models.values()), self.val_batches, self.process, advance)
        results = {}
        for (name, model), mine in zip(models.items(), logits, strict=True):
            predictions = Predictions(table.ids, model.findings, merge(mine, "mean").numpy())
            predictions = predictions.select(table.space.findings)
            results[name] = predictions, self.score(predictions)
        return results


def _set_up(
    model: Classifier,
    method: Method,
    training: Films,
    validation: Films,
    options: FitOptions,
    process: Process,
    reporter: Reporter,
) -> _Run:
    """Model and criterion on their device, and the loaders."""
    if process.num_processes > 1:
        synchronize(model)
    share = {"rank": process.rank, "num_processes": process.num_processes}
    draws = EpochDraws(method.order, options.batch_size, options.seed, **share)
    options, process = settled(options, process, model, len(draws), reporter)
    known = FilmDataset(film_source(training.paths, [model.preprocessing], options, reporter), Augmentation())
    unseen = FilmDataset(film_source(validation.paths, [model.preprocessing], options, reporter))
    return _Run(
        model.to(process.device),
        training,
        validation,
        method.criterion.to(process.device),
        draws,
        training_loader(known, draws, num_workers=process.num_workers, pin=process.pins),
        films_in_order(unseen, options.batch_size, process),
        options,
        process,
        reporter,
    )


def _digest(*films: Films) -> str:
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


def _origin(training: Films, options: FitOptions) -> dict[str, object]:
    """What a checkpoint keeps of where it comes from."""
    table = training.table
    return {
        "options": options.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=set(FREE)),
        "counts": dict(zip(table.space.findings, table.counts.tolist(), strict=True)),
        "num_labelled": dict(zip(table.space.findings, table.num_labelled.tolist(), strict=True)),
        "num_films": len(table),
        "normal": table.space.normal,
    }


def _plan(run: _Run, phases: tuple[Phase, ...]) -> dict[str, str]:
    model, training, validation, options = run.model, run.training, run.validation, run.options
    bands = Counter(band(frequency) for frequency in prevalence(training.table.targets))
    tail = ", ".join(f"{bands[name]} {name}" for name in BANDS if bands[name])
    stop = f"; stops after {counted(options.max_steps, 'step')}" if options.max_steps else ""
    stretches = {
        "head": "{1} of the head at {0.lr_head:g}",
        "all": "{1} of everything at {0.lr_head:g} (head) and {0.lr_backbone:g} (backbone)",
    }
    return {
        "films": f"{len(training.paths):,} to train on, {len(validation.paths):,} to validate on, of "
        f"{training.table.num_patients:,} and {validation.table.num_patients:,} patients",
        "findings": f"{len(model.findings)} ({tail}): {', '.join(model.findings)}",
        "model": f"{model.architecture.backbone} and {model.architecture.head}, "
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {model.image_size} px",
        "method": f"loss {_with(options.loss, options.loss_options)}, "
        f"sampler {_with(options.sampler, options.sampler_options)}",
        "schedule": ", then ".join(
            stretches[phase.trains].format(phase, counted(phase.num_epochs, "epoch")) for phase in phases
        )
        + f"; {counted(len(run.draws), 'batch', 'batches')} of {options.batch_size} films an epoch{stop}",
        "process": str(run.process),
    }


def _with(name: str, settings: Mapping[str, object]) -> str:
    return name + (f" ({', '.join(f'{key} {value}' for key, value in settings.items())})" if settings else "")


def _rehearse(run: _Run, phases: tuple[Phase, ...]) -> None:
    """One batch of the last phase and one of validation, timed; nothing is written."""
    compiles = run.options.compile and phases[-1].trains == "all"
    start = time.perf_counter()
    learner = run.learner(phases[-1], 1)
    try:
        run.rehearse(learner)
    except RuntimeError as error:
        if not compiles or explain(error) is not None:
            raise
        raise not_compiled(error) from error
    run.process.wait()
    trained = time.perf_counter()
    if compiles:  # a minute that no other batch takes
        start = trained
        run.rehearse(learner)
        run.process.wait()
        trained = time.perf_counter()
    with eagerly():
        predict(list(learner.candidates.values()), islice(run.val_batches, 1), run.process, lambda _: None)
    validated = time.perf_counter()
    epoch = (trained - start) * len(run.draws) + (validated - trained) * len(run.val_batches)
    num_epochs = float(sum(phase.num_epochs for phase in phases))
    if run.options.max_steps:
        num_epochs = min(num_epochs, run.options.max_steps * run.options.accumulate / len(run.draws))
    slow = "" if compiles else " (the first batch is slow)"
    run.reporter.result(
        f"Dry run: one batch went through. An epoch takes about {duration(epoch)}, the whole run "
        f"{duration(epoch * num_epochs)} or less{slow}. Nothing was written."
    )
