"""``cxrlt finetune``: from a checkpoint and labelled films, with its findings or others, to a classifier."""

import os
from dataclasses import replace

import torch

from cxrlt_cli.config import FinetuneOptions
from cxrlt_cli.engine.default_films import is_of_phantoms, with_phantoms
from cxrlt_cli.engine.films import find_films
from cxrlt_cli.engine.launch import launch, topology
from cxrlt_cli.engine.predict import read_checkpoint
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import OptionError, listed
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import fits, from_checkpoint
from cxrlt_cli.scores.metrics import Scores, prevalence
from cxrlt_cli.training.loop import fit
from cxrlt_cli.training.method import Method, logit_scale
from cxrlt_cli.training.preflight import new_model, read_once
from cxrlt_cli.training.run_folder import RunFolder, require_room_for_run
from cxrlt_cli.training.tracking import chosen


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
    if checkpoint.policy and checkpoint.policy != training.table.policy:
        reporter.note(f"Labels that the checkpoint was trained on: {checkpoint.policy}.")
    architecture = _architecture(checkpoint.architecture, options)
    method = Method.of(training.table, options, architecture.logit_scale)
    preprocessing = replace(
        checkpoint.preprocessing, image_size=options.image_size or checkpoint.preprocessing.image_size
    )
    model = new_model(architecture, training, preprocessing, options)
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
