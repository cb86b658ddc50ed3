"""From options and labels to the loss and the order of the films."""

from typing import Any

from cxrlt_cli import losses
from cxrlt_cli.config import FitOptions
from cxrlt_cli.data import sampling
from cxrlt_cli.data.sampling import Order
from cxrlt_cli.data.table import LabelTable
from cxrlt_cli.engine.films import Films
from cxrlt_cli.engine.schedule import deferral, phases_of
from cxrlt_cli.errors import OptionError


def criterion(table: LabelTable, options: FitOptions) -> losses.Criterion:
    """The loss on the training films' counts. The model scales its logits by itself, so LDAM's margins are scaled here.

    ``s (z - m)`` is ``s z - s m``.
    """
    settings: dict[str, Any] = dict(options.loss_options)
    known = losses.settings_of(options.loss)
    if "max_margin" in known and "scale" in known:
        settings["max_margin"] = settings.get("max_margin", known["max_margin"]) * logit_scale(options)
        settings["scale"] = 1.0
    if "drw_epoch" in known:
        if options.max_steps and "drw_epoch" not in settings:
            raise OptionError(
                f"--loss {options.loss} with --max-steps: it is not clear when its weights begin.",
                "Say it with --loss-options drw_epoch=EPOCH, counted from 0.",
            )
        settings.setdefault("drw_epoch", deferral(phases_of(options)))
    return losses.create(
        options.loss, table.counts, table.num_labelled, findings=table.space.findings, **settings
    )  # fmt: skip


def logit_scale(options: FitOptions) -> float:
    """What the logits of a fresh head are multiplied by: the scale of LDAM, which is part of its probabilities."""
    return float({"scale": 1.0, **losses.settings_of(options.loss), **options.loss_options}["scale"])


def order(table: LabelTable, options: FitOptions) -> Order:
    num_epochs = sum(phase.num_epochs for phase in phases_of(options))
    return sampling.create(
        options.sampler, table.targets, seed=options.seed, num_epochs=num_epochs, **options.sampler_options
    )


def check_method(training: Films, options: FitOptions) -> None:
    """Raise OptionError where settings of loss or sampler do not fit, before films are read."""
    criterion(training.table, options)
    order(training.table, options)
