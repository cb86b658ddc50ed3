"""From the names that others gave their tensors to timm's: of an encoder's file, what is its image tower.

Pure: tensors in, tensors out; nothing is resampled. Whether what comes out is whole is for ``nets.encoders`` to say.

Letters: D features of a token, P patches of an image.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

Layout = Literal["timm", "open_clip", "dinov2", "siglip", "eva_x", "torchxrayvision"]
Tensors = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]  # what is found in a name, and what stands there instead; one after another

# Dosovitskiy et al.'s block, by the names of open_clip, transformers (Dinov2Model, SiglipVisionModel) and EVA-02.
_OPEN_CLIP: Rules = (
    (r"^conv1\.", "patch_embed.proj."),
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
_DINOV2: Rules = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
)
_SIGLIP: Rules = (
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^post_layernorm\.", "norm."),
    (r"^encoder\.layers\.", "blocks."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
)
_EVA_02: Rules = (
    (r"\.mlp\.ffn_ln\.", ".mlp.norm."),
    (r"\.attn\.inner_attn_ln\.", ".attn.norm."),
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)


def to_timm(tensors: Mapping[str, Tensor], layout: Layout) -> Tensors:
    """The image tower among ``tensors`` by timm's names; what is known to be no part of it is left out.

    Names that the layout does not know are kept as they are, for whoever looks whether all is well.
    """
    return _MAPS[layout](tensors)


def _open_clip(tensors: Mapping[str, Tensor]) -> Tensors:
    """A tower of open_clip's own, or a model of timm inside one; the text encoder and both projections are left out."""
    if trunk := _below(tensors, "visual.trunk."):
        return trunk
    tower = _renamed(_without(_below(tensors, "visual."), ("proj",)), _OPEN_CLIP)
    return _with_axes(tower, cls_token=2, pos_embed=1)


def _dinov2(tensors: Mapping[str, Tensor]) -> Tensors:
    """DINOv2 as transformers or as its authors name it; the latter's names are timm's."""
    tower = _renamed(_without(tensors, ("mask_token", "embeddings.mask_token")), _DINOV2)
    return _joined(tower, ("query", "key", "value"))


def _siglip(tensors: Mapping[str, Tensor]) -> Tensors:
    """The vision model of a SigLIP; its pooling head is left out, for heads here look at the map."""
    tower = _without(_below(tensors, "vision_model."), ("head.",))
    return _with_axes(_joined(_renamed(tower, _SIGLIP), ("q", "k", "v")), pos_embed=1)


def _eva_x(tensors: Mapping[str, Tensor]) -> Tensors:
    """EVA-02 from masked image modeling; its final norm stays one of tokens, which timm's own map makes a pooled one.

    The tables of rotary positions are computed from the image size.
    """
    kept = {name: tensor for name, tensor in tensors.items() if "rope" not in name}
    tower = _renamed(_without(kept, ("mask_token", "lm_head.")), _EVA_02)
    apart = any(name.endswith(".attn.q_proj.weight") for name in tower)  # queries, keys, values
    return _renamed(tower, ((r"\.attn\.([qv])_bias$", r".attn.\1_proj.bias"),)) if apart else tower


def _torchxrayvision(tensors: Mapping[str, Tensor]) -> Tensors:
    """A DenseNet of one grey channel, to be shown the same grey three times: a third of the weight to each."""
    tower = _without(tensors, ("classifier.", "op_threshs"))
    first = tower.get("features.conv0.weight")
    if first is not None and first.ndim == 4 and first.shape[1] == 1:
        tower["features.conv0.weight"] = first.repeat(1, 3, 1, 1) / 3
    return tower


_MAPS: dict[Layout, Callable[[Mapping[str, Tensor]], Tensors]] = {
    "timm": dict,
    "open_clip": _open_clip,
    "dinov2": _dinov2,
    "siglip": _siglip,
    "eva_x": _eva_x,
    "torchxrayvision": _torchxrayvision,
}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _without(tensors: Mapping[str, Tensor], dropped: Iterable[str]) -> Tensors:
    """All but those of these names; a name that ends with a point stands for all that begin with it."""
    names = tuple(dropped)
    parts = tuple(name for name in names if name.endswith("."))
    return {name: tensor for name, tensor in tensors.items() if name not in names and not name.startswith(parts)}


def _renamed(tensors: Mapping[str, Tensor], rules: Rules) -> Tensors:
    renamed = {}
    for name, tensor in tensors.items():
        for found, instead in rules:
            name = re.sub(found, instead, name)
        renamed[name] = tensor
    return renamed


def _joined(tensors: Tensors, parts: tuple[str, str, str]) -> Tensors:
    """Queries, keys and values, ``[D, D]`` and ``[D]`` each, as one ``attn.qkv``."""
    joined = {}
    for name, tensor in tensors.items():
        block, marker, kind = name.partition(f".attn.{parts[0]}.")
        triple = [tensors.get(f"{block}.attn.{part}.{kind}") for part in parts]
        if marker and all(part is not None for part in triple):
            joined[f"{block}.attn.qkv.{kind}"] = torch.cat([part for part in triple if part is not None])
        elif not any(f".attn.{part}." in name for part in parts):
            joined[name] = tensor
    return joined


def _with_axes(tensors: Tensors, **number: int) -> Tensors:
    """Tensors with so many more axes of 1 in front: ``[P, D]`` to ``[1, P, D]``."""
    return {name: tensor.reshape((1,) * number.get(name, 0) + tensor.shape) for name, tensor in tensors.items()}
