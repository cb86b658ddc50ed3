"""Losses for long-tailed multi-label recognition: element-wise functions, and one Criterion that masks and reduces.

Letters: N films, C findings. z is a logit, y its target (1 or 0), p = sigmoid(z), sp(x) = log(1 + e^x), n_c the
positives of finding c among ``num_images`` (labelled) training films. Everything is computed in float32 or better.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

Reduction = Literal["mean", "sum", "none"]
Elementwise = Callable[..., Tensor]


class Criterion(nn.Module):
    """A loss over the labelled entries of ``logits [N, C]`` and ``targets [N, C]`` (1, 0, or NaN: not labelled).

    ``mean`` is over the labelled entries of the batch; without any the loss is 0.
    """

    counts: Tensor
    num_images: Tensor

    def __init__(
        self,
        function: Elementwise,
        counts: Sequence[float] | NDArray[Any],
        num_images: float | Sequence[float] | NDArray[Any],
        reduction: Reduction,
        hyperparameters: dict[str, Any],
    ) -> None:
        super().__init__()
        self._function = function
        self._hyperparameters = hyperparameters
        self._reduction = reduction
        numbers = torch.from_numpy(np.asarray(counts, np.float64).copy())
        totals = torch.from_numpy(np.asarray(num_images, np.float64).copy()).expand_as(numbers)
        self.register_buffer("counts", numbers, persistent=False)
        self.register_buffer("num_images", totals.clone(), persistent=False)

    def elementwise(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of every entry, ``[N, C]``; 0 where a film is not labelled."""
        labelled = ~torch.isnan(targets)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        losses = self._function(
            wide,
            torch.nan_to_num(targets, nan=0.0).to(wide.dtype),
            counts=self.counts,
            num_images=self.num_images,
            **self._hyperparameters,
        )
        return torch.where(labelled, losses, torch.zeros_like(losses))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = self.elementwise(logits, targets)
        if self._reduction == "none":
            return losses
        total = losses.sum()
        return total if self._reduction == "sum" else total / (~torch.isnan(targets)).sum().clamp(min=1)


def bce(logits: Tensor, targets: Tensor, *, counts: Tensor, num_images: Tensor) -> Tensor:
    """Binary cross-entropy, ``sp(z) - y z``."""
    return softplus(logits) - targets * logits


def asl(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    gamma_neg: float = 4.0,
    gamma_pos: float = 0.0,
    clip: float = 0.05,
    detach_focal: bool = True,
) -> Tensor:
    """Asymmetric loss: positives as they are, easy negatives down-weighted, very easy ones (p < clip) dropped.

    ``-y (1-p)^gamma_pos log p - (1-y) (p_m)^gamma_neg log(1 - p_m)`` with ``p_m = max(p - clip, 0)``.
    Ridnik et al., ICCV 2021, arXiv:2009.14119. The defaults are those of the released training (gamma 4 and 0, the
    focal weight outside the graph). The positive branch is ``logsigmoid``, so that its gradient does not die where the
    reference's clamp at 1e-8 has none.
    """
    shifted = (torch.sigmoid(logits) - clip).clamp(min=0)
    log_negative = torch.log1p(-shifted) if clip > 0 else logsigmoid(-logits)
    likelihood = targets * logsigmoid(logits) + (1 - targets) * log_negative
    distance = targets * torch.sigmoid(-logits) + (1 - targets) * shifted  # 1 - p_t
    gamma = gamma_pos * targets + gamma_neg * (1 - targets)
    focal = torch.pow((distance.detach() if detach_focal else distance).clamp(min=1e-12), gamma)
    return -focal * likelihood


def db(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.2,
    neg_scale: float = 2.0,
    init_bias: float = 0.05,
    focal_gamma: float = 2.0,
    balance: float = 2.0,
    bias_div_scale: bool = False,
) -> Tensor:
    """Distribution-Balanced loss: re-balanced for findings that occur together, tolerant of negatives.

        r_ic = (1/n_c) / sum_{k: y_ik = 1} (1/n_k),   W = alpha + sigmoid(beta (r - mu))
        nu_c = -init_bias log(N/n_c - 1),   x = z + nu,   t = x where y = 1, else -neg_scale x
        loss = balance (1 - sigmoid(t))^focal_gamma W sp(-t) (1 where y = 1, else 1/neg_scale)

    Wu et al., ECCV 2020, arXiv:2007.09654; the defaults are its COCO configuration (mu 0.3, neg_scale 5 for VOC). It is
    made for class-aware sampling, whose co-occurrence bias r corrects. A film without any positive has W = 1 + alpha.
    n_c is kept within [1, N - 1]. The bias nu is for training only. ``bias_div_scale`` divides nu by neg_scale, as the
    published code does by a mistake that its author has acknowledged: for parity with its checkpoints.
    """
    images = num_images.to(logits.dtype)
    positives = torch.minimum(counts.to(logits.dtype).clamp(min=1), (images - 1).clamp(min=1))
    inverse = 1 / positives
    share = inverse / (targets * inverse).sum(dim=1, keepdim=True).clamp(min=1e-30)  # huge, not inf, without a positive
    weight = alpha + torch.sigmoid(beta * (share - mu))
    bias = -init_bias * torch.log((images / positives - 1).clamp(min=1e-12))
    shifted = logits + (bias / neg_scale if bias_div_scale else bias)
    margin = torch.where(targets == 1, shifted, -neg_scale * shifted)
    focal = torch.exp(-focal_gamma * softplus(margin))  # (1 - sigmoid(t))^gamma
    side = targets + (1 - targets) / neg_scale
    return balance * focal * weight * side * softplus(-margin)


LOSSES: dict[str, Elementwise] = {"bce": bce, "asl": asl, "db": db}


def create(
    name: str,
    counts: Sequence[float] | NDArray[Any],
    num_images: float | Sequence[float] | NDArray[Any],
    *,
    reduction: Reduction = "mean",
    **hyperparameters: Any,
) -> Criterion:
    """The criterion of a name of ``LOSSES``.

    ``counts [C]``: positives of each finding among the training films. ``num_images``: their number, or ``[C]`` the
    number that is labelled for each finding. ``hyperparameters``: keyword arguments of the loss's function.
    """
    return Criterion(LOSSES[name], counts, num_images, reduction, hyperparameters)
