"""The classifier: any timm backbone, a head, and the names of what it finds.

Letters: N films, C findings, D features, S side of a film, H x W feature map.
"""

import difflib
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError, OptionError, listed
from cxrlt_cli.nets import heads, response_norm
from cxrlt_cli.nets.checkpoints import IMAGENET_MEAN, IMAGENET_STD, Architecture, Checkpoint
from cxrlt_cli.nets.encoders import ENCODERS


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
        self.backbone = _create_backbone(architecture, preprocessing.shape, drop_path)
        if weights is not None:
            _load_backbone(self.backbone, architecture.backbone, weights)
        self.num_features = _num_features(self.backbone, architecture.backbone, preprocessing.shape)
        self.bn = nn.BatchNorm2d(self.num_features) if architecture.head == "csra-winner" else nn.Identity()
        self.head: heads.Head = heads.create(
            architecture.head,
            self.num_features,
            len(self.findings),
            csra_heads=architecture.csra_heads,
            csra_lambda=architecture.csra_lambda,
            bias=architecture.prior_bias,
            logit_scale=architecture.logit_scale,
        )
        config = self.backbone.pretrained_cfg
        self.set_normalization(config.get("mean") or IMAGENET_MEAN, config.get("std") or IMAGENET_STD)
        self.to(memory_format=torch.channels_last)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.preprocessing.shape

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def normalize(self, films: Tensor) -> Tensor:
        """uint8 ``[N, 1, S, S]`` to float32 ``[N, 3, S, S]``, as the backbone wants it."""
        images = (films.float() / 255 - self._mean) / self._std
        return images.contiguous(memory_format=torch.channels_last)

    def feature_map(self, images: Tensor) -> Tensor:
        """``[N, 3, S, S]`` to ``[N, D, H, W]``; class and register tokens are dropped."""
        features = _as_map(self.backbone(images.to(self._mean.dtype)), self.backbone, images.shape[2:])
        assert features is not None, "the backbone was looked at when it was made"
        return features

    def forward(self, images: Tensor) -> Tensor:
        """``[N, 3, S, S]`` to logits ``[N, C]``; whatever the precision of the backbone, the head's is float32.

        In bf16 a head has a hundred different logits for a thousand films, and ties cost AP.
        """
        return self.logits_and_map(images)[0]

    def logits_and_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[N, C]`` and the feature map ``[N, D, H, W]`` that they come from."""
        features = self.feature_map(images)
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.head(self.bn(features.to(self._mean.dtype)))
        return self.architecture.logit_scale * logits, features

    def start_at(self, prevalence: Tensor, findings: Sequence[str]) -> None:
        """Biases that give ``findings`` their share (of ``[C]``) of the films, before anything of them is learned."""
        chosen = torch.tensor([name in findings for name in self.findings])
        logits = torch.logit(prevalence.clamp(1e-4, 1 - 1e-4)).float() / self.architecture.logit_scale
        self.head.start_at(torch.where(chosen, logits, torch.nan))

    def checkpoint(self, **training: Any) -> Checkpoint:
        """This classifier as a value, with what its training was."""
        return Checkpoint(
            self.architecture, self.findings, self.preprocessing, self.mean, self.std, self.state_dict(), training
        )

    def carry_over(self, checkpoint: Checkpoint, *, head: bool = True) -> tuple[str, ...]:
        """Take backbone and ``head`` from a checkpoint, finding by finding; give the findings that start afresh.

        Another kind of head starts afresh altogether.
        """
        own = dict(self.state_dict())
        tensors: dict[str, Tensor] = {}
        new = tuple(name for name in self.findings if name not in checkpoint.findings)
        separable = bool(self.head.finding_axis) or self.findings == checkpoint.findings
        same_head = head and separable and fits(checkpoint.architecture, self.architecture)
        shared = [name for name in self.findings if name in checkpoint.findings]
        here = torch.tensor([self.findings.index(name) for name in shared], dtype=torch.int64)
        there = torch.tensor([checkpoint.findings.index(name) for name in shared], dtype=torch.int64)
        for name, source in checkpoint.tensors.items():
            if same_head and not name.startswith("backbone."):
                axis = self.head.finding_axis.get(name.removeprefix("head."))
                tensors[name] = (
                    source if axis is None else own[name].index_copy(axis, here, source.index_select(axis, there))
                )
        self.load_state_dict({**own, **tensors})
        backbone = {
            name.removeprefix("backbone."): tensor
            for name, tensor in checkpoint.tensors.items()
            if name.startswith("backbone.")
        }
        _load_backbone(self.backbone, self.architecture.backbone, backbone)
        self.set_normalization(checkpoint.mean, checkpoint.std)
        return new if same_head else self.findings

    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Mean and deviation that ``normalize`` takes from now on, of three channels each."""
        self.mean, self.std = (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
        dtype = next(self.head.parameters()).dtype
        self.register_buffer("_mean", torch.tensor(mean, dtype=dtype).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(std, dtype=dtype).view(1, 3, 1, 1), persistent=False)


def fits(before: Architecture, after: Architecture) -> bool:
    """Whether the head of one has the weights that the head of the other wants; a bias is all heads' but csra's."""
    names = ("head", "csra_heads", *(["prior_bias"] if after.head == "csra" else []))
    return all(getattr(before, name) == getattr(after, name) for name in names)


def from_checkpoint(checkpoint: Checkpoint, path: Path) -> Classifier:
    """The classifier of a checkpoint that was read from ``path``, in eval mode.

    Raises CheckpointError where its tensors do not fit its architecture.
    """
    try:
        model = Classifier(checkpoint.architecture, checkpoint.findings, checkpoint.preprocessing)
        model.load_state_dict(dict(checkpoint.tensors))
    except OptionError as error:
        raise CheckpointError(f"{path}: {error.message}", error.hint) from error
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise CheckpointError(f"{path} does not fit {checkpoint.architecture.backbone}: {reason}") from error
    model.set_normalization(checkpoint.mean, checkpoint.std)
    return model.eval()


def load(path: Path | str) -> Classifier:
    """The classifier in a file of ours or of the challenge winner's layout, in eval mode.

    Raises CheckpointError where the file cannot be read or does not fit.
    """
    return from_checkpoint(Checkpoint.read(Path(path)), Path(path))


def parameter_groups(
    model: Classifier, lr_head: float, lr_backbone: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Parameters that learn, for an optimizer: head and backbone apart; biases and norms without weight decay.

    With a ``layer_decay`` below 1, each layer of the backbone learns that much slower than the one above it (layers as
    timm groups them). timm's own groups carry a factor that torch's schedulers pass over; these carry the rate itself.
    """
    groups: dict[tuple[str, float, bool], list[nn.Parameter]] = {}
    factors = _layer_factors(model.backbone, layer_decay)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = "backbone" if name.startswith("backbone.") else "head"
            rate = lr_head if part == "head" else lr_backbone * factors[name.removeprefix("backbone.")]
            groups.setdefault((part, rate, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "part": part, "lr": rate, "weight_decay": weight_decay if decays else 0.0}
        for (part, rate, decays), parameters in groups.items()
    ]


def _layer_factors(backbone: Any, decay: float) -> dict[str, float]:
    """The factor of each parameter's rate by name: 1 in the topmost layer of those that there are."""
    if decay == 1:
        return {name: 1.0 for name, _ in backbone.named_parameters()}
    layers = group_parameters(backbone, backbone.group_matcher(coarse=False), reverse=True)
    top = max(layers.values())
    return {name: decay ** (top - layer) for name, layer in layers.items()}


def check_backbone(name: str) -> None:
    """Raise OptionError where timm has no such model."""
    architecture, _, tag = name.partition(".")
    known = timm.is_model(architecture) and (not tag or name in timm.list_pretrained(f"{architecture}.*"))
    if not known:
        near = (
            timm.list_pretrained(f"{architecture}.*")
            if timm.is_model(architecture)
            else [*timm.list_models(), *ENCODERS]
        )
        close = difflib.get_close_matches(name, near, n=3)
        hint = f"Did you mean {listed(close)}?" if close else "See cxrlt models list, and timm.list_models()."
        raise OptionError(f"--backbone {name}: neither timm nor cxrlt has such a model.", hint)


def _create_backbone(architecture: Architecture, image_shape: tuple[int, int], drop_path: float) -> Any:
    name = architecture.backbone
    check_backbone(name)
    config = timm.get_pretrained_cfg(name)
    arguments: dict[str, Any] = {**architecture.arguments, "num_classes": 0, "global_pool": ""}
    if config and config.fixed_input_size:
        arguments["img_size"] = image_shape
    if drop_path:
        arguments["drop_path_rate"] = drop_path
    try:
        backbone = timm.create_model(name, **arguments)
    except TypeError as error:
        if unknown := [argument for argument in architecture.arguments if argument in str(error)]:
            raise OptionError(f"{name} has no {listed(unknown)}.", "The file is of another backbone.") from error
        if "drop_path_rate" not in str(error):
            raise
        raise OptionError(f"--backbone {name} has no stochastic depth.", "Pass --drop-path 0.") from error
    except AssertionError as error:
        raise OptionError(f"--backbone {name} does not work without its own head: {error}") from error
    response_norm.fuse(backbone)
    return backbone


def _load_backbone(backbone: Any, name: str, weights: Mapping[str, Tensor]) -> None:
    """Load every tensor of a backbone; a classifier that the weights have besides is left aside.

    timm's own loader passes over what is missing: with foreign names it loads nothing, and says nothing. Its remapping
    of older names and of position embeddings is used.
    """
    remap = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    try:
        tensors = dict(weights) if remap is None else remap(dict(weights), backbone)
        missing, unexpected = backbone.load_state_dict(tensors, strict=False)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"The weights do not fit {name}: {str(error).splitlines()[-1].strip()}") from error
    classifier = backbone.pretrained_cfg.get("classifier") or ()
    prefixes = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    foreign = [key for key in unexpected if not key.startswith(prefixes)]
    if missing or foreign:
        what = f"{listed(missing, 3)} missing" if missing else f"{listed(foreign, 3)} not known"
        raise CheckpointError(f"The weights do not fit {name}: {what}.", "Names must be timm's, as its hub has them.")


def _num_features(backbone: Any, name: str, image_shape: tuple[int, int]) -> int:
    """D of the feature map, found by looking at one; raises OptionError where the backbone gives none."""
    backbone.eval()
    size = "x".join(map(str, dict.fromkeys(image_shape)))
    try:
        with torch.inference_mode():
            features = _as_map(backbone(torch.zeros(1, 3, *image_shape)), backbone, image_shape)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise OptionError(f"--image-size {size} does not suit {name}: {reason}.") from error
    if features is None:
        raise OptionError(
            f"--backbone {name} gives no feature map of {size} px that a head could look at.",
            "A transformer wants --image-size in multiples of its patches.",
        )
    backbone.train()
    return features.shape[1]


def _as_map(features: Tensor, backbone: Any, image_shape: Sequence[int]) -> Tensor | None:
    """What a backbone gives for an image of this height and width as ``[N, D, H, W]``; None where that is no map."""
    height, width = image_shape

    def skew(rows: int, columns: int) -> int:
        """How far from the image's shape such a map is."""
        return abs(rows * width - columns * height)

    if features.ndim == 4:
        channels_last = skew(*features.shape[1:3]) < skew(*features.shape[2:])
        return features.permute(0, 3, 1, 2) if channels_last else features
    if features.ndim != 3:
        return None
    tokens = features[:, getattr(backbone, "num_prefix_tokens", 0) :]
    rows = round(math.sqrt(tokens.shape[1] * height / width))
    columns = tokens.shape[1] // max(1, rows)
    if rows * columns != tokens.shape[1] or skew(rows, columns):
        return None
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, rows, columns)
