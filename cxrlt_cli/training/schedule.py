"""Phases as data, and the learning rate as a pure function of the step."""

import math
import sys
from dataclasses import dataclass
from typing import Literal

from cxrlt_cli.config import FinetuneOptions, FitOptions

FLOOR = 0.01  # of the peak learning rate, at the end of the cosine
WARMUP_SHARE = 5 / 60  # of phase 2, as the winner had it: 5 of 60 epochs


@dataclass(frozen=True)
class Phase:
    """A stretch of training: what learns, how fast, for how long."""

    name: str
    num_epochs: int
    trains: Literal["head", "all"]
    lr_head: float
    lr_backbone: float
    warmup_share: float  # of its steps
    cosine: bool
    ema_decay: float  # 0: no averaged weights


def phases_of(options: FitOptions) -> tuple[Phase, ...]:
    """A warm-up of the head on a frozen backbone at a constant rate; then everything, up a ramp and down a cosine.

    With ``frozen`` and ``retrain_head``, one phase of the head alone, up and down (classifier re-training: Kang et al.,
    ICLR 2020, arXiv:1910.09217). A phase without epochs is left out. The options are resolved ones.
    """
    assert options.lr_head is not None, "options are resolved before phases are made of them"
    retrains = isinstance(options, FinetuneOptions) and options.retrain_head
    if options.frozen or retrains:
        name = "retrain" if retrains else "frozen"
        return (Phase(name, options.epochs, "head", options.lr_head, 0.0, WARMUP_SHARE, True, options.ema_decay),)
    assert options.lr_backbone is not None, "options are resolved before phases are made of them"
    warmup = Phase("head", options.warmup_epochs, "head", options.lr_warmup, 0.0, 0.0, False, 0.0)
    whole = Phase(
        "all", options.epochs, "all", options.lr_head, options.lr_backbone, WARMUP_SHARE, True, options.ema_decay
    )
    return tuple(phase for phase in (warmup, whole) if phase.num_epochs)


def num_films_learned(options: FitOptions, num_batches: int) -> int:
    """Films, each time it is shown one, that the backbone of a run with ``num_batches`` an epoch learns from."""
    epochs = sum(phase.num_epochs for phase in phases_of(options) if phase.trains == "all")
    return min(epochs * num_batches, (options.max_steps or sys.maxsize) * options.accumulate) * options.batch_size


def lr_factor(phase: Phase, step: int, num_steps: int) -> float:
    """Factor of the peak learning rates at ``step`` (from 0) of a phase's ``num_steps``.

    A linear ramp from ``1 / ramp`` to 1, then a cosine from 1 to 0.01 at the last step.
    """
    ramp = round(phase.warmup_share * num_steps)
    if step < ramp:
        return (step + 1) / ramp
    if not phase.cosine:
        return 1.0
    progress = (step - ramp) / max(1, num_steps - 1 - ramp)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def deferral(phases: tuple[Phase, ...]) -> int:
    """The epoch of the run, from 0, at which deferred weights begin: after four fifths of the last phase.

    As Cao et al., NeurIPS 2019, arXiv:1906.07413: 160 of 200 epochs.
    """
    return sum(phase.num_epochs for phase in phases[:-1]) + math.floor(0.8 * phases[-1].num_epochs)
