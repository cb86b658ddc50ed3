"""Training: ``train`` and ``finetune`` are one ``fit`` with two starting points."""

import os
from dataclasses import replace

import torch

from cxrlt_cli.config import FinetuneOptions, FitOptions, TrainOptions, changed, flags
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine.cache import keep_films
from cxrlt_cli.engine.checkpoints import read_checkpoint
from cxrlt_cli.engine.films import Films, check_films, find_films
from cxrlt_cli.engine.fit import fit
from cxrlt_cli.engine.launch import launch, num_processes, topology
from cxrlt_cli.engine.method import Method, logit_scale
from cxrlt_cli.engine.phantom import is_of_phantoms, with_phantoms
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Reporter
from cxrlt_cli.engine.room import require_room_for_run
from cxrlt_cli.engine.run_folder import RunFolder
from cxrlt_cli.engine.schedule import phases_of
from cxrlt_cli.engine.tracking import chosen
from cxrlt_cli.errors import OptionError, listed
from cxrlt_cli.metrics import Scores, prevalence
from cxrlt_cli.nets.batch_norm import starved
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier, check_backbone, fits, from_checkpoint
from cxrlt_cli.nets.weights import starting_weights


def train(options: TrainOptions, reporter: Reporter) -> Scores | None:
    """Train a classifier from a backbone; the scores of its best epoch, or None after a dry run."""
    options = options.resolved()
    topology(options, os.environ, torch.cuda.device_count())
    Process.of(options)
    chosen(options.track)
    check_backbone(options.backbone)
    if options.csv is None:
        options = with_phantoms(options, reporter)
    assert options.csv is not None, "films were given, or drawn"
    folder = RunFolder.choose(options, "train")
    training, validation = find_films(options, options.csv, reporter)
    weights = starting_weights(options.backbone, options.weights)
    architecture = Architecture(
        options.backbone,
        options.head,
        options.csra_heads,
        options.csra_lambda,
        options.prior_bias,
        logit_scale(options),
    )
    method = Method.of(training.table, options, architecture.logit_scale)
    preprocessing = Preprocessing(options.image_size)
    check_head(architecture.head, options)
    torch.manual_seed(options.seed)
    model = Classifier(
        architecture,
        training.table.space.findings,
        preprocessing,
        drop_path=options.drop_path,
        weights=weights,
    )
    check_batches(model, len(training.paths), options)
    read_once(training, validation, preprocessing, options, reporter)
    if options.prior_bias:
        model.start_at(torch.from_numpy(prevalence(training.table.targets)), model.findings)
    if not options.dry_run:
        require_room_for_run(model, options, len(validation.paths), folder.path)
    return launch(fit, options, reporter, model, method, training, validation, options, folder)


def finetune(options: FinetuneOptions, reporter: Reporter) -> Scores | None:
    """Go on from a checkpoint, on the same findings or on others; like ``train`` otherwise."""
    options = options.resolved()
    topology(options, os.environ, torch.cuda.device_count())
    Process.of(options)
    chosen(options.track)
    checkpoint = read_checkpoint(options.checkpoint, reporter)
    if options.csv is None and is_of_phantoms(checkpoint.training.get("options", {}).get("csv")):
        options = with_phantoms(options, reporter)
    if options.csv is None:
        raise OptionError("--csv is missing.", "It names the films to train on and their findings.")
    folder = RunFolder.choose(options, "finetune")
    training, validation = find_films(options, options.csv, reporter)
    architecture = _architecture(checkpoint.architecture, options)
    method = Method.of(training.table, options, architecture.logit_scale)
    preprocessing = replace(
        checkpoint.preprocessing, image_size=options.image_size or checkpoint.preprocessing.image_size
    )
    check_head(architecture.head, options)
    torch.manual_seed(options.seed)
    model = Classifier(
        architecture,
        training.table.space.findings,
        preprocessing,
        drop_path=options.drop_path,
    )
    check_batches(model, len(training.paths), options)
    read_once(training, validation, preprocessing, options, reporter)
    fresh = model.carry_over(checkpoint, head=not options.retrain_head)
    if fresh:
        reporter.note(f"Starting from scratch in the head: {listed(fresh, 40)}.")
    dropped = [name for name in checkpoint.findings if name not in model.findings]
    if dropped:
        reporter.note(f"Findings of the checkpoint that the CSV does not have: {listed(dropped, 40)}.")
    if architecture.prior_bias:
        model.start_at(torch.from_numpy(prevalence(training.table.targets)), fresh)
    known = set(model.findings) <= set(checkpoint.findings) and model.preprocessing == checkpoint.preprocessing
    before = from_checkpoint(checkpoint, options.checkpoint) if options.retrain_head and known else None
    if not options.dry_run:
        require_room_for_run(model, options, len(validation.paths), folder.path)
    return launch(fit, options, reporter, model, method, training, validation, options, folder, before)


def read_once(
    training: Films, validation: Films, preprocessing: Preprocessing, options: FitOptions, reporter: Reporter
) -> None:
    """Every film, into ``--cache`` if there is one; raises DataError with all that cannot be read."""
    if options.cache is None or options.dry_run:
        check_films(training, validation, options, reporter)
        return
    paths = [training.paths, validation.paths]
    keep_films(paths, sum(map(len, paths)), [preprocessing], options, reporter)


def check_head(head: str, options: FitOptions) -> None:
    """Raise OptionError where the head and its options do not go together."""
    of_csra = {"csra_heads": ("csra",), "csra_lambda": ("csra", "csra-winner")}
    for name in changed(options) & set(of_csra):
        if head not in of_csra[name]:
            raise OptionError(f"{flags(options, [name])} is of no use with --head {head}.", "Leave it out.")


def check_batches(model: Classifier, num_films: int, options: FitOptions) -> None:
    """Raise OptionError where a batch norm that learns would see one value of a feature: that has no variance."""
    together = num_processes(options, os.environ, torch.cuda.device_count())  # theirs are synchronized
    if together > 1 or min(options.batch_size, num_films) > 1:
        return

    def learn(model: Classifier) -> None:
        model.train()
        if all(phase.trains == "head" for phase in phases_of(options)):
            model.backbone.eval()
        model(torch.zeros(1, 3, model.image_size, model.image_size))

    name = starved(model, learn)
    if name is not None:
        whose = "--head " + model.architecture.head
        if name.startswith("backbone."):
            whose = f"--backbone {model.architecture.backbone} at --image-size {model.image_size}"
        hint = (
            "Raise --batch-size." if num_films > 1 else "There is one film to train on; pass another backbone or head."
        )
        raise OptionError(f"{whose} needs batches of 2 films or more, for its batch norm.", hint)


def _architecture(before: Architecture, options: FinetuneOptions) -> Architecture:
    """The checkpoint's, with what the options change; the logits of a fresh head are scaled for the loss at hand."""
    head = options.head or before.head
    same = before if head == before.head else Architecture(before.backbone, head)
    architecture = replace(
        same,
        csra_heads=same.csra_heads if options.csra_heads is None else options.csra_heads,
        csra_lambda=same.csra_lambda if options.csra_lambda is None else options.csra_lambda,
        prior_bias=same.prior_bias or options.prior_bias,
    )
    fresh = options.retrain_head or not fits(before, architecture)
    return replace(architecture, logit_scale=logit_scale(options) if fresh else before.logit_scale)
