"""Weights that a backbone starts from: timm's hub, a package, a file, a folder."""

from pathlib import Path

import huggingface_hub
from torch import Tensor

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.names import meant_path
from cxrlt_cli.nets import hub
from cxrlt_cli.nets.imagenet import imagenet_weights
from cxrlt_cli.nets.manifest import check
from cxrlt_cli.nets.tensors import read_tensors

FILE_NAMES = ("model.safetensors", "pytorch_model.bin")


def starting_weights(backbone: str, weights: str) -> dict[str, Tensor] | None:
    """The tensors that ``--weights`` names for a timm backbone; None for ``none``.

    ``pretrained`` looks on this machine first, in the hub's own cache and in ours, then at the hub. Raises ModelError,
    within seconds, where none has them; CheckpointError where a file or folder holds none. ``imagenet`` looks in
    the packages that ``nets.imagenet`` names, and raises what that says.
    """
    if weights == "none":
        return None
    if weights == "imagenet":
        return imagenet_weights(backbone)
    path = _fetch(backbone) if weights == "pretrained" else _find(Path(weights))
    tensors, _ = read_tensors(path)
    own = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    return own or tensors


def _find(path: Path) -> Path:
    if path.is_dir():
        check(path)
        for name in FILE_NAMES:
            if (path / name).is_file():
                return path / name
        raise CheckpointError(f"--weights {path} has no {' and no '.join(FILE_NAMES)}.")
    if not path.exists():
        raise CheckpointError(
            f"--weights {path} does not exist.{meant_path(path)}",
            "Pass pretrained, imagenet, none, or a file or folder of weights.",
        )
    return path


def _fetch(backbone: str) -> Path:
    source = hub.find(backbone)
    for name in FILE_NAMES:
        cached = huggingface_hub.try_to_load_from_cache(source.repository, name)
        if isinstance(cached, str):
            return Path(cached)
    folder = hub.resolve(source)
    check(folder)
    return folder / hub.WEIGHTS["backbone"]
