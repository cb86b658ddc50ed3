"""How a film was taken, told by the features that a classifier pools: linear discriminant analysis.

Letters: N films, D features, K views.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from cxrlt_cli.nets.checkpoints import NOVELTY, Checkpoint
from cxrlt_cli.nets.novelty import ridge_of, whitening_of

MIN_FILMS = 20  # of a view, below which it is not told
FRONT = f"{NOVELTY}view_"


@dataclass(frozen=True)
class ViewClassifier:
    """Normal distributions of one covariance, Ledoit and Wolf's, a mean for each view; the likelier one is told."""

    names: tuple[str, ...]  # as a column has them
    means: Tensor  # [K, D]
    whitening: Tensor  # [D, D]
    shares: Tensor  # [K], of the films it was fitted to
    wrong: Mapping[str, Sequence[int]] = field(default_factory=dict)  # of validation films: how many, of how many

    @classmethod
    def fit(cls, features: Tensor, views: Sequence[str]) -> "ViewClassifier | None":
        """From features ``[N, D]`` and views ``[N]``, some empty; None where fewer than two views have enough films."""
        numbers = Counter(view for view in views if view)
        names = tuple(sorted(view for view, number in numbers.items() if number >= MIN_FILMS))
        if len(names) < 2:
            return None
        x = features.double()
        groups = [torch.tensor([view == name for view in views]) for name in names]
        means = torch.stack([x[group].mean(dim=0) for group in groups])
        within = torch.cat([x[group] - mean for group, mean in zip(groups, means, strict=True)])
        shares = torch.tensor([numbers[name] for name in names], dtype=torch.float64) / len(within)
        return cls(names, means, whitening_of(within, ridge_of(within)), shares)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "ViewClassifier | None":
        """What a checkpoint keeps of the views of its training films; None where that is nothing."""
        tensors, about = checkpoint.novelty, checkpoint.training.get("views")
        if about is None or f"{FRONT}means" not in tensors:
            return None
        means, whitening, shares = (tensors[FRONT + name].double() for name in ("means", "whitening", "shares"))
        return cls(tuple(about["names"]), means, whitening, shares, about["wrong"])

    def tensors(self) -> dict[str, Tensor]:
        return {f"{FRONT}means": self.means, f"{FRONT}whitening": self.whitening, f"{FRONT}shares": self.shares}

    def tell(self, features: Tensor) -> list[str]:
        """The view of each film of ``[N, D]``."""
        centre = self.means.mean(dim=0)
        x, means = (features.double() - centre) @ self.whitening, (self.means - centre) @ self.whitening
        likely = self.shares.log() - 0.5 * torch.cdist(x, means).square()
        return [self.names[place] for place in likely.argmax(dim=1).tolist()]

    def judged(self, features: Tensor, views: Sequence[str]) -> "ViewClassifier":
        """The same, with how often it is wrong on films that it was not fitted to."""
        pairs = [(view, told) for view, told in zip(views, self.tell(features), strict=True) if view]
        wrong = Counter(view for view, told in pairs if view != told)
        films = Counter(view for view, _ in pairs)  # those of views too rare to be told, all wrong, among them
        return replace(self, wrong={name: (wrong[name], films[name]) for name in sorted({*self.names, *films})})

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the tensors."""
        return {"names": list(self.names), "wrong": {name: list(pair) for name, pair in self.wrong.items()}}

    def told_error(self) -> str:
        """``wrong on 3 of 142 validation films: LL 2 of 52, PA 1 of 90``."""
        wrong, films = (sum(pair[place] for pair in self.wrong.values()) for place in (0, 1))
        of_views = ", ".join(f"{name} {mine} of {number:,}" for name, (mine, number) in self.wrong.items())
        return f"wrong on {wrong:,} of {films:,} validation films: {of_views}"
