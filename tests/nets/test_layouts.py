"""Each map of names by a round trip: a model of the encoder's own program, with random weights, computes the same."""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import relu

from cxrlt_cli.nets.layouts import to_timm

Eva: Any = import_module("timm.models.eva").Eva
SIDE = 28


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE)


def stirred(model: nn.Module) -> Any:
    """With no weight left at 0 or 1, where a mistaken map would not be seen."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return model.eval()


def vit(**arguments: Any) -> Any:
    settings: dict[str, Any] = {
        "img_size": SIDE,
        "patch_size": 14,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 2,
        "num_classes": 0,
    }
    return timm.models.vision_transformer.VisionTransformer(**{**settings, "global_pool": "", **arguments}).eval()


def loaded(model: nn.Module, tensors: Mapping[str, Tensor]) -> Any:
    model.load_state_dict(dict(tensors))
    return model


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_tower_of_open_clip(images: Tensor) -> None:
    vision = {"image_size": SIDE, "layers": 2, "width": 32, "patch_size": 14, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    clip = stirred(open_clip.model.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text))
    tower = loaded(vit(pre_norm=True, norm_layer=nn.LayerNorm), to_timm(clip.state_dict(), "open_clip"))
    ours: Tensor = tower(images)
    assert_same(ours[:, 0] @ clip.visual.proj, clip.encode_image(images))


@torch.no_grad()
def test_a_model_of_timm_in_open_clip(images: Tensor) -> None:
    vision = {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    clip = stirred(open_clip.model.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text))
    model = timm.create_model("test_vit", num_classes=0, global_pool="").eval()
    films = torch.randn(2, 3, 160, 160)
    ours: Tensor = loaded(model, to_timm(clip.state_dict(), "open_clip"))(films)
    assert_same(ours[:, 0], clip.visual.trunk(films))


@torch.no_grad()
def test_dinov2_of_transformers(images: Tensor, tmp_path: Path) -> None:
    """As its files have it: within the program, names may be others."""
    transformers = import_module("transformers")
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=14
    )
    model = stirred(transformers.Dinov2Model(config))
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert {"encoder.layer.1.attention.attention.query.bias", "encoder.layer.1.layer_scale2.lambda1"} <= set(tensors)
    tower = loaded(vit(init_values=1e-5), to_timm(tensors, "dinov2"))
    assert_same(tower(images), model(images).last_hidden_state)


@torch.no_grad()
def test_dinov2_of_its_authors(images: Tensor) -> None:
    """Its names are timm's; a mask token of the training stands beside them."""
    model = stirred(vit(init_values=1e-5))
    tensors = {**model.state_dict(), "mask_token": torch.zeros(1, 32)}
    assert_same(loaded(vit(init_values=1e-5), to_timm(tensors, "dinov2"))(images), model(images))


@torch.no_grad()
def test_a_siglip_of_transformers(images: Tensor, tmp_path: Path) -> None:
    transformers = import_module("transformers")
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE,
              "patch_size": 14, "intermediate_size": 64}  # fmt: skip
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50,
            "intermediate_size": 16, "max_position_embeddings": 8}  # fmt: skip
    model = stirred(transformers.SiglipModel(transformers.SiglipConfig(vision_config=vision, text_config=text)))
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert {"vision_model.encoder.layers.1.self_attn.q_proj.bias", "logit_scale"} <= set(tensors)
    tower = vit(mlp_ratio=2, class_token=False, fc_norm=False, act_layer="gelu_tanh")
    assert_same(loaded(tower, to_timm(tensors, "siglip"))(images), model.vision_model(images).last_hidden_state)


EVA_NAMES = {
    r"\.mlp\.norm\.": ".mlp.ffn_ln.",
    r"\.mlp\.fc1\.": ".mlp.w12.",
    r"\.mlp\.fc1_g\.": ".mlp.w1.",
    r"\.mlp\.fc1_x\.": ".mlp.w2.",
    r"\.mlp\.fc2\.": ".mlp.w3.",
    r"\.attn\.([qv])_proj\.bias": r".attn.\1_bias",
}  # of EVA-02's own program


@pytest.mark.parametrize("size", ["small", "base"])
@torch.no_grad()
def test_eva_x(size: str, images: Tensor) -> None:
    """The network as hustvl/EVA-X's eva_x.py makes it, which is timm's Eva; names as files of EVA-02 have them."""
    made: dict[str, Any] = {"qkv_fused": False, "scale_mlp": True} if size == "base" else {}
    size_of = {"img_size": SIDE, "patch_size": 14, "embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 4 * 2 / 3}
    kind = {"swiglu_mlp": True, "use_rot_pos_emb": True, "ref_feat_shape": (2, 2), "num_classes": 0}
    settings: dict[str, Any] = {**size_of, **kind}
    model = stirred(Eva(**settings, **made, global_pool=""))
    tensors = {"mask_token": torch.zeros(1, 1, 48), "lm_head.weight": torch.zeros(9, 48),
               "lm_head.bias": torch.zeros(9), "blocks.0.attn.rope.freqs_cos": torch.zeros(4, 16)}  # fmt: skip
    for name, tensor in model.state_dict().items():
        for ours, theirs in EVA_NAMES.items():
            name = re.sub(ours, theirs, name)
        tensors[name] = tensor
    assert ("blocks.1.mlp.w12.weight" if size == "small" else "blocks.1.mlp.ffn_ln.weight") in tensors
    assert ("blocks.1.attn.qkv.weight" if size == "small" else "blocks.1.attn.q_proj.weight") in tensors
    again = loaded(Eva(**settings, **made, global_pool="").eval(), to_timm(tensors, "eva_x"))
    assert_same(again(images), model(images))


@torch.no_grad()
def test_a_densenet_of_torchxrayvision() -> None:
    """Films of -1024 to 1024 there, the same grey in three channels here; timm's map comes after its last ReLU."""
    models = import_module("torchxrayvision.models")
    model = models.DenseNet()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            stirred(module)
    tensors = {**model.state_dict(), "op_threshs": torch.zeros(18)}
    ours = timm.create_model("densenet121", num_classes=0, global_pool="")
    ours = loaded(ours, to_timm(tensors, "torchxrayvision")).eval()
    film = torch.rand(2, 1, 64, 64)
    theirs = relu(model.eval().features((2 * film - 1) * 1024))
    mapped = ours(((film - 0.5) / (0.5 / 1024)).repeat(1, 3, 1, 1))
    scale = theirs.std()
    assert_same(mapped / scale, theirs / scale)
