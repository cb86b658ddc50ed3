"""``cxrlt train``: from a backbone and labelled films to a classifier."""

import os

import torch

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine.default_films import with_phantoms
from cxrlt_cli.engine.films import divide_films
from cxrlt_cli.engine.launch import prepared_once
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.engine.topology import topology
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.training.beginning import facts_of, normalization_of, with_backbone, with_weights
from cxrlt_cli.training.carry_out import carry_out
from cxrlt_cli.training.method import logit_scale
from cxrlt_cli.training.recipe import with_recipe
from cxrlt_cli.training.run_folder import RunFolder
from cxrlt_cli.training.starts import FromBackbone
from cxrlt_cli.training.tracking import chosen


@prepared_once
def train(options: TrainOptions, reporter: Reporter) -> Scores | None:
    """Train a classifier from a backbone; the scores of its best epoch, or None after a dry run.

    With ``--folds`` and ``--seeds`` as many, and the scores of what they predict together for films they did not see.
    """
    typed = options.model_fields_set
    options = with_backbone(options.resolved(), typed)
    topology(options, os.environ, torch.cuda.device_count())
    Process.of(options)
    chosen(options.track)
    if options.csv is None:
        options = with_phantoms(options, reporter)
    assert options.csv is not None, "films were given, or drawn"
    folder = RunFolder.choose(options, "train")
    division = divide_films(options, options.csv, reporter)
    options = with_recipe(options, division, reporter)
    options, found = with_weights(options, typed)
    architecture = Architecture(
        found.backbone,
        options.head,
        options.csra_heads,
        options.csra_lambda,
        bool(options.prior_bias),
        logit_scale(options),
        found.arguments,
    )
    start = FromBackbone(
        architecture,
        Preprocessing(options.image_size, fit=options.fit),
        found.tensors,
        normalization_of(options, found),
        facts_of(options, found),
    )
    return carry_out(start, division, options, folder, reporter)
