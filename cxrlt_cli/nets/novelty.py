"""How unlike the training films a film is, from the features that a classifier pools.

Letters: N films, C findings, D features, M films of reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.checkpoints import NOVELTY

NUM_REFERENCE, NUM_NEIGHBOURS = 2000, 10


@dataclass(frozen=True)
class Novelty:
    """What is remembered of the training films, and how far from them the validation films were.

    Two distances, each as the share of the validation films that are nearer; the larger share counts, itself as the
    share of the validation films that have a smaller one:

    - relative Mahalanobis (Ren et al., arXiv:2106.09022): the least of the squared Mahalanobis distances to the means
      of the findings, less that to the mean of all films. Films with several findings count for each; those without
      any are a group of their own. The covariance within the groups is shared. To both covariances is added what
      Ledoit and Wolf add to that within the groups: with two different amounts, films far away in directions that
      training films do not vary in would seem near.
    - the distance, between features of length 1, to the 10th nearest of 2,000 training films (Sun et al., ICML 2022,
      arXiv:2204.06507).
    """

    means: Tensor  # [C + 1, D], those without a film left out
    mean: Tensor  # [D]
    whitening: Tensor  # [D, D], of the covariance within the groups
    background: Tensor  # [D, D], of that of all films
    reference: Tensor  # [M, D], of length 1
    held_out: Tensor  # [2, V], the distances of the validation films

    @classmethod
    def fit(cls, features: Tensor, targets: Tensor, held_out: Tensor, generator: torch.Generator) -> "Novelty":
        """From features ``[N, D]`` and targets ``[N, C]`` of training films, and features of validation films."""
        x = features.double()
        groups = [column == 1 for column in targets.T] + [~(targets == 1).any(dim=1)]
        groups = [group for group in groups if group.any()]
        means = torch.stack([x[group].mean(dim=0) for group in groups])
        within = torch.cat([x[group] - mean for group, mean in zip(groups, means, strict=True)])
        mean, ridge = x.mean(dim=0), ridge_of(within)
        chosen = torch.randperm(len(x), generator=generator)[:NUM_REFERENCE]
        reference = normalize(x[chosen], dim=1)
        whitening, background = whitening_of(within, ridge), whitening_of(x - mean, ridge)
        unscaled = cls(means, mean, whitening, background, reference, torch.empty(0))
        return cls.of({**unscaled.tensors(), f"{NOVELTY}held_out": unscaled.distances(held_out)})

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Novelty":
        """From the tensors of a checkpoint; raises CheckpointError where there are none."""
        if not tensors:
            raise CheckpointError(
                "--ood-score: this checkpoint remembers nothing of its training films.",
                "A run of this version writes it into best.safetensors when it ends; cxrlt finetune makes one.",
            )
        return cls(**{name: tensors[NOVELTY + name].float() for name in cls.__dataclass_fields__})

    def tensors(self) -> dict[str, Tensor]:
        return {NOVELTY + name: getattr(self, name) for name in self.__dataclass_fields__}

    def distances(self, features: Tensor) -> Tensor:
        """Relative Mahalanobis and nearest-neighbour distances of ``[N, D]``: ``[2, N]``."""
        x = features.to(self.mean.dtype)
        centred, means = x - self.mean, self.means - self.mean  # or large numbers would be taken from each other
        to_groups = torch.cdist(centred @ self.whitening, means @ self.whitening).square().min(dim=1).values
        to_all = (centred @ self.background).square().sum(dim=1)
        near = torch.cdist(normalize(x, dim=1), self.reference)
        neighbour = near.kthvalue(min(NUM_NEIGHBOURS, len(self.reference)), dim=1).values
        return torch.stack([to_groups - to_all, neighbour])

    def score(self, features: Tensor) -> Tensor:
        """``[N]``, from 0 to 1: 0.9, more unlike the training films than nine tenths of the validation films."""
        usual = self._larger_share(self.held_out)
        return _share(self._larger_share(self.distances(features)), usual.sort().values)

    def _larger_share(self, distances: Tensor) -> Tensor:
        """Of distances ``[2, N]``: ``[N]``."""
        usual = self.held_out.sort(dim=1).values
        return torch.stack([_share(mine, own) for mine, own in zip(distances, usual, strict=True)]).max(dim=0).values


def whitening_of(centred: Tensor, ridge: Tensor) -> Tensor:
    """A matrix ``[D, D]`` that makes the squared length of a row of ``centred [N, D]`` its Mahalanobis distance.

    Of its covariance with ``ridge`` added to the diagonal.
    """
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    return torch.div(vectors, (values.clamp(min=0) + ridge).sqrt())


def ridge_of(centred: Tensor) -> Tensor:
    """What to add to the covariance of ``[N, D]`` so that it is, but for its scale, Ledoit and Wolf's estimate.

    J. Multivariate Analysis 88, 2004: a mixture of the covariance and a multiple of the identity.
    """
    number, width = centred.shape
    covariance = centred.T @ centred / number
    scale = covariance.diagonal().mean().clamp(min=1e-12)
    spread = ((centred.square().sum(dim=1).square().sum() / number) - covariance.square().sum()) / number
    distance = (covariance - scale * torch.eye(width, dtype=centred.dtype)).square().sum().clamp(min=1e-24)
    shrinkage = (spread / distance).clamp(0, 0.99)
    return scale * (shrinkage / (1 - shrinkage) + 1e-9)


def _share(distances: Tensor, held_out: Tensor) -> Tensor:
    """The share of ``held_out [V]``, sorted, that is below each of ``distances [N]``.

    Beyond the last of them the share goes on rising towards 1, with how far beyond it is, so that no two tie.
    """
    number = len(held_out)
    below = torch.searchsorted(held_out, distances).clamp(max=number)
    spread = (held_out[-1] - held_out[0]).clamp(min=1e-9)
    beyond = ((distances - held_out[-1]) / spread).clamp(min=0)
    return (below + beyond / (1 + beyond)) / (number + 1)
