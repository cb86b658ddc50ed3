"""How several probabilities of a film become one: those of views, and those of an ensemble's members, by one table.

Letters: M views or members, N films, C findings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, log_expit, logit

from cxrlt_cli.scores import Doubles

TINY, EPSILON = 1e-300, 2.0**-53  # the least probability that has a logarithm, and the least distance to 1


@dataclass(frozen=True)
class Merge:
    """``combine`` of what probabilities or logits are mapped to, mapped back to probabilities."""

    of_probabilities: Callable[[Doubles], Doubles]  # [N, C] to the same
    of_logits: Callable[[Doubles], Doubles] | None  # the same of logits, exact where a sigmoid is 1; None: members only
    combine: Callable[[Doubles, Doubles], Doubles]  # [M, N, C] and shares [M], which sum to 1, to [N, C]
    to_probabilities: Callable[[Doubles], Doubles]


def merge_views(logits: Doubles, mode: str) -> Doubles:
    """Logits ``[M, N, C]`` of views to probabilities ``[N, C]``."""
    merge = MERGES[mode]
    assert merge.of_logits is not None, f"{mode} is of members"
    shares = np.full(len(logits), 1 / len(logits))
    return merge.to_probabilities(merge.combine(np.stack([merge.of_logits(view) for view in logits]), shares))


def merge_members(probabilities: Sequence[Doubles], shares: Doubles, mode: str) -> Doubles:
    """Probabilities ``[N, C]`` of members, with shares ``[M]`` that sum to 1, to one ``[N, C]``."""
    merge, merged = MERGES[mode], np.empty_like(probabilities[0])
    for column in range(merged.shape[1]):
        mapped = np.stack([merge.of_probabilities(member[:, column : column + 1]) for member in probabilities])
        merged[:, column : column + 1] = merge.to_probabilities(merge.combine(mapped, shares))
    return np.clip(merged, 0.0, 1.0, out=merged)


def _same(values: Doubles) -> Doubles:
    return values


def _logit(probabilities: Doubles) -> Doubles:
    return np.asarray(logit(np.clip(probabilities, TINY, 1 - EPSILON)))


def _log(probabilities: Doubles) -> Doubles:
    return np.log(np.maximum(probabilities, TINY))


def _ranks(probabilities: Doubles) -> Doubles:
    """The rank of each film for a finding as a share of the films; ties share their average rank."""
    return np.asarray(pd.DataFrame(probabilities).rank().to_numpy() / len(probabilities))


def weighted_mean(stack: Doubles, shares: Doubles) -> Doubles:
    """Film by film, whatever stands beside it: equal films stay equal, which BLAS would not hold."""
    return np.asarray(sum(share * layer for share, layer in zip(shares, stack, strict=True)))


def _largest(stack: Doubles, shares: Doubles) -> Doubles:
    return np.asarray(stack[shares > 0].max(axis=0))


def _weighted_median(stack: Doubles, shares: Doubles) -> Doubles:
    """Where half of the weight is reached; between two, their middle."""
    order = np.argsort(stack, axis=0)
    values, reached = np.take_along_axis(stack, order, 0), np.cumsum(shares[order], axis=0)
    low = (reached < 0.5 - 1e-12).sum(axis=0)
    high = (reached < 0.5 + 1e-12).sum(axis=0)
    picked = [np.take_along_axis(values, index[None].clip(max=len(stack) - 1), 0)[0] for index in (low, high)]
    return np.asarray((picked[0] + picked[1]) / 2)


MERGES = {
    "mean": Merge(_same, expit, weighted_mean, _same),
    "logit_mean": Merge(_logit, _same, weighted_mean, expit),
    "gmean": Merge(_log, log_expit, weighted_mean, np.exp),
    "median": Merge(_same, expit, _weighted_median, _same),
    "max": Merge(_same, expit, _largest, _same),
    "rank": Merge(_ranks, None, weighted_mean, _same),
}
