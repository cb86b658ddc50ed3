"""The artefact: weights, and in the same file everything that is needed to use them.

A checkpoint is a safetensors file whose header holds one JSON value under ``cxrlt``. Also read: the layout in which the
winner of CXR-LT 2026 published its weights. Nothing that could run code is ever unpickled.
"""

import json
import mmap
import pickle
import re
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cxrlt_cli import __version__
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.files import replacing
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.names import fault_of_name, shown
from cxrlt_cli.nets.manifest import check

FORMAT = 1
NOVELTY = "novelty."  # begins the names of tensors that are no weights
MAX_IMAGE_SIZE, MAX_HEADS, LARGE = 8192, 64, 1e6
HINT = "Ask its author for a safetensors file."
COLORS = ("red", "green", "blue")
_BLOCK = re.compile(r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

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


@dataclass(frozen=True)
class Checkpoint:
    """A classifier as a value."""

    architecture: Architecture
    findings: tuple[str, ...]
    preprocessing: Preprocessing
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    tensors: Mapping[str, Tensor]
    training: Mapping[str, Any] = field(default_factory=dict)  # options, counts, epoch, score: what it came from
    novelty: Mapping[str, Tensor] = field(default_factory=dict)  # of the films it was trained on, see ``nets.novelty``

    def write(self, path: Path) -> None:
        """The file appears whole or not at all."""
        header = {
            "format": FORMAT,
            "cxrlt": __version__,
            "architecture": asdict(self.architecture),
            "findings": list(self.findings),
            "image_size": self.preprocessing.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "preprocessing": self.preprocessing.to_json(),
            "preprocessing_hash": self.preprocessing.hash,
            "training": dict(self.training),
        }
        everything = {**self.tensors, **self.novelty}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in everything.items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata={"cxrlt": json.dumps(header)})

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """The checkpoint in a file of ours, or of the winner's layout.

        Raises CheckpointError where the file is missing, damaged, of a newer format, or neither of the two.
        """
        tensors, header = read_tensors(path)
        if header is None:
            return _read_winner(path, tensors)
        try:
            version = _number(header, "format")
            if version > FORMAT:
                raise CheckpointError(f"{path} is of format {version}; this cxrlt reads {FORMAT}.", "Update cxrlt.")
            return cls(
                architecture=_architecture(header["architecture"]),
                findings=_findings(header["findings"]),
                preprocessing=_preprocessing(path, header),
                mean=_three(header, "mean", least=-LARGE),
                std=_three(header, "std", least=1e-9),
                tensors={name: tensor for name, tensor in tensors.items() if not name.startswith(NOVELTY)},
                training=_training(header["training"]),
                novelty={name: tensor for name, tensor in tensors.items() if name.startswith(NOVELTY)},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} has a header that cxrlt cannot read ({error!r}).") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors of a safetensors or PyTorch file in float32, and the header that cxrlt wrote, if it did.

    A folder, of a run or as ``hub`` fetched it, stands for its ``best.safetensors``.

    Raises CheckpointError where the file is missing, damaged, or holds more than tensors.
    """
    if path.is_dir() and (path / "best.safetensors").is_file():
        check(path)
        path = path / "best.safetensors"
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {what}.", "Pass a checkpoint, such as runs/train-1/best.safetensors.")
    try:
        if _is_safetensors(path):
            tensors, text = _read_safetensors(path)
            header = json.loads(text) if text else None
            if text and not isinstance(header, dict):
                raise ValueError("its header is no JSON object")
        else:
            tensors, header = read_pytorch(path), None
        return {name: _widened(tensor) for name, tensor in tensors.items()}, header
    except (SafetensorError, *_FAULTS) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())
    return CheckpointError(f"{path} is damaged or no file of weights ({reason[:300]}).")


# What torch, its unpickler and JSON raise on damaged files.
_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def _widened(tensor: Tensor) -> Tensor:
    """In float32; one of few numbers that are repeated to many, which only a file made for it holds, is refused."""
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError("a tensor is larger than what is stored of it")
    return tensor.float() if tensor.is_floating_point() else tensor


def _is_safetensors(path: Path) -> bool:
    """By its first bytes, the length of a header in JSON; a damaged file of that name is one too."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{" or path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], str | None]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get("cxrlt")  # noqa: SIM118


def read_pytorch(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` or ``.bin`` file; raises CheckpointError where it holds more than that."""
    with path.open("rb") as file:
        if not file.read(4).startswith((b"PK\x03\x04", b"\x80")):  # a zip file or a pickle
            raise CheckpointError(
                f"{path} is no file of weights.", "Pass a .safetensors file, or a .pth file of tensors."
            )
    try:
        _check_pytorch(path)
        with warnings.catch_warnings():  # of versions of pickle; what cannot be read is an error
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, *_FAULTS) as error:  # OSError: torch seeks to where a damaged file points
        raise _damaged(path, error) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not read: it holds more than tensors, which could run code on this machine.",
            HINT,
        ) from error
    for key in ("model_state_dict", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no dictionary of tensors.")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _check_pytorch(path: Path) -> None:
    """What torch's own unpickler, which runs nothing, would still fill all memory with.

    PyTorch's files are zip files whose members are stored as they are: compressed ones inflate without end. Of all that
    the unpickler may call, ``bytearray`` alone takes a number of bytes to make; no tensor needs it.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"bytearray") >= 0:
            raise CheckpointError(f"{path} is not read: it holds more than tensors.", HINT)
    try:
        with zipfile.ZipFile(path) as parts:
            members = parts.infolist()
    except (zipfile.BadZipFile, NotImplementedError):
        return  # no zip file: a pickle of an older PyTorch, or damage, which torch.load raises on right after this
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(f"{path} is compressed, which no file of PyTorch is.", HINT)
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise CheckpointError(f"{path} is damaged: its parts are larger than the file.")


def _number(values: Mapping[str, Any], name: str, low: float = -LARGE, high: float = LARGE) -> Any:
    """A number of a header; raises ValueError where it is none, or not from ``low`` to ``high``."""
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is {str(value)[:40]}")
    return value


def _whole(values: Mapping[str, Any], name: str, low: int, high: int) -> int:
    if not isinstance(_number(values, name, low, high), int):
        raise ValueError(f"{name} is {values[name]}, no whole number")
    return int(values[name])


def _three(header: Mapping[str, Any], name: str, least: float) -> tuple[float, float, float]:
    values = dict(zip((f"{name} of {color}" for color in COLORS), header[name], strict=True))
    red, green, blue = (_number(values, color, least) for color in values)
    return red, green, blue


def _architecture(values: Mapping[str, Any]) -> Architecture:
    architecture = Architecture(**values)
    values = asdict(architecture)
    texts = (architecture.backbone, architecture.head)
    if not all(isinstance(text, str) for text in texts) or not isinstance(architecture.prior_bias, bool):
        raise TypeError(f"architecture is {str(values)[:200]}")
    _whole(values, "csra_heads", 1, MAX_HEADS)
    _number(values, "csra_lambda")
    _number(values, "logit_scale")
    return architecture


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
    return values


def _preprocessing(path: Path, header: Mapping[str, Any]) -> Preprocessing:
    interpolation = header["preprocessing"]["interpolation"]
    if interpolation not in ("area", "linear"):
        raise ValueError(f"interpolation is {str(interpolation)[:40]}")
    preprocessing = Preprocessing(_whole(header, "image_size", 1, MAX_IMAGE_SIZE), interpolation)
    if preprocessing.hash != header["preprocessing_hash"]:
        raise CheckpointError(
            f"{path} was trained on films prepared in another way ({str(header['preprocessing'])[:200]}).",
            f"This cxrlt is {__version__}, the file is of {str(header['cxrlt'])[:40]}: use that version.",
        )
    return preprocessing


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
