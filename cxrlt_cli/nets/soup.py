"""Soups: networks of one architecture whose weights are averaged to one network, at the cost of one.

Wortsman et al., "Model soups", ICML 2022, arXiv:2203.05482. Letters: M members.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cxrlt_cli.errors import CheckpointError, listed
from cxrlt_cli.nets.checkpoints import Checkpoint

Chosen = tuple[int, ...]  # members by their place


def require_alike(checkpoints: Sequence[Checkpoint], paths: Sequence[Path]) -> None:
    """Raise CheckpointError where the weights of two networks do not mean the same, and no mean of them would."""
    first, name = checkpoints[0], paths[0]
    for other, path in zip(checkpoints[1:], paths[1:], strict=True):
        facts = {
            "backbone and head": (first.architecture, other.architecture),
            "findings, or their order": (first.findings, other.findings),
            "image size and preprocessing": (first.preprocessing, other.preprocessing),
            "mean and deviation of the levels": ((first.mean, first.std), (other.mean, other.std)),
            "tensors": (_shapes(first.tensors), _shapes(other.tensors)),
        }
        if different := [what for what, (mine, theirs) in facts.items() if mine != theirs]:
            raise CheckpointError(
                f"{path} and {name} cannot be averaged: they differ in {listed(different)}.",
                "Their predictions can be: cxrlt ensemble without --soup.",
            )


def average(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor, summed up in float64; of whole numbers, such as counts, those of the first."""
    first, number = members[0], len(members)
    return {
        name: (torch.stack([one[name].double() for one in members]).sum(dim=0) / number).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in first.items()
    }


def greedy(scores: Sequence[float], score: Callable[[Chosen], float]) -> Chosen:
    """The members of a soup: from the best of ``scores [M]`` on, each one with which ``score`` of the soup is no lower.

    So the soup scores no lower than its best member.
    """
    best_first = sorted(range(len(scores)), key=lambda one: -scores[one])
    chosen: Chosen = (best_first[0],)
    reached = scores[best_first[0]]
    for member in best_first[1:]:
        found = score((*chosen, member))
        if found >= reached:
            chosen, reached = (*chosen, member), found
    return chosen


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
