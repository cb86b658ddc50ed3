"""From options and labels to the loss and the order of the films."""

from dataclasses import dataclass
from typing import Any

from cxrlt_cli import losses
from cxrlt_cli.config import FitOptions
from cxrlt_cli.data import sampling
from cxrlt_cli.data.sampling import Order
from cxrlt_cli.errors import OptionError
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.training.schedule import deferral, phases_of


@dataclass(frozen=True)
class Method:
    """What is made of the training films' labels: the loss, and the order in which films are drawn."""

    criterion: losses.Criterion
    order: Order
    made_from: tuple[LabelTable, FitOptions, float]

    @classmethod
    def of(cls, table: LabelTable, options: FitOptions, scale: float) -> "Method":
        """For a model that multiplies its logits by ``scale``; raises OptionError where settings do not fit."""
        return cls(criterion(table, options, scale), order(table, options), (table, options, scale))

    def __reduce__(self) -> tuple[Any, ...]:
        """On its way to another process it is made anew: orders are closures."""
        return Method.of, self.made_from


def criterion(table: LabelTable, options: FitOptions, scale: float) -> losses.Criterion:
    """The loss on the training films' counts, for a model that multiplies its logits by ``scale`` itself.

    LDAM's ``s (z - m)`` is ``s z - s m``: on logits that are scaled already, the margin is. Raises OptionError where
    settings of the loss do not fit.
    """
    settings: dict[str, Any] = dict(options.loss_options)
    known = losses.settings_of(options.loss)
    losses.create(options.loss, table.counts, table.num_labelled, **settings)
    if "scale" in known:
        if settings.get("scale", scale) != scale:
            raise OptionError(
                f"--loss-options scale={settings['scale']}: the logits of this head are scaled by {scale:g} already.",
                "Leave it out, or train a fresh head.",
            )
        settings |= {"scale": 1.0, "max_margin": settings.get("max_margin", known["max_margin"]) * scale}
    if "drw_epoch" in known and "drw_epoch" not in settings:
        _refuse_max_steps(options, f"--loss {options.loss}", "Say when with --loss-options drw_epoch=EPOCH, from 0.")
        settings["drw_epoch"] = deferral(phases_of(options))
    num_epochs = sum(phase.num_epochs for phase in phases_of(options))
    if settings.get("drw_epoch", 0) >= num_epochs:
        raise OptionError(
            f"drw_epoch {settings['drw_epoch']}: the run has epochs 0 to {num_epochs - 1}.",
            "Lower it, or raise --epochs.",
        )
    return losses.create(
        options.loss,
        table.counts,
        table.num_labelled,
        findings=table.space.findings,
        logit_adjust=options.logit_adjust,
        **settings,
    )


def logit_scale(options: FitOptions) -> float:
    """What the logits of a fresh head are multiplied by: the scale of LDAM, which is part of its probabilities."""
    scale = {"scale": 1.0, **losses.settings_of(options.loss), **options.loss_options}["scale"]
    if isinstance(scale, str) or scale <= 0:
        raise OptionError(f"--loss-options scale={scale} is no factor of the logits.", "It must be above 0.")
    return float(scale)


def order(table: LabelTable, options: FitOptions) -> Order:
    """In which order the training films are drawn; raises OptionError where settings of the sampler do not fit.

    To ``cas`` the normal is no finding like others: of half the films it would be a fifteenth of the draws. Its films
    are those without a finding; with ``negative_share=0`` all is as published.
    """
    targets = table.targets
    published = options.sampler_options.get("negative_share") == 0
    if options.sampler == "cas" and table.space.normal is not None and not published:
        targets = targets.copy()
        column = table.space.findings.index(table.space.normal)
        targets[targets[:, column] == 1, column] = 0
    if options.sampler == "progressive":
        _refuse_max_steps(options, "--sampler progressive", "Leave --max-steps out, and lower --epochs.")
    num_epochs = sum(phase.num_epochs for phase in phases_of(options))
    return sampling.create(
        options.sampler, targets, seed=options.seed, num_epochs=num_epochs, **options.sampler_options
    )


def _refuse_max_steps(options: FitOptions, what: str, hint: str) -> None:
    if options.max_steps:
        raise OptionError(f"{what} changes as epochs go by, and --max-steps hides how many there are.", hint)
