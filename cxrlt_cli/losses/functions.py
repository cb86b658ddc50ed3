"""The losses as functions of ``logits [N, C]`` and ``targets [N, C]`` (0, 1) to ``[N, C]``; ``twoway`` to a scalar.

Letters: N films, C findings. z is a logit, y its target, p = sigmoid(z), sp(x) = log(1 + e^x), CE = sp(z) - y z; n_c
the positives of finding c among ``num_images`` (labelled) training films, both ``[C]``. Logits are float32 or better.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from cxrlt_cli.losses import class_weights

Weighting = Literal["both", "positives"]


def bce(logits: Tensor, targets: Tensor, *, counts: Tensor, num_images: Tensor) -> Tensor:
    """Binary cross-entropy, ``sp(z) - y z``: ``sp(-z)`` for a positive, ``sp(z)`` for a negative."""
    return softplus((1 - 2 * targets) * logits)


def weighted_bce(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    power: float = 0.5,
    max_weight: float = 20.0,
) -> Tensor:
    """Binary cross-entropy whose positives weigh ``((N - n_c) / n_c)^power``, at most ``max_weight``.

    ``power`` 1 balances positives and negatives of a finding; its square root is what trains on a long tail.
    """
    weight = class_weights.odds_weights(counts, num_images, power, max_weight).to(logits.dtype)
    return targets * weight * softplus(-logits) + (1 - targets) * softplus(logits)


def focal(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    alpha: float | None = None,
    gamma: float = 2.0,
) -> Tensor:
    """Focal loss ``alpha_t (1 - p_t)^gamma CE``, ``p_t = y p + (1-y)(1-p)``, ``alpha_t = alpha y + (1-alpha)(1-y)``.

    Lin et al., ICCV 2017, arXiv:1708.02002. Without ``alpha``, or below 0, both sides weigh 1; their 0.25 weighs
    *positives* down, for dense detection. The factor is ``exp(-gamma sp(t))``, ``t = (2y-1) z``: where p_t saturates
    and gamma is below 1, the gradient of the power is not a number.
    """
    toward = (2 * targets - 1) * logits
    side = 1.0 if alpha is None or alpha < 0 else alpha * targets + (1 - alpha) * (1 - targets)
    return side * torch.exp(-gamma * softplus(toward)) * softplus(-toward)


def cb_focal(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    beta: float = 0.9999,
    gamma: float = 2.0,
    weighting: Weighting = "both",
) -> Tensor:
    """Class-balanced focal loss: focal, times the effective-number weight of the finding.

    Cui et al., CVPR 2019, arXiv:1901.05555. ``weighting``: a finding's positives and negatives alike, which keeps its
    base rate; or ``positives`` alone, which drives the probabilities of frequent findings towards 0.
    """
    losses = focal(logits, targets, counts=counts, num_images=num_images, gamma=gamma)
    return losses * side_weights(targets, class_weights.effective_number_weights(counts, beta), weighting)


def asl(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    gamma_neg: float | Tensor = 4.0,
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
    focal_weight = torch.pow((distance.detach() if detach_focal else distance).clamp(min=1e-12), gamma)
    return -focal_weight * likelihood


def asl_exp(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    gamma_neg: float = 4.0,
    gamma_pos: float = 1.0,
    clip: float = 0.05,
    detach_focal: bool = False,
) -> Tensor:
    """Asymmetric loss times ``y e^(1 - pi_c) + (1-y) e^(pi_c)``, ``pi_c = n_c / N``: weights between 1 and e.

    As the winner of CXR-LT 2023 trained (Kim, ICCVW 2023, arXiv:2308.03968); weights after Guo & Wang, CVPR 2021.
    """
    share = class_weights.prevalences(counts, num_images).to(logits.dtype)
    weight = targets * torch.exp(1 - share) + (1 - targets) * torch.exp(share)
    settings = {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip}
    return weight * asl(
        logits, targets, counts=counts, num_images=num_images, detach_focal=detach_focal, **settings
    )  # fmt: skip


def ral(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    gamma_neg: float = 4.0,
    gamma_pos: float = 0.0,
    clip: float = 0.05,
    lam: float = 1.5,
    epsilon_neg: float = 0.0,
    epsilon_pos: float = 1.0,
    epsilon_pos_pow: float = -2.5,
) -> Tensor:
    """Robust asymmetric loss: a Taylor expansion of the asymmetric loss, damped on hard negatives (likely noise).

        positives  -(1-p)^gamma_pos [log p + e_1 (1-p) + e_2/2 (1-p)^2]
        negatives  -(1-q)^gamma_neg [log q + e_0 q] (lam - p) p^2 (lam - q),   q = min(1 - p + clip, 1)

    Park et al., ICCVW 2023, arXiv:2308.05542.
    """
    p = torch.sigmoid(logits)
    shifted = (p - clip).clamp(min=0)  # 1 - q
    away = torch.sigmoid(-logits)
    positive = logsigmoid(logits) + epsilon_pos * away + epsilon_pos_pow / 2 * away**2
    log_q = torch.log1p(-shifted) if clip > 0 else logsigmoid(-logits)
    negative = (log_q + epsilon_neg * (1 - shifted)) * (lam - p) * p**2 * (lam - 1 + shifted)
    likelihood = targets * positive + (1 - targets) * negative
    distance = targets * away + (1 - targets) * shifted
    return -torch.pow(distance.clamp(min=1e-12), gamma_pos * targets + gamma_neg * (1 - targets)) * likelihood


def hill(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    lam: float = 1.5,
    margin: float = 1.0,
    gamma: float = 2.0,
) -> Tensor:
    """Hill loss, for films whose findings are not all labelled: ``y (1-p_m)^gamma (-log p_m) + (1-y)(lam - p) p^2``.

    ``p_m = sigmoid(z - margin)``. A negative that the model is sure of is more likely a missing label, and weighs less
    again. Zhang et al., 2021, arXiv:2112.07368.
    """
    p, shifted = torch.sigmoid(logits), logits - margin
    positive = torch.exp(-gamma * softplus(shifted)) * softplus(-shifted)
    return targets * positive + (1 - targets) * (lam - p) * p**2


def twoway(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    T_pos: float = 4.0,  # noqa: N803
    T_neg: float = 1.0,  # noqa: N803
) -> Tensor:
    """Two-way loss: over films and over findings, positives must lie above negatives. A scalar; NaN is not labelled.

        sp( T_neg LSE_neg(z / T_neg) + T_pos LSE_pos(-z / T_pos) )

    of every film and of every finding that has a positive in the batch, averaged and added. Kobayashi, CVPR 2023,
    arXiv:2302.00842 (its code gives T_neg a minus sign, which changes nothing here). A batch without a positive costs
    0, where the reference is not a number. The part over the films of a batch depends on how many there are.
    """
    below = torch.where(targets == 1, -logits / T_pos, FAR)
    above = torch.where(targets == 0, logits / abs(T_neg), FAR)
    total = logits.sum() * 0
    for dim in (0, 1):
        gap = T_pos * below.logsumexp(dim) + abs(T_neg) * above.logsumexp(dim)
        has_positive = (targets == 1).any(dim)
        total = total + (softplus(gap) * has_positive).sum() / has_positive.sum().clamp(min=1)
    return total


FAR = -1e4  # in place of minus infinity, whose gradient is not a number


def ldam(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    max_margin: float = 0.5,
    scale: float = 30.0,
) -> Tensor:
    """Label-distribution-aware margin: a positive must clear a margin, wider for rarer findings: ``CE(s (z - y m_c))``.

    Cao et al., NeurIPS 2019, arXiv:1906.07413, for several labels as in arXiv:2603.02294. The probability that the
    model then stands for is ``sigmoid(scale * z)``: ``Architecture.logit_scale`` carries the scale into the checkpoint.
    """
    margin = class_weights.ldam_margins(counts, max_margin).to(logits.dtype)
    return softplus((1 - 2 * targets) * scale * (logits - targets * margin))


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
    inverse = class_weights.inverse_counts(counts, num_images).to(logits.dtype)
    share = inverse / (targets * inverse).sum(dim=1, keepdim=True).clamp(min=1e-30)  # huge, not inf, without a positive
    weight = alpha + torch.sigmoid(beta * (share - mu))
    bias = -init_bias * class_weights.log_odds_against(counts, num_images).to(logits.dtype)
    shifted = logits + (bias / neg_scale if bias_div_scale else bias)
    margin = torch.where(targets == 1, shifted, -neg_scale * shifted)
    focal_weight = torch.exp(-focal_gamma * softplus(margin))  # (1 - sigmoid(t))^gamma
    side = targets + (1 - targets) / neg_scale
    return balance * focal_weight * weight * side * softplus(-margin)


def db_lite(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    beta: float = 0.9999,
    weight_power: float = 0.5,
    max_margin: float = 0.2,
) -> Tensor:
    """What the winner of CXR-LT 2026 calls Distribution-Balanced: ``e_c^weight_power CE(z - y m_c, y)``.

    ``e_c`` is the effective-number weight; the margin ``m_c`` grows from 0 for the rarest finding to ``max_margin`` for
    the most frequent, the opposite of LDAM's. Nothing of it looks at which findings occur together. Pham et al.,
    arXiv:2602.13430.
    """
    weight = class_weights.effective_number_weights(counts, beta)
    shifted = logits - targets * class_weights.head_margins(weight, max_margin).to(logits.dtype)
    return weight.pow(weight_power).to(logits.dtype) * softplus((1 - 2 * targets) * shifted)


def mfm(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor,
    num_images: Tensor,
    gamma_neg: float = 4.0,
    gamma_pos: float = 0.0,
    clip: float = 0.05,
) -> Tensor:
    """Multi-grained focal loss: asymmetric loss times ``o_c``, with a gamma of ``gamma_neg + o_c`` on negatives.

    ``o_c = (1 - log(n_c / n_max))^(1/6)``. Zhang et al., ICCV 2023 (COMIC), arXiv:2304.08172.
    """
    factor = class_weights.multi_grain_factors(counts).to(logits.dtype)
    settings = {"gamma_neg": gamma_neg + factor, "gamma_pos": gamma_pos, "clip": clip}
    return factor * asl(logits, targets, counts=counts, num_images=num_images, **settings)  # type: ignore[arg-type]


def side_weights(targets: Tensor, class_weights: Tensor, weighting: Weighting) -> Tensor:
    """``[N, C]``: class weights ``[C]`` for both sides of a finding, or for its positives alone (negatives weigh 1)."""
    class_weights = class_weights.to(targets.dtype)
    if weighting == "both":
        return class_weights.expand_as(targets)
    return targets * class_weights + (1 - targets)
