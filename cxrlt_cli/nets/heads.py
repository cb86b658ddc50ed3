"""Heads: from a feature map ``[N, D, H, W]`` to logits ``[N, C]``.

Letters: N films, C findings, D features, H x W map, K = H W positions, A attention heads. ``finding_axis`` of a head
names its tensors that have a slice for each finding, and along which axis: what can be carried over to other findings.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

MAX = float("inf")  # the temperature at which attention is the maximum
TEMPERATURES: dict[int, tuple[float, ...]] = {
    1: (1,),
    2: (1, MAX),
    4: (1, 2, 4, MAX),
    6: (1, 2, 3, 4, 5, MAX),
    8: (1, 2, 3, 4, 5, 6, 7, MAX),
}


class Linear(nn.Module):
    """Average over positions, then one layer."""

    finding_axis: ClassVar[Mapping[str, int]] = {"classifier.weight": 0, "classifier.bias": 0}

    def __init__(self, in_features: int, num_findings: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(in_features, num_findings)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


class MLP(nn.Module):
    """Average over positions, then two layers with batch norm and dropout: the winner's standard head.

    The last layer starts with Xavier weights and a bias of -2 (a probability of 0.12).
    """

    finding_axis: ClassVar[Mapping[str, int]] = {"classifier.6.weight": 0, "classifier.6.bias": 0}

    def __init__(self, in_features: int, num_findings: int, hidden: int = 512, dropout: float = 0.3) -> None:
        super().__init__()
        last = nn.Linear(hidden, num_findings)
        nn.init.xavier_uniform_(last.weight)
        nn.init.constant_(last.bias, -2.0)
        self.classifier = nn.Sequential(
            nn.BatchNorm1d(in_features),
            nn.Dropout(dropout),
            nn.Linear(in_features, hidden),
            nn.ReLU(),
            nn.BatchNorm1d(hidden),
            nn.Dropout(dropout),
            last,
        )

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


class CSRA(nn.Module):
    """Class-specific residual attention: the average score of a finding, and more where it scores high.

        s_c(k) = <w_c, x_k> / |w_c|
        logit_c = sum_a [ mean_k s_c(k) + lambda sum_k softmax_k(T_a s_c)_k s_c(k) ]

    Zhu & Wu, ICCV 2021, arXiv:2108.02456. Each attention head has weights and a temperature of its own; at an infinite
    temperature the attention is the maximum. No bias; a weight row of zeros scores 0 where the reference has NaN.
    """

    finding_axis: ClassVar[Mapping[str, int]] = {"weight": 1}

    def __init__(self, in_features: int, num_findings: int, csra_heads: int = 1, csra_lambda: float = 0.1) -> None:
        super().__init__()
        self.temperatures = TEMPERATURES[csra_heads]
        self.csra_lambda = csra_lambda
        self.weight = nn.Parameter(torch.empty(csra_heads, num_findings, in_features))
        nn.init.normal_(self.weight, std=in_features**-0.5)

    def forward(self, features: Tensor) -> Tensor:
        assert features.shape[1] == self.weight.shape[2], "einsum would stretch a map of one feature"
        weight = self.weight / self.weight.norm(dim=2, keepdim=True).clamp(min=1e-12)
        scores = torch.einsum("acd,ndk->anck", weight, features.flatten(2))
        logits = scores.mean(dim=3).sum(dim=0)
        for score, temperature in zip(scores, self.temperatures, strict=True):
            logits = logits + self.csra_lambda * _attend(score, temperature)
        return logits


class CSRAWinner(nn.Module):
    """CSRA as the winner of CXR-LT 2026 built it: attention from a layer of its own, one classifier for both paths.

        logit = W mean_k(x_k) + b + lambda (W sum_k softmax_k(<a_c, x_k>) x_k + b)

    Pham et al., arXiv:2602.13430. The batch norm before it is ``Classifier.bn``, as in the published weights.
    """

    finding_axis: ClassVar[Mapping[str, int]] = {"classifier.weight": 0, "classifier.bias": 0, "conv_att.weight": 0}

    def __init__(self, in_features: int, num_findings: int, csra_lambda: float = 0.1) -> None:
        super().__init__()
        self.csra_lambda = csra_lambda
        self.classifier = nn.Linear(in_features, num_findings)
        self.conv_att = nn.Conv2d(in_features, num_findings, 1, bias=False)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.xavier_uniform_(self.conv_att.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Tensor) -> Tensor:
        scores = torch.einsum("cd,ndk->nck", self.classifier.weight, features.flatten(2))
        attention = self.conv_att(features).flatten(2).softmax(dim=2)
        attended = (attention * scores).sum(dim=2)
        bias = self.classifier.bias
        logits: Tensor = scores.mean(dim=2) + bias + self.csra_lambda * (attended + bias)
        return logits


def _attend(scores: Tensor, temperature: float) -> Tensor:
    """``[N, C, K] -> [N, C]``: scores weighted by their own softmax."""
    if temperature == MAX:
        return scores.amax(dim=2)
    return ((temperature * scores).softmax(dim=2) * scores).sum(dim=2)


HEADS: dict[str, Callable[[int, int, int, float], nn.Module]] = {
    "linear": lambda in_features, num_findings, _heads, _lambda: Linear(in_features, num_findings),
    "mlp": lambda in_features, num_findings, _heads, _lambda: MLP(in_features, num_findings),
    "csra": CSRA,
    "csra-winner": lambda in_features, num_findings, _heads, weight: CSRAWinner(in_features, num_findings, weight),
}


def create(
    name: str, in_features: int, num_findings: int, *, csra_heads: int = 1, csra_lambda: float = 0.1
) -> nn.Module:
    """The head of a name of ``HEADS``, freshly initialised: feature map ``[N, D, H, W]`` to logits ``[N, C]``."""
    return HEADS[name](in_features, num_findings, csra_heads, csra_lambda)
