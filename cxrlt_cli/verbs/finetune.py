"""``cxrlt finetune``: from a checkpoint and labelled films, with its findings or others, to a classifier."""

import os
from dataclasses import replace

import torch

from cxrlt_cli.config import FinetuneOptions
from cxrlt_cli.engine.default_films import is_of_phantoms, with_phantoms
from cxrlt_cli.engine.films import divide_films
from cxrlt_cli.engine.launch import prepared_once
from cxrlt_cli.engine.learned import learned_by
from cxrlt_cli.engine.predict import read_checkpoint
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.engine.topology import topology
from cxrlt_cli.errors import OptionError
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import fits
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.training.carry_out import carry_out
from cxrlt_cli.training.method import logit_scale
from cxrlt_cli.training.recipe import with_recipe
from cxrlt_cli.training.run_folder import RunFolder
from cxrlt_cli.training.starts import FromCheckpoint
from cxrlt_cli.training.tracking import chosen


@prepared_once
def finetune(options: FinetuneOptions, reporter: Reporter) -> Scores | None:
    """Fine-tune a checkpoint, on the same findings or on others; like ``train`` otherwise."""
    options = options.resolved()
    topology(options, os.environ, torch.cuda.device_count())
    Process.of(options)
    chosen(options.track)
    checkpoint = read_checkpoint(options.checkpoint, reporter)
    if options.csv is None and is_of_phantoms(checkpoint.training.get("options", {}).get("csv")):
        options = with_phantoms(options, reporter)
    if options.csv is None:
        raise OptionError("--csv is missing.", "It lists the films to train on and their findings.")
    folder = RunFolder.choose(options, "finetune")
    division = divide_films(options, options.csv, reporter)
    if checkpoint.policy and checkpoint.policy != division.pairs[0][0].table.policy:
        reporter.note(f"Labels that the checkpoint was trained on: {checkpoint.policy}.")
    known = checkpoint.preprocessing
    preprocessing = replace(known, image_size=options.image_size or known.image_size, fit=options.fit or known.fit)
    learned = learned_by(options.checkpoint, checkpoint) if options.folds else None
    if learned is not None and learned.number(division.judged):
        reporter.warn(
            f"{options.checkpoint} was trained on films of {options.csv} itself, so it has seen the films that "
            "are scored out of fold. Their scores will be too high."
        )
    head = options.head or checkpoint.architecture.head
    shared = set(checkpoint.findings) & set(division.judged.space.findings)
    fresh = options.retrain_head or head != checkpoint.architecture.head or not shared
    options = with_recipe(options, division, reporter, fresh_head=fresh)
    architecture = _architecture(checkpoint.architecture, options)
    start = FromCheckpoint(architecture, preprocessing, checkpoint, options.checkpoint, options.retrain_head)
    return carry_out(start, division, options, folder, reporter)


def _architecture(before: Architecture, options: FinetuneOptions) -> Architecture:
    """The checkpoint's, with what the options change; the logits of a fresh head are scaled for the loss at hand."""
    head = options.head or before.head
    same = before if head == before.head else Architecture(before.backbone, head)
    architecture = replace(
        same,
        csra_heads=same.csra_heads if options.csra_heads is None else options.csra_heads,
        csra_lambda=same.csra_lambda if options.csra_lambda is None else options.csra_lambda,
        prior_bias=same.prior_bias or bool(options.prior_bias),
    )
    fresh = options.retrain_head or not fits(before, architecture)
    return replace(architecture, logit_scale=logit_scale(options) if fresh else before.logit_scale)
