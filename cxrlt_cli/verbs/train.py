"""``cxrlt train``: from a backbone and labelled films to a classifier."""

import os

import torch

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine.default_films import with_phantoms
from cxrlt_cli.engine.films import find_films
from cxrlt_cli.engine.launch import launch, topology
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import check_backbone
from cxrlt_cli.nets.pretrained import starting_weights
from cxrlt_cli.scores.metrics import Scores, prevalence
from cxrlt_cli.training.loop import fit
from cxrlt_cli.training.method import Method, logit_scale
from cxrlt_cli.training.preflight import new_model, read_once
from cxrlt_cli.training.run_folder import RunFolder, require_room_for_run
from cxrlt_cli.training.tracking import chosen


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
    model = new_model(architecture, training, preprocessing, options, weights)
    read_once(training, validation, preprocessing, options, reporter)
    if options.prior_bias:
        model.start_at(torch.from_numpy(prevalence(training.table.targets)), model.findings)
    if not options.dry_run:
        require_room_for_run(model, options, len(validation.paths), folder.path)
    return launch(fit, options, reporter, model, method, training, validation, options, folder)
