"""Files of encoders: safetensors under timm's names, with all that the registry says of the encoder in the header.

They are made whole or not at all: an encoder is held against timm's model, name by name and shape by shape.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from cxrlt_cli import __version__
from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import CheckpointError, listed
from cxrlt_cli.names import is_text
from cxrlt_cli.nets.checkpoints import ENCODER, LARGE, MAX_IMAGE_SIZE, check_arguments, three, whole
from cxrlt_cli.nets.encoders import Encoder
from cxrlt_cli.nets.layouts import to_timm
from cxrlt_cli.nets.normalization import Normalization, of_file
from cxrlt_cli.nets.tensors import sealed

OPEN_CLIP = "open_clip_config.json"


def converted(tensors: Mapping[str, Tensor], encoder: Encoder, path: Path) -> dict[str, Tensor]:
    """The tensors of timm's model, float32, from those that were read from ``path`` under the encoder's own names.

    Raises CheckpointError unless each is there, of its shape, and no other.
    """
    tower = to_timm(tensors, encoder.layout)
    wanted = shapes_of(encoder)
    shapes = {name: tuple(tensor.shape) for name, tensor in tower.items()}
    faults = {
        "missing": sorted(wanted.keys() - shapes.keys()),
        "not known": sorted(shapes.keys() - wanted.keys()),
        "of another shape": [name for name in wanted if name in shapes and shapes[name] != wanted[name]],
    }
    if told := [f"{listed(names, 3)} {what}" for what, names in faults.items() if names]:
        raise CheckpointError(f"{path} does not hold {encoder.name}: {'; '.join(told)}.")
    return {name: tower[name].contiguous() for name in wanted}


def shapes_of(encoder: Encoder) -> dict[str, tuple[int, ...]]:
    """The tensors of timm's model of an encoder at the size it was trained with."""
    config = timm.get_pretrained_cfg(encoder.backbone)
    size: dict[str, Any] = {"img_size": encoder.image_size} if config and config.fixed_input_size else {}
    with torch.device("meta"):
        model = timm.create_model(encoder.backbone, num_classes=0, global_pool="", **size, **encoder.arguments)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def write_encoder(tensors: Mapping[str, Tensor], encoder: Encoder, commit: str, path: Path) -> None:
    """Tensors by timm's names, and what is known of them; ``commit``: that they were fetched from."""
    header = {ENCODER: asdict(replace(encoder, revision=commit, layout="timm")), "cxrlt": __version__}
    save_file(dict(tensors), path, metadata={"cxrlt": sealed(header, tensors)})


def encoder_of(header: Mapping[str, Any], path: Path) -> Encoder:
    """What ``write_encoder`` wrote; raises CheckpointError where it cannot be read."""
    try:
        values = header[ENCODER]
        texts = [one.name for one in fields(Encoder) if one.type is str or one.name == "layout"]
        films = values["films"]
        if not all(
            isinstance(text, str) and is_text(text.replace("\n", "")) for text in (*map(values.get, texts), *films)
        ):
            raise ValueError("one of its texts is none")
        check_arguments(values["arguments"])
        whole(values, "image_size", 32, MAX_IMAGE_SIZE)
        whole(values, "multiple", 1, MAX_IMAGE_SIZE)
        if not isinstance(values["stochastic_depth"], bool) or not isinstance(films, list):
            raise TypeError("stochastic_depth or films are of another kind")
        mean, std = three(values, "mean", least=-LARGE), three(values, "std", least=1e-9)
        return Encoder(**{**values, "mean": mean, "std": std, "films": tuple(films)})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} says of its encoder what cxrlt cannot read ({error!r}).") from error


def check_config(encoder: Encoder, folder: Path) -> None:
    """Raise CheckpointError where the configuration in a folder names another normalisation or network than we do."""
    if not encoder.config or not (folder / encoder.config).is_file():
        return
    named, known = of_file(folder / encoder.config), Normalization(encoder.mean, encoder.std)
    if named is not None and any(
        abs(theirs - ours) > 1e-4 for pair in zip(named, known, strict=True) for theirs, ours in zip(*pair, strict=True)
    ):
        raise CheckpointError(
            f"{folder / encoder.config} names mean {named.mean} and deviation {named.std}; cxrlt knows {encoder.name} "
            f"with {known.mean} and {known.std}.",
            "Is it another model? Name its own --backbone, and pass --mean and --std.",
        )
    if encoder.config == OPEN_CLIP:
        content = read_json(folder / OPEN_CLIP)
        if isinstance(content, dict) and (content.get("model_cfg") or {}).get("quick_gelu"):
            raise CheckpointError(
                f"{folder / OPEN_CLIP} names QuickGELU, which {encoder.backbone} does not compute with.",
                "Name timm's model that does: --backbone vit_large_patch14_clip_quickgelu_224.",
            )
