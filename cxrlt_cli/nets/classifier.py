"""The classifier: any timm backbone, a head, and the names of what it finds.

Letters: N films, C findings, D features, S side of a film, H x W feature map.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError, OptionError, listed
from cxrlt_cli.nets import heads
from cxrlt_cli.nets.checkpoints import IMAGENET_MEAN, IMAGENET_STD, Architecture, Checkpoint


class Classifier(nn.Module):
    """Films to logits. ``forward`` takes normalised images; ``normalize`` makes them from films.

    ``csra-winner`` has a batch norm between backbone and head, at the place where its published weights have it.
    """

    mean: tuple[float, float, float]  # of the three channels, for levels from 0 to 1
    std: tuple[float, float, float]
    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        architecture: Architecture,
        findings: Sequence[str],
        preprocessing: Preprocessing,
        *,
        drop_path: float = 0.0,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.findings = tuple(findings)
        self.preprocessing = preprocessing
        self.backbone = _backbone(architecture.backbone, preprocessing.image_size, drop_path, weights)
        num_features = self.backbone.num_features
        self.bn = nn.BatchNorm2d(num_features) if architecture.head == "csra-winner" else nn.Identity()
        self.head: Any = heads.create(
            architecture.head,
            num_features,
            len(self.findings),
            csra_heads=architecture.csra_heads,
            csra_lambda=architecture.csra_lambda,
        )
        config = self.backbone.pretrained_cfg
        self._set_normalization(config.get("mean") or IMAGENET_MEAN, config.get("std") or IMAGENET_STD)
        self.to(memory_format=torch.channels_last)

    @property
    def image_size(self) -> int:
        return self.preprocessing.image_size

    def normalize(self, films: Tensor) -> Tensor:
        """uint8 ``[N, 1, S, S]`` to float32 ``[N, 3, S, S]``, as the backbone wants it."""
        images = (films.float() / 255 - self._mean) / self._std
        return images.contiguous(memory_format=torch.channels_last)

    def feature_map(self, images: Tensor) -> Tensor:
        """``[N, 3, S, S]`` to ``[N, D, H, W]``; class and register tokens are dropped."""
        return _as_map(self.backbone(images.to(self._mean.dtype)), self.backbone)

    def forward(self, images: Tensor) -> Tensor:
        """``[N, 3, S, S]`` to logits ``[N, C]`` in float32."""
        logits: Tensor = self.head(self.bn(self.feature_map(images)))
        return logits.float()

    def checkpoint(self, **training: Any) -> Checkpoint:
        """This classifier as a value, with what its training was."""
        return Checkpoint(
            self.architecture, self.findings, self.preprocessing, self.mean, self.std, self.state_dict(), training
        )

    def carry_over(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Take backbone and head from a checkpoint, finding by finding; give the findings that start afresh.

        Another kind of head starts afresh altogether.
        """
        tensors = dict(self.state_dict())
        new = tuple(name for name in self.findings if name not in checkpoint.findings)
        same_head = (self.architecture.head, self.architecture.csra_heads) == (
            checkpoint.architecture.head,
            checkpoint.architecture.csra_heads,
        )
        shared = [name for name in self.findings if name in checkpoint.findings]
        here = [self.findings.index(name) for name in shared]
        there = [checkpoint.findings.index(name) for name in shared]
        for name, source in checkpoint.tensors.items():
            axis = self.head.finding_axis.get(name.removeprefix("head."))
            if name.startswith("backbone.") or (same_head and axis is None):
                tensors[name] = source
            elif same_head:
                tensors[name] = tensors[name].index_copy(
                    axis, torch.tensor(here), source.index_select(axis, torch.tensor(there))
                )
        _load(self, tensors, checkpoint.architecture.backbone)
        self._set_normalization(checkpoint.mean, checkpoint.std)
        return new if same_head else self.findings

    def _set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
        self.register_buffer("_mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)


def from_checkpoint(checkpoint: Checkpoint) -> Classifier:
    """The classifier of a checkpoint, in eval mode."""
    model = Classifier(checkpoint.architecture, checkpoint.findings, checkpoint.preprocessing)
    _load(model, checkpoint.tensors, checkpoint.architecture.backbone)
    model._set_normalization(checkpoint.mean, checkpoint.std)
    return model.eval()


def load(path: Path | str) -> Classifier:
    """The classifier in a file of ours or of the challenge winner's layout, in eval mode.

    Raises CheckpointError where the file cannot be read or does not fit.
    """
    path = Path(path)
    try:
        return from_checkpoint(Checkpoint.read(path))
    except CheckpointError as error:
        raise (
            error if str(path) in error.message else CheckpointError(f"{path}: {error.message}", error.hint)
        ) from error


def parameter_groups(
    model: Classifier, lr_head: float, lr_backbone: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Parameters that learn, for an optimizer: head and backbone apart; biases and norms without weight decay."""
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = "backbone" if name.startswith("backbone.") else "head"
            groups.setdefault((part, parameter.ndim > 1), []).append(parameter)
    rates = {"head": lr_head, "backbone": lr_backbone}
    return [
        {"params": parameters, "part": part, "lr": rates[part], "weight_decay": weight_decay if decays else 0.0}
        for (part, decays), parameters in groups.items()
    ]


def check_backbone(name: str) -> None:
    """Raise OptionError where timm has no such model."""
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=3)
        hint = f"Meant: {listed(close)}?" if close else "See timm.list_models()."
        raise OptionError(f"--backbone {name}: timm has no such model.", hint)


def _backbone(name: str, image_size: int, drop_path: float, weights: Mapping[str, Tensor] | None) -> Any:
    check_backbone(name)
    config = timm.get_pretrained_cfg(name)
    arguments: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
    if config and config.fixed_input_size:
        arguments["img_size"] = image_size
    if drop_path:
        arguments["drop_path_rate"] = drop_path
    if weights is not None:
        arguments |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(weights)}}
    try:
        backbone = timm.create_model(name, **arguments)
        if "img_size" in arguments:
            with torch.inference_mode():
                backbone.eval()(torch.zeros(1, 3, image_size, image_size))
        return backbone.train()
    except AssertionError as error:
        raise OptionError(f"--image-size {image_size} does not suit {name}: {str(error).rstrip('.')}.") from error
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise OptionError(f"--backbone {name} has no stochastic depth.", "Pass --drop-path 0.") from error
    except (RuntimeError, KeyError) as error:  # timm's own remapping of foreign names fails with either
        raise CheckpointError(f"The weights do not fit {name}: {str(error).splitlines()[-1].strip()}") from error


def _as_map(features: Tensor, backbone: Any) -> Tensor:
    """What a backbone gives without pooling as ``[N, D, H, W]``."""
    if features.ndim == 4:
        return features if features.shape[1] == backbone.num_features else features.permute(0, 3, 1, 2)
    tokens: Any = features[:, backbone.num_prefix_tokens :]
    side = math.isqrt(tokens.shape[1])
    return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)  # type: ignore[no-any-return]


def _load(model: Classifier, tensors: Mapping[str, Tensor], backbone: str) -> None:
    try:
        model.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"The tensors do not fit {backbone}: {str(error).splitlines()[1].strip()}") from error
