"""What a backbone starts from: weights of a hub, a package, a file, a folder; and how films are normalised for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
from torch import Tensor

from cxrlt_cli.errors import CheckpointError, OptionError
from cxrlt_cli.names import meant_path
from cxrlt_cli.nets import hub
from cxrlt_cli.nets.checkpoints import ENCODER, IMAGENET_MEAN, IMAGENET_STD, Checkpoint
from cxrlt_cli.nets.encoder_files import check_config, converted, encoder_of
from cxrlt_cli.nets.encoders import ENCODERS, Encoder
from cxrlt_cli.nets.imagenet import imagenet_weights
from cxrlt_cli.nets.manifest import MANIFEST, Manifest, check
from cxrlt_cli.nets.normalization import Normalization, beside
from cxrlt_cli.nets.tensors import Content, read

FILE_NAMES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Beginning:
    """``name``: what ``--backbone`` calls it; ``backbone``, ``arguments``: timm's model; ``source``: what said how to
    normalise; ``tensors``: by timm's names, None for random ones.
    """

    name: str
    backbone: str
    tensors: Mapping[str, Tensor] | None
    normalization: Normalization
    source: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    encoder: Encoder | None = None


def begin(backbone: str, weights: str, *, is_typed: bool = True) -> Beginning:
    """What ``--weights`` names for ``--backbone``: a model of timm or an encoder of the registry.

    ``pretrained`` looks on this machine first, in the hub's own cache and in ours, then at the hub. A file or folder
    that says what it holds says so for the backbone too, unless that ``is_typed``: then both must say the same. Raises
    ModelError, within seconds, where no hub has them; CheckpointError where a file or folder does not hold them;
    OptionError where it holds another backbone. ``imagenet`` looks in the packages that ``nets.imagenet`` names, and
    raises what that says.
    """
    encoder = ENCODERS.get(backbone)
    if weights == "imagenet":
        return _of_timm(backbone, imagenet_weights(backbone))
    if weights == "none":
        return _of_timm(backbone, None) if encoder is None else _of_encoder(encoder, None, "the registry")
    if weights == "pretrained":
        return _of_file(_fetch(backbone), backbone, is_typed=True)
    return _of_file(_find(Path(weights), encoder), backbone, is_typed)


def _of_file(path: Path, backbone: str, is_typed: bool) -> Beginning:
    content = read(path)
    if content.header is not None and ENCODER in content.header:
        encoder = encoder_of(content.header, path)
        if is_typed and not _is(encoder, backbone):
            raise _other(path, encoder.name, backbone)
        return _of_encoder(encoder, content.tensors, f"the header of {path.name}")
    if content.header is not None:
        return _of_checkpoint(content, path, backbone, is_typed)
    kept = _named_beside(path)
    if is_typed and kept is not None and not _is(kept, backbone):
        raise _other(path, kept.name, backbone)
    if named := kept or (ENCODERS.get(backbone) if is_typed else None):
        check_config(named, path.parent)
        return _of_encoder(named, converted(content.tensors, named, path), "the registry")
    return _of_timm(backbone, _own(content.tensors), beside(path.parent))


def _of_encoder(encoder: Encoder, tensors: Mapping[str, Tensor] | None, source: str) -> Beginning:
    normalization = Normalization(encoder.mean, encoder.std)
    return Beginning(encoder.name, encoder.backbone, tensors, normalization, source, encoder.arguments, encoder)


def _of_checkpoint(content: Content, path: Path, backbone: str, is_typed: bool) -> Beginning:
    """The backbone of a classifier of ours."""
    checkpoint = Checkpoint.of(content, path)
    made = checkpoint.architecture
    wanted = ENCODERS[backbone].backbone if backbone in ENCODERS else backbone
    if is_typed and made.backbone.partition(".")[0] != wanted.partition(".")[0]:
        raise _other(path, made.backbone, backbone)
    normalization = Normalization(checkpoint.mean, checkpoint.std)
    source = f"the header of {path.name}"
    return Beginning(made.backbone, made.backbone, _own(content.tensors), normalization, source, made.arguments)


def _of_timm(
    backbone: str, tensors: Mapping[str, Tensor] | None, said: tuple[Normalization, str] | None = None
) -> Beginning:
    config = timm.get_pretrained_cfg(backbone)
    red, green, blue = (config and config.mean) or IMAGENET_MEAN
    spread = (config and config.std) or IMAGENET_STD
    usual = Normalization((red, green, blue), (spread[0], spread[1], spread[2])), f"timm's for {backbone}"
    normalization, source = said or usual
    return Beginning(backbone, backbone, tensors, normalization, source)


def _own(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Those of the backbone, where a classifier's are among them."""
    own = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    return own or tensors


def _is(encoder: Encoder, backbone: str) -> bool:
    """Whether ``--backbone`` names this encoder, or timm's model of it, with or without the tag of its weights."""
    return backbone in (encoder.name, encoder.backbone, encoder.backbone.partition(".")[0])


def _other(path: Path, held: str, typed: str) -> OptionError:
    return OptionError(f"--weights {path} holds {held}, not {typed}.", f"Pass --backbone {held}, or leave it out.")


def _named_beside(path: Path) -> Encoder | None:
    """The encoder that the manifest beside a file of weights names; WhyXrayCLIP's file is as open_clip wants it."""
    has_manifest = (path.parent / MANIFEST).exists()
    return ENCODERS.get(Manifest.read(path.parent).name) if has_manifest else None


def _find(path: Path, encoder: Encoder | None) -> Path:
    if path.is_dir():
        check(path)
        named = [encoder.file] if encoder is not None else [one.file for one in ENCODERS.values()]
        found = [name for name in (*FILE_NAMES, *dict.fromkeys(named)) if (path / name).is_file()]
        if not found:
            known = [encoder.file] if encoder is not None and encoder.file not in FILE_NAMES else []
            raise CheckpointError(f"--weights {path} has no {' and no '.join((*FILE_NAMES, *known))}.")
        return path / found[0]
    if not path.exists():
        raise CheckpointError(
            f"--weights {path} does not exist.{meant_path(path)}",
            "Pass pretrained, imagenet, none, or a file or folder of weights.",
        )
    return path


def _fetch(backbone: str) -> Path:
    source = hub.find(backbone)
    names = FILE_NAMES if source.encoder is None else (source.encoder.file,)
    for name in names if source.revision == "main" else ():
        cached = huggingface_hub.try_to_load_from_cache(source.repository, name)
        if isinstance(cached, str):
            return Path(cached)
    folder = hub.resolve(source)
    check(folder)
    return folder / hub.WEIGHTS[source.kind]
