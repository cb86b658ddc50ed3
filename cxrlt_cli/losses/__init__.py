"""Losses for long-tailed multi-label recognition: functions in ``functions``, and one Criterion that masks and reduces.

Letters: N films, C findings. Everything is computed in float32 or better.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrlt_cli.config import check_settings
from cxrlt_cli.errors import OptionError
from cxrlt_cli.losses import functions
from cxrlt_cli.losses.class_weights import effective_number_weights, ldam_margins, log_odds_against
from cxrlt_cli.losses.functions import Weighting, side_weights

__all__ = ["LOSSES", "Criterion", "Reduction", "create", "effective_number_weights", "ldam_margins", "settings_of"]

Reduction = Literal["mean", "sum", "none"]

LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": functions.bce,
    "weighted-bce": functions.weighted_bce,
    "focal": functions.focal,
    "cb-focal": functions.cb_focal,
    "asl": functions.asl,
    "asl-exp": functions.asl_exp,
    "ral": functions.ral,
    "hill": functions.hill,
    "twoway": functions.twoway,
    "ldam": functions.ldam,
    "ldam-drw": functions.ldam,
    "db": functions.db,
    "db-lite": functions.db_lite,
    "mfm": functions.mfm,
}
DEFERRED: dict[str, Any] = {"drw_epoch": 10, "drw_beta": 0.9999, "drw_weighting": "both"}
WHOLE = ("twoway",)  # compare the entries of a batch with one another


class Criterion(nn.Module):
    """A loss over the labelled entries of ``logits [N, C]`` and ``targets [N, C]`` (1, 0, or NaN: not labelled).

    ``mean`` is over the labelled entries of the batch; without any the loss is 0. ``findings`` are the names of the C
    columns where they were given: whoever has logits by name can hold them against it. Made by ``create``.
    """

    counts: Tensor
    num_images: Tensor

    def __init__(
        self,
        name: str,
        counts: Sequence[float] | NDArray[Any],
        num_images: float | Sequence[float] | NDArray[Any],
        reduction: Reduction,
        findings: Sequence[str] | None,
        logit_adjust: float,
        hyperparameters: dict[str, Any],
    ) -> None:
        super().__init__()
        self.name = name
        self.findings = None if findings is None else tuple(findings)
        self._function = LOSSES[name]
        self._reduction = reduction
        self._epoch = 0
        deferred = {**DEFERRED, **hyperparameters} if name.endswith("-drw") else {}
        self._drw_epoch: int | None = deferred.get("drw_epoch")
        self._drw_weighting: Weighting = deferred.get("drw_weighting", "both")
        self._hyperparameters = {key: value for key, value in hyperparameters.items() if key not in DEFERRED}
        numbers = torch.from_numpy(np.asarray(counts, np.float64).copy())
        totals = torch.from_numpy(np.asarray(num_images, np.float64).copy()).expand_as(numbers)
        self.register_buffer("counts", numbers, persistent=False)
        self.register_buffer("num_images", totals.clone(), persistent=False)
        shift = -logit_adjust * log_odds_against(numbers, totals) if logit_adjust else None
        self.register_buffer("_shift", shift, persistent=False)
        later = effective_number_weights(numbers, deferred["drw_beta"]) if deferred else None
        self.register_buffer("_drw_weights", later, persistent=False)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch of the run begins, counted from 0: from ``drw_epoch`` on, deferred weights apply."""
        self._epoch = epoch

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of every entry, ``[N, C]``; 0 where a film is not labelled. TypeError where the loss has none."""
        if self.name in WHOLE:
            raise TypeError(f"{self.name} compares the entries of a batch; it has no loss of a single one")
        labelled = ~torch.isnan(targets)
        wide = _wide(logits)
        known = torch.nan_to_num(targets, nan=0.0).to(wide.dtype)
        losses = self._compute(wide, known)
        if self._drw_epoch is not None and self._epoch >= self._drw_epoch:
            assert isinstance(self._drw_weights, Tensor)
            losses = losses * side_weights(known, self._drw_weights, self._drw_weighting)
        return torch.where(labelled, losses, torch.zeros_like(losses))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.name in WHOLE:
            return self._compute(_wide(logits), targets)
        losses = self.elementwise(logits, targets)
        if self._reduction == "none":
            return losses
        total = losses.sum()
        return total if self._reduction == "sum" else total / (~torch.isnan(targets)).sum().clamp(min=1)

    def _compute(self, logits: Tensor, targets: Tensor) -> Tensor:
        if isinstance(self._shift, Tensor):
            logits = logits + self._shift.to(logits.dtype)
        return self._function(
            logits, targets, counts=self.counts, num_images=self.num_images, **self._hyperparameters
        )  # fmt: skip


def create(
    name: str,
    counts: Sequence[float] | NDArray[Any],
    num_images: float | Sequence[float] | NDArray[Any],
    *,
    reduction: Reduction = "mean",
    findings: Sequence[str] | None = None,
    logit_adjust: float = 0.0,
    **hyperparameters: Any,
) -> Criterion:
    """The criterion of a name of ``LOSSES``.

    ``counts [C]``: positives of each finding among the training films. ``num_images``: their number, or ``[C]`` the
    number that is labelled for each finding. ``findings [C]``: the names that the columns have. ``logit_adjust``: tau
    of Menon et al. (ICLR 2021, arXiv:2007.07314): the loss sees ``z + tau log(pi / (1 - pi))``, pi the share of
    positives, so that z ranks rare findings as if none were rare. ``hyperparameters``: those of the loss's function;
    ``ldam-drw`` is ``ldam`` whose effective-number weights (``drw_beta``), on positives or both sides
    (``drw_weighting``), are deferred to ``drw_epoch``, counted from 0.

    Raises OptionError where a hyperparameter is not one of the loss, or has a value that makes no sense.
    """
    check_settings(f"Loss {name}", settings_of(name), hyperparameters)
    for key, value in hyperparameters.items():
        fits, what = _bounds(name, key)
        if value is not None and not fits(value):
            raise OptionError(f"{key} of loss {name} is {value}.", f"It must be {what}.")
    if name in WHOLE and reduction != "mean":
        raise OptionError(f"Loss {name} is a mean already; it cannot be reduced by '{reduction}'.")
    assert findings is None or len(findings) == len(counts), "a name for each count"
    return Criterion(name, counts, num_images, reduction, findings, logit_adjust, hyperparameters)


def settings_of(name: str) -> dict[str, Any]:
    """The hyperparameters of a loss of ``LOSSES``, with their defaults."""
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    own = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return {**own, **DEFERRED} if name.endswith("-drw") else own


def _bounds(name: str, key: str) -> tuple[Callable[[Any], bool], str]:
    """What a hyperparameter must be, as a test and in words."""
    if key.endswith("weighting"):
        return lambda value: value in get_args(Weighting), " or ".join(get_args(Weighting))
    if key.endswith("beta") and name != "db":
        return lambda value: 0 <= value < 1, "0 or more, and below 1"
    if "gamma" in key:
        return lambda value: 0 <= value <= 20, "between 0 and 20"
    if key in ("alpha", "balance") and name == "db":
        return lambda value: value > 0, "above 0"
    if key == "alpha":
        return lambda value: value <= 1, "a share, or below 0 for none"
    if key in ("scale", "neg_scale", "T_pos"):
        return lambda value: value > 0, "above 0"
    if key == "T_neg":
        return lambda value: value != 0, "other than 0"
    if key == "clip":
        return lambda value: 0 <= value < 1, "0 or more, and below 1"
    return lambda value: True, ""


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
