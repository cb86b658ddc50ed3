"""Heads: from a feature map ``[N, D, H, W]`` to logits ``[N, C]``, and to where each finding was looked for.

Letters: N films, C findings, D features, H x W map, K = H W positions, A attention heads, Q queries.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
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


class Head(nn.Module, ABC):
    """What a classifier asks of its head."""

    averages: ClassVar[bool] = False  # whether it looks at the mean over the map alone

    @property
    @abstractmethod
    def finding_axis(self) -> Mapping[str, int]:
        """Its tensors that have a slice for each finding, and along which axis: what other findings can take over."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Feature map ``[N, D, H, W]`` to logits ``[N, C]``."""

    @abstractmethod
    def last(self) -> Sequence[nn.Parameter]:
        """The parameters that its logits are linear in."""

    @abstractmethod
    def start_at(self, logits: Tensor) -> None:
        """Set the biases to these logits ``[C]``; a finding with NaN keeps its own."""


class AttentionHead(Head):
    """A head that says where it looked; one that averages before it looks cannot."""

    def forward(self, features: Tensor) -> Tensor:
        return self.attend(features)[0]

    @abstractmethod
    def attend(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[N, C]``, and the attention ``[N, C, H, W]`` that they came from, which sums to 1 over the map."""


class Linear(Head):
    """Average over positions, then one layer."""

    averages: ClassVar[bool] = True
    finding_axis: ClassVar[Mapping[str, int]] = {"classifier.weight": 0, "classifier.bias": 0}

    def __init__(self, in_features: int, num_findings: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(in_features, num_findings)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits

    def last(self) -> Sequence[nn.Parameter]:
        return tuple(self.classifier.parameters())

    def start_at(self, logits: Tensor) -> None:
        _set(self.classifier.bias, logits)


class MLP(Head):
    """Average over positions, then two layers with batch norm and dropout: the winner's standard head.

    The last layer starts with Xavier weights and a bias of -2 (a probability of 0.12).
    """

    averages: ClassVar[bool] = True
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

    def last(self) -> Sequence[nn.Parameter]:
        return tuple(self.classifier[-1].parameters())

    def start_at(self, logits: Tensor) -> None:
        _set(self.classifier[-1].bias, logits)  # type: ignore[arg-type]


class CSRA(AttentionHead):
    """Class-specific residual attention: the average score of a finding, and more where it scores high.

        s_c(k) = <w_c, x_k> / |w_c|
        logit_c = sum_a [ mean_k s_c(k) + lambda sum_k softmax_k(T_a s_c)_k s_c(k) ]  (+ b_c)

    Zhu & Wu, ICCV 2021, arXiv:2108.02456. Each attention head has weights and a temperature of its own; at an infinite
    temperature the attention is the maximum. A weight row of zeros scores 0 where the reference has NaN. The bias is
    ours and off by default: without one the head has no parameter for a finding's base rate.
    """

    finding_axis: ClassVar[Mapping[str, int]] = {"weight": 1, "bias": 0}

    def __init__(
        self,
        in_features: int,
        num_findings: int,
        csra_heads: int = 1,
        csra_lambda: float = 0.1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.temperatures = TEMPERATURES[csra_heads]
        self.csra_lambda = csra_lambda
        self.weight = nn.Parameter(torch.empty(csra_heads, num_findings, in_features))
        self.bias = nn.Parameter(torch.zeros(num_findings)) if bias else None
        nn.init.normal_(self.weight, std=in_features**-0.5)

    def attend(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the attention averaged over the attention heads."""
        assert features.shape[1] == self.weight.shape[2], "einsum would stretch a map of one feature"
        weight = self.weight / self.weight.norm(dim=2, keepdim=True).clamp(min=1e-12)
        rows = weight.flatten(0, 1) @ features.flatten(2)  # a product whose gradient lies in memory as the weights do
        scores = rows.unflatten(1, weight.shape[:2]).transpose(0, 1)
        attention = torch.stack([_attention(s, t) for s, t in zip(scores, self.temperatures, strict=True)])
        logits = (scores.mean(dim=3) + self.csra_lambda * (attention * scores).sum(dim=3)).sum(dim=0)
        if self.bias is not None:
            logits = logits + self.bias
        return logits, attention.mean(dim=0).view(*logits.shape, *features.shape[2:])

    def last(self) -> Sequence[nn.Parameter]:
        """None but the bias: the weights are normalised."""
        return () if self.bias is None else (self.bias,)

    def start_at(self, logits: Tensor) -> None:
        assert self.bias is not None, "made without a bias"
        _set(self.bias, logits)


class CSRAWinner(AttentionHead):
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

    def attend(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and attention."""
        scores = torch.einsum("cd,ndk->nck", self.classifier.weight, features.flatten(2))
        attention = self.conv_att(features).flatten(2).softmax(dim=2)
        attended = (attention * scores).sum(dim=2)
        bias = self.classifier.bias
        logits = scores.mean(dim=2) + bias + self.csra_lambda * (attended + bias)
        return logits, attention.view(*logits.shape, *features.shape[2:])

    def last(self) -> Sequence[nn.Parameter]:
        return tuple(self.classifier.parameters())

    def start_at(self, logits: Tensor) -> None:
        _set(self.classifier.bias, logits / (1 + self.csra_lambda))


class MLDecoder(AttentionHead):
    """A query for each finding, or group of findings, looks at the map through one decoder layer.

        e = relu(W_e x_k);  h = LN(2 q);  h = LN(h + attention(h, e, e));  h = LN(h + FFN(h));  logit = h_g W_g + b

    Ridnik et al., WACV 2023, arXiv:2111.12933: no self-attention, frozen random queries, post-norm, dropout 0.1. With
    fewer queries than findings each answers for ``ceil(C / Q)`` of them. ``2 q`` is the reference's residual around
    a self-attention that it leaves out.
    """

    queries: Tensor

    def __init__(
        self,
        in_features: int,
        num_findings: int,
        num_queries: int = 100,
        dim: int = 768,
        num_heads: int = 8,
        feedforward: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        queries = min(num_queries, num_findings)
        self._num_findings = num_findings
        share = -(-num_findings // queries)
        self.embed = nn.Linear(in_features, dim)
        self.register_buffer("queries", torch.randn(queries, dim))
        self.attention = nn.MultiheadAttention(dim, num_heads, dropout=dropout, batch_first=True)
        self.feedforward = nn.Sequential(
            nn.Linear(dim, feedforward), nn.ReLU(), nn.Dropout(dropout), nn.Linear(feedforward, dim)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.dropouts = nn.ModuleList(nn.Dropout(dropout) for _ in range(3))
        self.weight = nn.Parameter(torch.empty(queries, dim, share))
        self.bias = nn.Parameter(torch.zeros(num_findings))
        nn.init.xavier_normal_(self.weight)

    @property
    def finding_axis(self) -> Mapping[str, int]:
        """Nothing where findings share queries: then no finding can be taken out."""
        return {"queries": 0, "weight": 0, "bias": 0} if self.weight.shape[2] == 1 else {}

    def attend(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the cross-attention of each finding's query averaged over its heads."""
        tokens = torch.relu(self.embed(features.flatten(2).transpose(1, 2)))
        queries = self.queries.expand(tokens.shape[0], -1, -1)  # len() is a plain number: an export would keep it
        hidden = self.norms[0](queries + self.dropouts[0](queries))
        seen, attention = self.attention(hidden, tokens, tokens)
        hidden = self.norms[1](hidden + self.dropouts[1](seen))
        hidden = self.norms[2](hidden + self.dropouts[2](self.feedforward(hidden)))
        logits = torch.einsum("nqd,qds->nqs", hidden, self.weight).flatten(1)[:, : self._num_findings] + self.bias
        maps = attention.repeat_interleave(self.weight.shape[2], dim=1)[:, : self._num_findings]
        return logits, maps.reshape(*logits.shape, *features.shape[2:])

    def last(self) -> Sequence[nn.Parameter]:
        return self.weight, self.bias

    def start_at(self, logits: Tensor) -> None:
        _set(self.bias, logits)


def _attention(scores: Tensor, temperature: float) -> Tensor:
    """``[N, C, K]``: the softmax of scores over positions; at an infinite temperature, 1 at the largest."""
    if temperature == MAX:
        return torch.zeros_like(scores).scatter_(2, scores.argmax(dim=2, keepdim=True), 1.0)
    return (temperature * scores).softmax(dim=2)


def _set(bias: nn.Parameter, values: Tensor) -> None:
    with torch.no_grad():
        bias.copy_(torch.where(values.isnan(), bias, values))


HEADS: dict[str, Callable[..., Head]] = {
    "linear": Linear,
    "mlp": MLP,
    "csra": CSRA,
    "csra-winner": CSRAWinner,
    "mldecoder": MLDecoder,
}


def create(
    name: str,
    in_features: int,
    num_findings: int,
    *,
    csra_heads: int = 1,
    csra_lambda: float = 0.1,
    bias: bool = False,
    num_queries: int = 100,
    logit_scale: float = 1.0,
) -> Head:
    """The head of a name of ``HEADS``, freshly initialised: feature map ``[N, D, H, W]`` to logits ``[N, C]``.

    ``csra_heads``, ``csra_lambda`` and ``bias`` are csra's (csra-winner has the lambda; every other head has a bias
    whatever is said), ``num_queries`` is mldecoder's. ``logit_scale``: what the logits will be multiplied by; where its
    weights are free, the head starts that much smaller, with the probabilities of an unscaled one.
    """
    settings: dict[str, dict[str, object]] = {
        "csra": {"csra_heads": csra_heads, "csra_lambda": csra_lambda, "bias": bias},
        "csra-winner": {"csra_lambda": csra_lambda},
        "mldecoder": {"num_queries": num_queries},
    }
    head = HEADS[name](in_features, num_findings, **settings.get(name, {}))
    with torch.no_grad():
        for parameter in head.last():
            parameter.div_(logit_scale)
    return head
