"""Every entry of the registry, held against timm."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import OptionError
from cxrlt_cli.nets.checkpoints import ARGUMENTS, Architecture, check_arguments
from cxrlt_cli.nets.classifier import Classifier, check_backbone, load
from cxrlt_cli.nets.encoder_files import shapes_of
from cxrlt_cli.nets.encoders import ENCODERS, RAD_DINO, Encoder

EVERY = pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
MILLIONS = {"rad-dino": 86, "eva-x-tiny": 5, "eva-x-small": 21, "eva-x-base": 85, "whyxrayclip": 303, "biomedclip": 85,
            "medsiglip-448": 413, "xrv-chex": 7}  # fmt: skip


@EVERY
def test_it_says_all_that_is_wanted(encoder: Encoder) -> None:
    assert encoder.licence
    assert encoder.films
    assert all(encoder.films)
    assert encoder.about
    assert encoder.repository.count("/") == 1
    assert encoder.revision == "main" or len(encoder.revision) == 7
    assert encoder.file.endswith((".safetensors", ".bin", ".pt"))
    assert all(0 < value < 1 for value in (*encoder.mean, *encoder.std))
    assert encoder.name == encoder.name.replace("/", "").replace(" ", "")


@EVERY
def test_timm_makes_it(encoder: Encoder) -> None:
    check_backbone(encoder.backbone)
    check_arguments(dict(encoder.arguments))
    assert set(encoder.arguments) <= set(ARGUMENTS)
    shapes = shapes_of(encoder)
    number = sum(torch.Size(shape).numel() for shape in shapes.values())
    if encoder.name in MILLIONS:
        assert number // 10**6 == MILLIONS[encoder.name]
    if "pos_embed" in shapes:
        side = encoder.image_size // encoder.multiple
        assert shapes["pos_embed"][1] - side**2 in (0, 1), "a token for each patch, and the class token"
        assert shapes["patch_embed.proj.weight"][2:] == (encoder.multiple,) * 2


@EVERY
def test_only_sizes_that_suit_it_are_taken(encoder: Encoder) -> None:
    encoder.require_size((encoder.image_size,) * 2)
    encoder.require_size((encoder.image_size, encoder.image_size + encoder.multiple))
    if encoder.multiple > 1:
        with pytest.raises(OptionError, match="whose patches are of"):
            encoder.require_size((encoder.image_size, encoder.image_size + 1))


def test_the_nearest_sizes_are_named() -> None:
    with pytest.raises(OptionError, match="Pass 504 or 518") as caught:
        RAD_DINO.require_size((512, 512))
    assert "14 pixels" in caught.value.message
    with pytest.raises(OptionError, match="Pass 42;"):
        RAD_DINO.require_size((42, 33))


def test_norms_are_as_the_towers_were_trained_with() -> None:
    """open_clip's own have 1e-5, transformers' DINOv2 and SigLIP 1e-6."""
    found = {}
    with torch.device("meta"):
        for name in ("whyxrayclip", "rad-dino", "medsiglip-448"):
            model: Any = timm.create_model(ENCODERS[name].backbone, num_classes=0)
            found[name] = model.norm.eps
    assert found == {"whyxrayclip": 1e-5, "rad-dino": 1e-6, "medsiglip-448": 1e-6}


@pytest.mark.parametrize("name", ["eva-x-tiny", "dinov3-vit-small", "xrv-chex"])
def test_a_classifier_is_made_of_it_and_read_again(name: str, tmp_path: Path) -> None:
    encoder = ENCODERS[name]
    architecture = Architecture(encoder.backbone, "linear", arguments=encoder.arguments)
    model = Classifier(architecture, ("a",), Preprocessing(96)).eval()
    model.set_normalization(encoder.mean, encoder.std)
    images = torch.randn(1, 3, 96, 96)
    assert model.feature_map(images).shape[2:] == ((3, 3) if encoder.multiple == 1 else (6, 6))
    model.checkpoint().write(tmp_path / "best.safetensors")
    again = load(tmp_path / "best.safetensors")
    assert (again.mean, again.std) == (encoder.mean, encoder.std)
    assert again.architecture == architecture
    assert torch.equal(again(images), model(images))
