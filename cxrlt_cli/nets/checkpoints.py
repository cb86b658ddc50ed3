"""The artefact: weights, and in the same file everything that is needed to use them.

A checkpoint is a safetensors file whose header holds one JSON value under ``cxrlt``, which ends with a checksum of
itself and of all tensors, so that damage is noticed. Also read: files of format 1, which have none, and the layout in
which the winner of CXR-LT 2026 published its weights.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from cxrlt_cli import __version__
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.files import replacing
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.names import fault_of_name, meant, shown
from cxrlt_cli.nets.heads import HEADS
from cxrlt_cli.nets.tensors import Content, read, sealed

ENCODER = "encoder"  # names, in the header of a file of weights, an encoder that has no head
FORMAT = 2  # 1, of cxrlt 0.1.0, has no digest
NOVELTY = "novelty."  # begins the names of tensors that are no weights
MAX_IMAGE_SIZE, MAX_HEADS, MAX_SIDE, LARGE = 8192, 64, 512, 1e6  # MAX_SIDE: of patches, and of maps in patches
COLORS = ("red", "green", "blue")
_BLOCK = re.compile(r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Arguments of timm's models that a header may name, none of which reads or fetches; and the words that may stand there.
ARGUMENTS: dict[str, tuple[str, ...]] = {"patch_size": (), "ref_feat_shape": (), "act_layer": ("gelu_tanh",)}
Triple = tuple[float, float, float]

# ConvNeXtV2 by the width of its stem and the depths of its stages (Woo et al., CVPR 2023, table of variants).
CONVNEXTV2 = {
    (40, (2, 2, 6, 2)): "convnextv2_atto",
    (48, (2, 2, 6, 2)): "convnextv2_femto",
    (64, (2, 2, 6, 2)): "convnextv2_pico",
    (80, (2, 2, 8, 2)): "convnextv2_nano",
    (96, (3, 3, 9, 3)): "convnextv2_tiny",
    (96, (3, 3, 27, 3)): "convnextv2_small",
    (128, (3, 3, 27, 3)): "convnextv2_base",
    (192, (3, 3, 27, 3)): "convnextv2_large",
    (352, (3, 3, 27, 3)): "convnextv2_huge",
}


@dataclass(frozen=True)
class Architecture:
    """What a classifier is made of; with its findings, all that its modules depend on."""

    backbone: str
    head: str
    csra_heads: int = 1
    csra_lambda: float = 0.1
    prior_bias: bool = False
    logit_scale: float = 1.0  # of the head's logits; 30 where they were trained with LDAM
    arguments: Mapping[str, Any] = field(default_factory=dict)  # that timm makes the backbone with, by ``ARGUMENTS``

    def to_json(self) -> dict[str, Any]:
        """Without ``arguments`` where there are none, so that a cxrlt that knows none reads it too."""
        values = asdict(self)
        return values if self.arguments else {name: value for name, value in values.items() if name != "arguments"}


@dataclass(frozen=True)
class Checkpoint:
    """A classifier as a value."""

    architecture: Architecture
    findings: tuple[str, ...]
    preprocessing: Preprocessing
    mean: Triple
    std: Triple
    tensors: Mapping[str, Tensor]
    training: Mapping[str, Any] = field(default_factory=dict)  # options, counts, epoch, score: what it came from
    novelty: Mapping[str, Tensor] = field(default_factory=dict)  # of the films it was trained on, see ``nets.novelty``
    checked: bool = True  # whether there was a checksum, its own or that of its folder, which told that it is whole

    @property
    def policy(self) -> str | None:
        """By which rules the labels were made that it was trained on; None where that is not known."""
        return self.training.get("labels")

    def write(self, path: Path) -> None:
        """The file appears whole or not at all."""
        header = {
            "format": FORMAT,
            "cxrlt": __version__,
            "architecture": self.architecture.to_json(),
            "findings": list(self.findings),
            "image_size": self.preprocessing.to_json()["image_size"],
            "mean": list(self.mean),
            "std": list(self.std),
            "preprocessing": self.preprocessing.to_json(),
            "preprocessing_hash": self.preprocessing.hash,
            "training": dict(self.training),
        }
        everything = {**self.tensors, **self.novelty}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in everything.items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata={"cxrlt": sealed(header, tensors)})

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """The checkpoint in a file of ours, or of the winner's layout.

        Raises CheckpointError where the file is missing, damaged, of a newer format, or neither of the two.
        """
        return cls.of(read(path), path)

    @classmethod
    def of(cls, content: Content, path: Path) -> "Checkpoint":
        """As ``read``, of a file whose content was read from ``path``."""
        tensors, header = content.tensors, content.header
        if header is None:
            return replace(_read_winner(path, tensors), checked=content.checked)
        if ENCODER in header:
            raise CheckpointError(
                f"{path} holds an encoder, which has no head yet.", f"Train one: cxrlt train --weights {path} --csv CSV"
            )
        try:
            version = whole(header, "format", 1, int(LARGE))
            if version > FORMAT:
                raise CheckpointError(f"{path} is of format {version}; this cxrlt reads {FORMAT}.", "Update cxrlt.")
            if version > 1 and not content.has_digest:
                raise ValueError("its digest is missing")
            return cls(
                architecture=_architecture(header["architecture"]),
                findings=_findings(header["findings"]),
                preprocessing=_preprocessing(path, header),
                mean=three(header, "mean", least=-LARGE),
                std=three(header, "std", least=1e-9),
                tensors={name: tensor for name, tensor in tensors.items() if not name.startswith(NOVELTY)},
                training=_training(header["training"]),
                novelty={name: tensor for name, tensor in tensors.items() if name.startswith(NOVELTY)},
                checked=content.checked,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} has a header that cxrlt cannot read ({error!r}).") from error


def _number(values: Mapping[str, Any], name: str, low: float = -LARGE, high: float = LARGE) -> Any:
    """A number of a header; raises ValueError where it is none, or not from ``low`` to ``high``."""
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is {str(value)[:40]}")
    return value


def whole(values: Mapping[str, Any], name: str, low: int, high: int) -> int:
    if not isinstance(_number(values, name, low, high), int):
        raise ValueError(f"{name} is {values[name]}, no whole number")
    return int(values[name])


def three(header: Mapping[str, Any], name: str, least: float) -> Triple:
    """Red, green and blue of a header; raises ValueError where they are not three numbers from ``least`` on."""
    values = dict(zip((f"{name} of {color}" for color in COLORS), header[name], strict=True))
    red, green, blue = (_number(values, color, least) for color in values)
    return red, green, blue


def _architecture(values: Mapping[str, Any]) -> Architecture:
    architecture = Architecture(**values)
    values = asdict(architecture)
    texts = (architecture.backbone, architecture.head)
    if not all(isinstance(text, str) for text in texts) or not isinstance(architecture.prior_bias, bool):
        raise TypeError(f"architecture is {str(values)[:200]}")
    if architecture.head not in HEADS:
        raise ValueError(f"the head {shown(architecture.head)} is not known.{meant(architecture.head, HEADS)}")
    whole(values, "csra_heads", 1, MAX_HEADS)
    _number(values, "csra_lambda")
    _number(values, "logit_scale")
    check_arguments(architecture.arguments)
    return architecture


def check_arguments(arguments: object) -> None:
    """Raise ValueError unless these stand in ``ARGUMENTS``: a known word, a whole number, or a list of two."""
    if not isinstance(arguments, dict) or set(arguments) - set(ARGUMENTS):
        raise ValueError(f"the backbone's arguments are {str(arguments)[:80]}; known are {', '.join(ARGUMENTS)}")
    for name, value in arguments.items():
        words = ARGUMENTS[name]
        if words and value not in words:
            raise ValueError(f"{name} is {str(value)[:40]}, not {' or '.join(words)}")
        for side in () if words else value if isinstance(value, list) and len(value) == 2 else [value]:
            whole({name: side}, name, 1, MAX_SIDE)


def _findings(names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise TypeError("findings are no list of names")
    if len(set(names)) < len(names):
        raise ValueError("a finding stands there twice")
    for name in names:
        if fault := fault_of_name(name):
            raise ValueError(f"there is the finding {shown(name)}, which {fault}")
    return tuple(names)


def _training(values: object) -> dict[str, Any]:
    if not isinstance(values, dict) or not isinstance(values.get("options", {}), dict):
        raise TypeError("training holds no options by name")
    if not isinstance(values.get("labels"), str | None):
        raise TypeError("training says of its labels something that is no text")
    return values


def _preprocessing(path: Path, header: Mapping[str, Any]) -> Preprocessing:
    interpolation = header["preprocessing"]["interpolation"]
    if interpolation not in ("area", "linear"):
        raise ValueError(f"interpolation is {str(interpolation)[:40]}")
    fit = header["preprocessing"].get("fit", "stretch")
    if fit not in ("stretch", "pad"):
        raise ValueError(f"fit is {str(fit)[:40]}")
    preprocessing = Preprocessing(_image_size(header), interpolation, fit)
    if preprocessing.hash != header["preprocessing_hash"] or preprocessing.to_json() != header["preprocessing"]:
        raise CheckpointError(
            f"{path} was trained on films prepared in another way ({str(header['preprocessing'])[:200]}).",
            f"This cxrlt is {__version__}, the file is of {str(header['cxrlt'])[:40]}: use that version.",
        )
    return preprocessing


def _image_size(header: Mapping[str, Any]) -> int | tuple[int, int]:
    if not isinstance(header["image_size"], list):
        return whole(header, "image_size", 1, MAX_IMAGE_SIZE)
    if len(header["image_size"]) != 2:
        raise ValueError(f"image_size is {str(header['image_size'])[:40]}")
    sides = dict(zip(("image_size, height", "image_size, width"), header["image_size"], strict=True))
    height, width = (whole(sides, side, 1, MAX_IMAGE_SIZE) for side in sides)
    return height, width


def _read_winner(path: Path, tensors: dict[str, Tensor]) -> Checkpoint:
    """``backbone.* bn.* head.classifier.* head.conv_att.weight``: our ``csra-winner``, without a header."""
    if "head.conv_att.weight" not in tensors or "backbone.stem.0.weight" not in tensors:
        raise CheckpointError(
            f"{path} is neither a checkpoint of cxrlt nor of the challenge winner's layout.",
            "A file of backbone weights goes to --weights of cxrlt train.",
        )
    bias, stem = tensors.get("head.classifier.bias"), tensors["backbone.stem.0.weight"]
    if bias is None or bias.ndim != 1 or stem.ndim != 4:
        raise CheckpointError(f"{path} has the challenge winner's layout, but not its shapes.")
    if len(bias) != len(CXR_LT_2026):
        raise CheckpointError(f"{path} has {len(bias)} findings without names; CXR-LT 2026 has {len(CXR_LT_2026)}.")
    blocks = {match.groups() for name in tensors if (match := _BLOCK.match(name))}
    depths = Counter(stage for stage, _ in blocks)
    variant = (len(stem), tuple(depths[stage] for stage in sorted(depths)))
    if variant not in CONVNEXTV2:
        raise CheckpointError(f"{path} holds no ConvNeXtV2 that is known (width and depths: {variant}).")
    return Checkpoint(
        architecture=Architecture(CONVNEXTV2[variant], "csra-winner"),
        findings=CXR_LT_2026,
        preprocessing=Preprocessing(512, "linear"),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        tensors=tensors,
    )
