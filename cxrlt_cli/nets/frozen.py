"""The head of a classifier whose backbone is frozen: it learns from what the backbone gave for each film.

Letters: N films, C findings, D features, H x W map.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.tensors import digest


class HeadOnly(Classifier):
    """Takes features ``[N, D, H, W]`` where a classifier takes images; its checkpoint is that of the whole."""

    def __init__(self, whole: Classifier) -> None:
        nn.Module.__init__(self)
        self.architecture, self.findings, self.preprocessing = whole.architecture, whole.findings, whole.preprocessing
        self.num_features = whole.num_features
        self.backbone, self.bn, self.head = nn.Identity(), whole.bn, whole.head
        self._frozen = _Shared({f"backbone.{name}": tensor for name, tensor in whole.backbone.state_dict().items()})
        self.set_normalization(whole.mean, whole.std)

    def normalize(self, films: Tensor) -> Tensor:
        return films.float()

    def feature_map(self, images: Tensor) -> Tensor:
        return images

    @property
    def num_parameters(self) -> int:
        return super().num_parameters + sum(tensor.numel() for tensor in self._frozen.tensors.values())

    def checkpoint(self, **training: Any) -> Checkpoint:
        own = super().checkpoint(**training)
        return replace(own, tensors={**self._frozen.tensors, **own.tensors})


class _Shared:
    """Tensors that copies of a model have in common."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def __deepcopy__(self, _: dict[int, object]) -> "_Shared":
        return self


def features(whole: Classifier, films: Tensor) -> Tensor:
    """What the head looks at: maps ``[N, D, H, W]`` in float32, or their means ``[N, D, 1, 1]`` where it averages."""
    with torch.inference_mode():
        found = whole.feature_map(whole.normalize(films)).float()
    return found.mean(dim=(2, 3), keepdim=True) if whole.head.averages else found


def recipe(whole: Classifier) -> dict[str, Any]:
    """All of a model that decides its ``features``."""
    return {
        "backbone": whole.architecture.backbone,
        "arguments": dict(whole.architecture.arguments),
        "weights": digest("", whole.backbone.state_dict()),
        "mean": list(whole.mean),
        "std": list(whole.std),
        "film": whole.preprocessing.to_json(),
        "kept": "means over the map" if whole.head.averages else "whole maps",
    }
