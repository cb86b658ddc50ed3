"""The loop: phases of epochs, and what they leave in the run folder."""

import math
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader

from cxrlt_cli import losses
from cxrlt_cli.calibration import Calibration
from cxrlt_cli.config import FinetuneOptions, FitOptions
from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.loading import Batch, FilmDataset, ordered_loader, training_loader
from cxrlt_cli.engine.familiarity import remember
from cxrlt_cli.engine.films import Films
from cxrlt_cli.engine.infer import predict
from cxrlt_cli.engine.learner import Learner
from cxrlt_cli.engine.method import Method
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Advance, EpochSummary, Reporter, counted, duration
from cxrlt_cli.engine.run_folder import RunFolder
from cxrlt_cli.engine.schedule import Phase, phases_of
from cxrlt_cli.errors import OptionError
from cxrlt_cli.labels import BANDS, band
from cxrlt_cli.metrics import Scores, prevalence, score
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.predictions import Predictions
from cxrlt_cli.tta import merge


def fit(
    model: Classifier,
    method: Method,
    training: Films,
    validation: Films,
    options: FitOptions,
    folder: RunFolder,
    process: Process,
    reporter: Reporter,
    before: Classifier | None = None,
) -> Scores | None:
    """Train ``model`` phase by phase; keep the epoch with the best validation macro AP. None after a dry run.

    Of the weights of an epoch, raw, smoothed and averaged, the best are kept. ``before`` is scored on the validation
    films for comparison.
    """
    if model.architecture.head != "csra" and model.architecture.csra_heads != 1:
        raise OptionError(f"--csra-heads is of no use with --head {model.architecture.head}.", "Leave it out.")
    if model.architecture.head == "mlp" and min(options.batch_size, len(training.paths)) == 1:
        raise OptionError("--head mlp needs batches of 2 films or more, for its batch norm.", "Raise --batch-size.")
    command = "finetune" if isinstance(options, FinetuneOptions) else "train"
    run = _set_up(model, method, training, validation, options, process, reporter)
    phases = phases_of(options)
    reporter.plan(f"cxrlt {command}", {**_plan(run, phases), "out": str(folder.path)})
    num_draws = len(run.batches) * options.batch_size
    if options.sampler == "cas" and 2 * num_draws < len(training.paths):
        reporter.warn(
            f"An epoch of --sampler cas draws {num_draws:,} films of {len(training.paths):,}; for longer ones "
            f"pass --sampler-options epoch_length={len(training.paths)}."
        )
    if options.dry_run:
        _rehearse(run, phases)
        return None

    folder.start(options, command)
    batches = run.batches
    steps_per_epoch = math.ceil(len(batches) / options.accumulate)
    steps_left = options.max_steps or sys.maxsize
    if before is not None:
        (ap,) = (_ap(scores) for _, scores in run.validate({"before": before.to(process.device)}).values())
        reporter.note(f"Validation AP of the checkpoint as it was: {ap:.3f}.")
        del before
    best: Scores | None = None
    best_title, first_epoch = "", 0
    for phase in phases:
        num_steps = min(phase.num_epochs * steps_per_epoch, steps_left)
        steps_left -= num_steps
        learner = run.learner(phase, num_steps)
        num_epochs = math.ceil(num_steps / steps_per_epoch)
        for epoch in range(1, num_epochs + 1):
            start = time.perf_counter()
            run.criterion.set_epoch(first_epoch + epoch - 1)
            num_batches = min(len(batches), (num_steps - (epoch - 1) * steps_per_epoch) * options.accumulate)
            title = f"{phase.name} {epoch}/{phase.num_epochs}"
            with reporter.progress(title, num_batches * options.batch_size) as advance:
                loss, num_films = run.learn(learner, num_batches, advance)
            seconds = time.perf_counter() - start
            if options.average_last > 1 and phase is phases[-1] and epoch > num_epochs - options.average_last:
                learner.average()
            candidates = learner.candidates
            results = run.validate(candidates)
            kind = max(results, key=lambda kind: _ap(results[kind][1]))
            predictions, scores = results[kind]
            means = scores.macro()
            improved = best is None or _ap(scores) > _ap(best)
            summary = EpochSummary(
                phase=phase.name,
                epoch=epoch,
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
            where = {"phase": phase.name, "epoch": epoch, "weights": kind, "val_ap": means["ap"]}
            calibration = Calibration.fit(predictions, validation.table.targets).to_json()
            checkpoint = candidates[kind].checkpoint(
                **where, **_origin(training, options), calibration=calibration
            )  # fmt: skip
            if improved:
                best, best_title = scores, f"Validation, best epoch: {phase.name} {epoch}, {kind} weights"
                folder.save_best(checkpoint, predictions, scores, where)
            folder.save_last(checkpoint)
            folder.add(summary)
            reporter.epoch(summary)
        first_epoch += num_epochs
    assert best is not None, "at least one step was trained"
    remember(folder.best, training, validation, options, process, reporter)
    reporter.scores(best_title, best)
    reporter.result(f"Wrote {folder.path}: best.safetensors, last.safetensors, val_predictions.csv, metrics.json.")
    return best


@dataclass(frozen=True)
class _Run:
    """What the phases of one run share."""

    model: Classifier
    training: Films
    validation: Films
    criterion: losses.Criterion
    batches: "DataLoader[Batch]"
    val_batches: "DataLoader[Batch]"
    options: FitOptions
    process: Process
    reporter: Reporter

    def learner(self, phase: Phase, num_steps: int) -> Learner:
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

    def learn(self, learner: Learner, num_batches: int, advance: Advance) -> tuple[float, int]:
        """Mean loss and number of the films of the next batches."""
        table = self.training.table
        return learner.epoch(
            islice(self.batches, num_batches), torch.from_numpy(table.targets), list(table.ids), advance
        )

    def validate(self, models: Mapping[str, Classifier]) -> dict[str, tuple[Predictions, Scores]]:
        """What each model predicts for the validation films, and how good it is."""
        table = self.validation.table
        with self.reporter.progress("validation", len(table)) as advance:
            logits = predict(list(models.values()), self.val_batches, self.process, advance)
        results = {}
        for (name, model), mine in zip(models.items(), logits, strict=True):
            predictions = Predictions(table.ids, model.findings, merge(mine, "mean").numpy())
            predictions = predictions.select(table.space.findings)
            scores = score(
                table.targets,
                predictions.probabilities,
                predictions.findings,
                frequencies=prevalence(self.training.table.targets),
                num_patients=table.num_patients,
            )
            results[name] = predictions, scores
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
    reading: dict[str, Any] = {
        "num_workers": process.num_workers,
        "pin": process.pins,
        "batch_size": options.batch_size,
    }
    return _Run(
        model.to(process.device),
        training,
        validation,
        method.criterion.to(process.device),
        training_loader(
            FilmDataset(training.paths, [model.preprocessing], Augmentation(), options.max_pixels),
            method.order,
            seed=options.seed,
            **reading,
        ),
        ordered_loader(FilmDataset(validation.paths, [model.preprocessing], None, options.max_pixels), **reading),
        options,
        process,
        reporter,
    )


def _ap(scores: Scores) -> float:
    ap = scores.macro()["ap"]
    assert ap is not None, "labels are checked: a validation film has a finding"
    return ap


def _origin(training: Films, options: FitOptions) -> dict[str, object]:
    """What a checkpoint keeps of where it comes from."""
    table = training.table
    return {
        "options": options.model_dump(mode="json", by_alias=True, exclude_none=True),
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
        + f"; {counted(len(run.batches), 'batch', 'batches')} of {options.batch_size} films an epoch{stop}",
        "process": str(run.process),
    }


def _with(name: str, settings: Mapping[str, object]) -> str:
    return name + (f" ({', '.join(f'{key} {value}' for key, value in settings.items())})" if settings else "")


def _rehearse(run: _Run, phases: tuple[Phase, ...]) -> None:
    """One batch of the last phase and one of validation, timed; nothing is written."""
    start = time.perf_counter()
    learner = run.learner(phases[-1], 1)
    run.learn(learner, 1, lambda _: None)
    trained = time.perf_counter()
    predict(list(learner.candidates.values()), islice(run.val_batches, 1), run.process, lambda _: None)
    validated = time.perf_counter()
    epoch = (trained - start) * len(run.batches) + (validated - trained) * len(run.val_batches)
    num_epochs = float(sum(phase.num_epochs for phase in phases))
    if run.options.max_steps:
        num_epochs = min(num_epochs, run.options.max_steps * run.options.accumulate / len(run.batches))
    run.reporter.result(
        f"Dry run: one batch went through. An epoch takes about {duration(epoch)}, the whole run "
        f"{duration(epoch * num_epochs)} or less (the first batch is slow). Nothing was written."
    )
