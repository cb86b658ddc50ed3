"""What ``train`` begins with: ``--backbone`` and ``--weights``, and what an encoder says of options not typed."""

from collections.abc import Set

from cxrlt_cli.config import TrainOptions, flags
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.nets.classifier import check_backbone
from cxrlt_cli.nets.encoders import ENCODERS, Encoder
from cxrlt_cli.nets.normalization import Normalization
from cxrlt_cli.nets.pretrained import Beginning, begin


def with_backbone(options: TrainOptions, typed: Set[str]) -> TrainOptions:
    """Options with what the encoder that ``--backbone`` names says of those that were not ``typed``.

    Raises OptionError where there is no such model, or the image size does not suit it.
    """
    encoder = ENCODERS.get(options.backbone)
    if encoder is None:
        check_backbone(options.backbone)
        return options
    return _suited(options, typed, encoder)


def with_weights(options: TrainOptions, typed: Set[str]) -> tuple[TrainOptions, Beginning]:
    """What ``--weights`` names, and the options with what it says of those that were not ``typed``.

    Raises as ``begin`` does, and OptionError where the image size does not suit what it holds.
    """
    found = begin(options.backbone, options.weights, is_typed="backbone" in typed)
    options = options.model_copy(update={"backbone": found.name})
    return (options if found.encoder is None else _suited(options, typed, found.encoder)), found


def normalization_of(options: TrainOptions, found: Beginning) -> Normalization:
    """As typed, or else as the weights want it."""
    mean, std = options.mean or found.normalization.mean, options.std or found.normalization.std
    return Normalization((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def facts_of(options: TrainOptions, found: Beginning) -> dict[str, str]:
    """What the plan says of the beginning: the encoder, the films it has seen, how films are normalised and why so."""
    facts = {}
    if found.encoder is not None:
        encoder = found.encoder
        facts["encoder"] = f"{encoder.name}: {encoder.repository} at {encoder.revision[:7]}, {encoder.licence}"
        if found.tensors is not None:
            facts["films seen"] = encoder.told_of_films
    typed = {name for name in ("mean", "std") if getattr(options, name) is not None}
    source = f"{flags(options, typed)}; {found.source} has {_told(found.normalization)}" if typed else found.source
    facts["normalisation"] = f"{_told(normalization_of(options, found))} ({source})"
    return facts


def _suited(options: TrainOptions, typed: Set[str], encoder: Encoder) -> TrainOptions:
    changes: dict[str, object] = {}
    if "image_size" not in typed:
        changes["image_size"] = encoder.image_size
    if "drop_path" not in typed and not encoder.stochastic_depth:
        changes["drop_path"] = 0.0
    options = options.model_copy(update=changes)
    encoder.require_size(Preprocessing(options.image_size).shape)
    return options


def _told(normalization: Normalization) -> str:
    """One number of a mean or a deviation where all three channels have the same."""
    mean, std = (
        " ".join(f"{value:.3g}" for value in (three if len(set(three)) > 1 else three[:1])) for three in normalization
    )
    return f"mean {mean}, deviation {std}"
