"""Class weights and margins from the counts of the training films. Float64: ``1 - beta^n`` cancels in float32.

Letters: C findings; n_c the positives of finding c among N training films. A count of 0 is taken for 1.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

Counts = Sequence[float] | NDArray[Any] | Tensor


def effective_number_weights(counts: Counts, beta: float) -> Tensor:
    """``(1 - beta) / (1 - beta^n_c)``, scaled to a mean of 1, ``[C]`` float64.

    Cui et al., CVPR 2019, arXiv:1901.05555. A ``beta`` of 0 weights all alike; towards 1 it is the inverse frequency.
    """
    effective = -torch.expm1(_positive(counts) * math.log(max(beta, 1e-300)))  # 1 - beta^n
    inverse = 1 / effective
    return inverse / inverse.mean()


def ldam_margins(counts: Counts, max_margin: float = 0.5) -> Tensor:
    """``max_margin (n_min / n_c)^(1/4)``, ``[C]`` float64: the rarer, the wider.

    Cao et al., NeurIPS 2019, arXiv:1906.07413.
    """
    rarity = _positive(counts) ** -0.25
    return max_margin * rarity / rarity.max()


def prevalences(counts: Counts, num_images: Counts) -> Tensor:
    """``n_c / N``, ``[C]`` float64."""
    return torch.as_tensor(counts, dtype=torch.float64) / torch.as_tensor(num_images, dtype=torch.float64).clamp(min=1)


def inverse_counts(counts: Counts, num_images: Counts) -> Tensor:
    """``1 / n_c``, ``[C]`` float64, with n_c within [1, N - 1]."""
    return 1 / _within(counts, num_images)


def log_odds_against(counts: Counts, num_images: Counts) -> Tensor:
    """``log(N / n_c - 1)``, ``[C]`` float64, with n_c within [1, N - 1]."""
    images = torch.as_tensor(num_images, dtype=torch.float64)
    return torch.log((images / _within(counts, num_images) - 1).clamp(min=1e-12))


def odds_weights(counts: Counts, num_images: Counts, power: float, most: float) -> Tensor:
    """``((N - n_c) / n_c)^power``, at most ``most``, ``[C]`` float64: a finding's negatives for each positive."""
    numbers = _positive(counts)
    negatives = (torch.as_tensor(num_images, dtype=torch.float64) - numbers).clamp(min=0)
    return (negatives / numbers).pow(power).clamp(max=most)


def multi_grain_factors(counts: Counts) -> Tensor:
    """``(1 - log(n_c / n_max))^(1/6)``, ``[C]`` float64: 1 for the most frequent finding, slowly more for rarer ones.

    Zhang et al., ICCV 2023 (COMIC), arXiv:2304.08172.
    """
    numbers = _positive(counts)
    return (1 - torch.log(numbers / numbers.max())) ** (1 / 6)


def head_margins(weights: Tensor, max_margin: float) -> Tensor:
    """From 0 for the largest class weight to ``max_margin`` for the smallest, by their inverses, ``[C]``."""
    inverse = 1 / (weights + 1e-6)
    span = inverse.max() - inverse.min()
    return max_margin * (inverse - inverse.min()) / span.clamp(min=1e-12)


def _within(counts: Counts, num_images: Counts) -> Tensor:
    images = torch.as_tensor(num_images, dtype=torch.float64)
    return torch.minimum(_positive(counts), (images - 1).clamp(min=1))


def _positive(counts: Counts) -> Tensor:
    return torch.as_tensor(counts, dtype=torch.float64).clamp(min=1)
