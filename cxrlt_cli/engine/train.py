"""Training: options to a run folder. ``train`` and ``finetune`` are one ``fit`` with two starting points."""

import math
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader

from cxrlt_cli import losses
from cxrlt_cli.config import FinetuneOptions, FitOptions, TrainOptions
from cxrlt_cli.data.augment import Augmentation
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import Batch, FilmDataset, ordered_loader, training_loader
from cxrlt_cli.data.sampling import SAMPLERS
from cxrlt_cli.engine.films import Films, check_films, find_films
from cxrlt_cli.engine.infer import predict
from cxrlt_cli.engine.learner import Learner
from cxrlt_cli.engine.phantom import with_phantoms
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Advance, EpochSummary, Reporter, counted, duration
from cxrlt_cli.engine.run_folder import RunFolder
from cxrlt_cli.engine.schedule import Phase, two_phases
from cxrlt_cli.errors import OptionError, listed
from cxrlt_cli.labels import BANDS, band
from cxrlt_cli.metrics import Scores, prevalence, score
from cxrlt_cli.nets.checkpoints import Architecture, Checkpoint
from cxrlt_cli.nets.classifier import Classifier, check_backbone
from cxrlt_cli.nets.weights import starting_weights
from cxrlt_cli.predictions import Predictions


def train(options: TrainOptions, reporter: Reporter) -> Scores | None:
    """Train a classifier from a backbone; the scores of its best epoch, or None after a dry run."""
    options = options.resolved()
    process = Process.of(options)
    check_backbone(options.backbone)
    if options.csv is None:
        options = with_phantoms(options, reporter)
    assert options.csv is not None, "films were given, or drawn"
    folder = RunFolder.choose(options.out, "train", options.id_column)
    training, validation = find_films(options, options.csv, reporter)
    weights = starting_weights(options.backbone, options.weights)
    check_films(training, validation, options, reporter)
    torch.manual_seed(options.seed)
    model = Classifier(
        Architecture(options.backbone, options.head, options.csra_heads, options.csra_lambda),
        training.table.space.findings,
        Preprocessing(options.image_size),
        drop_path=options.drop_path,
        weights=weights,
    )
    return fit(model, training, validation, options, folder, process, reporter)


def finetune(options: FinetuneOptions, reporter: Reporter) -> Scores | None:
    """Go on from a checkpoint, on the same findings or on others; like ``train`` otherwise."""
    options = options.resolved()
    if options.csv is None:
        raise OptionError("--csv is missing.", "It names the films to train on and their findings.")
    process = Process.of(options)
    checkpoint = Checkpoint.read(options.checkpoint)
    folder = RunFolder.choose(options.out, "finetune", options.id_column)
    training, validation = find_films(options, options.csv, reporter)
    check_films(training, validation, options, reporter)
    torch.manual_seed(options.seed)
    before = checkpoint.architecture
    head = options.head or before.head
    same = before if head == before.head else Architecture(before.backbone, head)
    model = Classifier(
        Architecture(
            before.backbone,
            head,
            same.csra_heads if options.csra_heads is None else options.csra_heads,
            same.csra_lambda if options.csra_lambda is None else options.csra_lambda,
        ),
        training.table.space.findings,
        Preprocessing(
            options.image_size or checkpoint.preprocessing.image_size, checkpoint.preprocessing.interpolation
        ),
        drop_path=options.drop_path,
    )
    fresh = model.carry_over(checkpoint)
    if fresh:
        reporter.note(f"Starting from scratch in the head: {listed(fresh, 40)}.")
    dropped = [name for name in checkpoint.findings if name not in model.findings]
    if dropped:
        reporter.note(f"Findings of the checkpoint that the CSV does not have: {listed(dropped, 40)}.")
    return fit(model, training, validation, options, folder, process, reporter)


def fit(
    model: Classifier,
    training: Films,
    validation: Films,
    options: FitOptions,
    folder: RunFolder,
    process: Process,
    reporter: Reporter,
) -> Scores | None:
    """Train ``model`` phase by phase; keep the epoch with the best validation macro AP. None after a dry run."""
    if model.architecture.head != "csra" and model.architecture.csra_heads != 1:
        raise OptionError(f"--csra-heads is of no use with --head {model.architecture.head}.", "Leave it out.")
    if model.architecture.head == "mlp" and min(options.batch_size, len(training.paths)) == 1:
        raise OptionError("--head mlp needs batches of 2 films or more, for its batch norm.", "Raise --batch-size.")
    command = "finetune" if isinstance(options, FinetuneOptions) else "train"
    run = _set_up(model, training, validation, options, process, reporter)
    phases = two_phases(options)
    reporter.plan(f"cxrlt {command}", {**_plan(run, phases), "out": str(folder.path)})
    if options.dry_run:
        _rehearse(run, phases)
        return None

    folder.start(options, command)
    batches = run.batches
    steps_per_epoch = math.ceil(len(batches) / options.accumulate)
    steps_left = options.max_steps or sys.maxsize
    best: Scores | None = None
    for phase in phases:
        num_steps = min(phase.num_epochs * steps_per_epoch, steps_left)
        steps_left -= num_steps
        learner = run.learner(phase, num_steps)
        for epoch in range(1, math.ceil(num_steps / steps_per_epoch) + 1):
            start = time.perf_counter()
            num_batches = min(len(batches), (num_steps - (epoch - 1) * steps_per_epoch) * options.accumulate)
            title = f"{phase.name} {epoch}/{phase.num_epochs}"
            with reporter.progress(title, num_batches * options.batch_size) as advance:
                loss, num_films = run.learn(learner, num_batches, advance)
            seconds = time.perf_counter() - start
            predictions, scores = run.validate(learner.evaluated)
            means = scores.macro()
            improved = best is None or _ap(scores) > _ap(best)
            summary = EpochSummary(
                phase=phase.name,
                epoch=epoch,
                num_epochs=phase.num_epochs,
                loss=loss,
                lr_head=learner.rates["head"],
                lr_backbone=learner.rates.get("backbone", 0.0),
                val_ap=means["ap"],
                val_auroc=means["auroc"],
                films_per_second=num_films / seconds,
                seconds=time.perf_counter() - start,
                best=improved,
            )
            where = {"phase": phase.name, "epoch": epoch, "weights": learner.weights_kind, "val_ap": means["ap"]}
            checkpoint = learner.evaluated.checkpoint(**where, **_origin(training, options))
            if improved:
                best = scores
                folder.save_best(checkpoint, predictions, scores, where)
            folder.save_last(checkpoint)
            folder.add(summary)
            reporter.epoch(summary)
    assert best is not None, "at least one step was trained"
    reporter.scores("Validation, best epoch", best)
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

    def validate(self, model: Classifier) -> tuple[Predictions, Scores]:
        table = self.validation.table
        with self.reporter.progress("validation", len(table)) as advance:
            logits = predict(model, self.val_batches, self.process, advance)
        predictions = Predictions(table.ids, model.findings, torch.sigmoid(logits.double()).numpy())
        scores = score(
            table.targets,
            predictions.probabilities,
            model.findings,
            frequencies=prevalence(self.training.table.targets),
            num_patients=table.num_patients,
        )
        return predictions, scores


def _set_up(
    model: Classifier, training: Films, validation: Films, options: FitOptions, process: Process, reporter: Reporter
) -> _Run:
    """The model on its device, the criterion of the training films' counts, and the loaders."""
    table = training.table
    reading: dict[str, Any] = {
        "num_workers": process.num_workers,
        "pin": process.pins,
        "batch_size": options.batch_size,
    }
    return _Run(
        model.to(process.device),
        training,
        validation,
        losses.create(options.loss, table.counts, table.num_labelled).to(process.device),
        training_loader(
            FilmDataset(training.paths, model.preprocessing, Augmentation(), options.max_pixels),
            SAMPLERS[options.sampler](table.targets, seed=options.seed),
            seed=options.seed,
            **reading,
        ),
        ordered_loader(FilmDataset(validation.paths, model.preprocessing, None, options.max_pixels), **reading),
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
        "method": f"loss {options.loss}, sampler {options.sampler}",
        "schedule": ", then ".join(
            stretches[phase.trains].format(phase, counted(phase.num_epochs, "epoch")) for phase in phases
        )
        + f"; {counted(len(run.batches), 'batch', 'batches')} of {options.batch_size} films an epoch{stop}",
        "process": str(run.process),
    }


def _rehearse(run: _Run, phases: tuple[Phase, ...]) -> None:
    """One batch of the last phase and one of validation, timed; nothing is written."""
    start = time.perf_counter()
    learner = run.learner(phases[-1], 1)
    run.learn(learner, 1, lambda _: None)
    trained = time.perf_counter()
    predict(learner.evaluated, islice(run.val_batches, 1), run.process, lambda _: None)
    validated = time.perf_counter()
    epoch = (trained - start) * len(run.batches) + (validated - trained) * len(run.val_batches)
    num_epochs = float(sum(phase.num_epochs for phase in phases))
    if run.options.max_steps:
        num_epochs = min(num_epochs, run.options.max_steps * run.options.accumulate / len(run.batches))
    run.reporter.result(
        f"Dry run: one batch went through. An epoch takes about {duration(epoch)}, the whole run "
        f"{duration(epoch * num_epochs)} or less (the first batch is slow). Nothing was written."
    )
