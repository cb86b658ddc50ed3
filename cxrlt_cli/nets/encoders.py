"""Encoders that a classifier can start from: where each lies, on which terms, which films it has seen, how it is used.

What is said of an encoder was read where the comment above it says, in November 2026; none of the hub's files could be
opened where this was written. ``nets.encoder_files`` turns them into files of ours. Not here: Ark+, for its licence;
and weights that have learned from PadChest's labels, for CXR-LT 2026 is judged on PadChest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cxrlt_cli.errors import OptionError
from cxrlt_cli.nets.checkpoints import IMAGENET_MEAN, IMAGENET_STD, Triple
from cxrlt_cli.nets.layouts import Layout

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF: Triple = (0.5, 0.5, 0.5)


def grey(level: float) -> Triple:
    return level, level, level


@dataclass(frozen=True)
class Encoder:
    """All that is known of an encoder.

    ``revision``: a commit by its first digits; or ``main``, whose commit its manifest keeps. ``config``: the file of
    the repository that names mean and deviation, which must be these. ``multiple``: of which the image size must be.
    ``by_hand``: how its file is had, where the hub has none that could be read without running code.
    """

    name: str
    about: str
    repository: str
    revision: str
    file: str
    layout: Layout
    config: str
    licence: str
    films: tuple[str, ...]
    backbone: str  # timm's name, made with ``arguments``
    mean: Triple
    std: Triple
    image_size: int
    multiple: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    terms: str = ""
    by_hand: str = ""
    stochastic_depth: bool = True

    @property
    def told_of_films(self) -> str:
        return f"{', '.join(self.films)}; a score on films that it has seen is too good"

    def require_size(self, sides: tuple[int, int]) -> None:
        """Raise OptionError where the encoder takes no image of these sides, with the nearest that it takes."""
        for side in sides:
            if side % self.multiple:
                below = side // self.multiple * self.multiple
                sizes = [size for size in (below, below + self.multiple) if size >= 32]
                raise OptionError(
                    f"--image-size: {side} does not suit {self.name}, whose patches are of {self.multiple} pixels.",
                    f"Pass {' or '.join(map(str, sizes))}; it was trained with {self.image_size}.",
                )


# Model card and open_clip_config.json of yyupenn/whyxrayclip at 5967efc.
WHYXRAYCLIP = Encoder(
    name="whyxrayclip",
    about="ViT-L/14, CLIP",
    repository="yyupenn/whyxrayclip",
    revision="5967efc",
    file="open_clip_model.safetensors",
    layout="open_clip",
    config="open_clip_config.json",
    licence="MIT",
    films=("MIMIC-CXR",),
    backbone="vit_large_patch14_clip_224",
    mean=CLIP_MEAN,
    std=CLIP_STD,
    image_size=224,
    multiple=14,
)

# Model card (also in PyPI's rad-dino 0.1.1) and list of files of microsoft/rad-dino at 2ec9ca0. Mean and deviation:
# its preprocessor_config.json (364cf91), as quoted in public code.
RAD_DINO = Encoder(
    name="rad-dino",
    about="ViT-B/14, DINOv2",
    repository="microsoft/rad-dino",
    revision="2ec9ca0",
    file="backbone_compatible.safetensors",
    layout="dinov2",
    config="preprocessor_config.json",
    licence="MIT",
    films=("MIMIC-CXR", "CheXpert", "NIH", "PadChest", "BRAX"),
    backbone="vit_base_patch14_dinov2",
    mean=grey(0.5307),
    std=grey(0.2583),
    image_size=518,
    multiple=14,
)

# open_clip_config.json, licence and list of files of the repository at 9f341de.
BIOMEDCLIP = Encoder(
    name="biomedclip",
    about="ViT-B/16, CLIP",
    repository="microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    revision="9f341de",
    file="open_clip_pytorch_model.bin",
    layout="open_clip",
    config="open_clip_config.json",
    licence="MIT",
    films=("figures of PubMed Central",),
    backbone="vit_base_patch16_224",
    mean=CLIP_MEAN,
    std=CLIP_STD,
    image_size=224,
    multiple=16,
)


def _eva_x(size: str) -> Encoder:
    """hustvl/EVA-X: eva_x.py (architecture), pretrain/README.md (films), classification/utils/datasets.py (mean and
    deviation); licence and list of files of MapleF/eva_x at 35ddcd6.
    """
    return Encoder(
        name=f"eva-x-{size}",
        about=f"ViT-{ {'tiny': 'Ti', 'small': 'S', 'base': 'B'}[size] }/16, EVA-02",
        repository="MapleF/eva_x",
        revision="35ddcd6",
        file=f"eva_x_{size}_patch16_merged520k_mim.pt",
        layout="eva_x",
        config="",
        licence="MIT",
        films=("NIH", "CheXpert", "MIMIC-CXR"),
        backbone=f"eva02_{size}_patch14_224",
        mean=grey(0.49185243),
        std=grey(0.28509309),
        image_size=224,
        multiple=16,
        arguments={"patch_size": 16, "ref_feat_shape": [14, 14]},
    )


# Google's model card; films: MedGemma Technical Report, arXiv:2507.05201, table of data. The commit is not known here.
MEDSIGLIP = Encoder(
    name="medsiglip-448",
    about="SigLIP, So400m/14",
    repository="google/medsiglip-448",
    revision="main",
    file="model.safetensors",
    layout="siglip",
    config="preprocessor_config.json",
    licence="HAI-DEF terms",
    films=("MIMIC-CXR",),
    backbone="vit_so400m_patch14_siglip_gap_448",
    mean=HALF,
    std=HALF,
    image_size=448,
    multiple=14,
    arguments={"act_layer": "gelu_tanh"},  # as its config.json has it; timm's own model computes the exact GELU
    terms="accept https://developers.google.com/health-ai-developer-foundations/terms on its page, then hf auth login",
)


def _torchxrayvision(labels: str, revision: str, films: str) -> Encoder:
    """torchxrayvision 1.5.7: models.py (architecture, whole pickled models, 224 px) and utils.normalize (-1024 to
    1024); licence and list of files of the repositories.
    """
    weights, name = f"densenet121-res224-{labels}", f"xrv-{labels}"
    return Encoder(
        name=name,
        about="DenseNet-121",
        repository=f"torchxrayvision/{weights}",
        revision=revision,
        file="model.pt",
        layout="torchxrayvision",
        config="",
        licence="Apache-2.0",
        films=(films,),
        backbone="densenet121",
        mean=HALF,
        std=grey(0.5 / 1024),
        image_size=224,
        multiple=1,
        by_hand="It is published as a whole pickled model, which only code can open. With torchxrayvision installed:\n"
        "  python -c 'import torch, torchxrayvision as xrv; "
        f'torch.save(xrv.models.DenseNet(weights="{weights}").state_dict(), "{name}.pt")\'\n'
        f"then pass --backbone {name} --weights {name}.pt.",
        stochastic_depth=False,
    )


def _dinov3(name: str, backbone: str, about: str, multiple: int) -> Encoder:
    """timm's own configuration, trained on LVD-1689M; 512 px: arXiv:2510.07191, where chest films gained from it."""
    return Encoder(
        name=f"dinov3-{name}",
        about=f"{about}, DINOv3",
        repository=f"timm/{backbone}",
        revision="main",
        file="model.safetensors",
        layout="timm",
        config="config.json",
        licence="DINOv3",
        films=("none",),
        backbone=backbone,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        image_size=512,
        multiple=multiple,
    )


ENCODERS = {
    encoder.name: encoder
    for encoder in (
        WHYXRAYCLIP,
        RAD_DINO,
        *map(_eva_x, ("tiny", "small", "base")),
        BIOMEDCLIP,
        MEDSIGLIP,
        _torchxrayvision("chex", "e9e658f", "CheXpert"),
        _torchxrayvision("mimic_ch", "79f4979", "MIMIC-CXR"),
        _dinov3("convnext-tiny", "convnext_tiny.dinov3_lvd1689m", "ConvNeXt-T", 32),
        _dinov3("convnext-base", "convnext_base.dinov3_lvd1689m", "ConvNeXt-B", 32),
        _dinov3("vit-small", "vit_small_patch16_dinov3.lvd1689m", "ViT-S/16", 16),
        _dinov3("vit-base", "vit_base_patch16_dinov3.lvd1689m", "ViT-B/16", 16),
    )
}
