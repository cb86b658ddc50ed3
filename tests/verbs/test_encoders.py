"""Encoders from pull to training: fetched from a hub of our own, copied, and begun with on a machine without one."""

import json
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from cxrlt_cli.config import FinetuneOptions, ModelsListOptions, ModelsPullOptions, ModelsVerifyOptions, TrainOptions
from cxrlt_cli.errors import CheckpointError, ModelError, OptionError
from cxrlt_cli.nets import hub
from cxrlt_cli.nets.classifier import load
from cxrlt_cli.nets.encoders import ENCODERS, Encoder
from cxrlt_cli.verbs.finetune import finetune
from cxrlt_cli.verbs.models import list_models, pull_model, verify_model
from cxrlt_cli.verbs.train import train
from tests.helpers import Recorder
from tests.hub import COMMITS, serving, use

MEAN, STD = (0.53, 0.53, 0.53), (0.26, 0.26, 0.26)
Files = dict[str, bytes]


def config(layout: str) -> Files:
    """Of a repository, naming mean and deviation as its program does."""
    contents: dict[str, Any] = {
        "timm": {"config.json": {"pretrained_cfg": {"mean": MEAN, "std": STD}}},
        "open_clip": {"open_clip_config.json": {"model_cfg": {}, "preprocess_cfg": {"mean": MEAN, "std": STD}}},
    }
    usual = {"preprocessor_config.json": {"image_mean": MEAN, "image_std": STD}}
    return {name: json.dumps(content).encode() for name, content in contents.get(layout, usual).items()}


def vit() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state: dict[str, Tensor] = timm.create_model("test_vit", num_classes=0, global_pool="").state_dict()
    return state


def apart(tensors: Mapping[str, Tensor], names: str, parts: str) -> dict[str, Tensor]:
    """Queries, keys and values each for itself, under such names."""
    found = {}
    for name, tensor in tensors.items():
        if ".attn.qkv." in name:
            for part, piece in zip(parts.split(), tensor.chunk(3), strict=True):
                found[name.replace(".attn.qkv.", names.format(part))] = piece.contiguous()
        else:
            found[name] = tensor
    return found


def renamed(tensors: Mapping[str, Tensor], *rules: tuple[str, str]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        for pattern, instead in rules:
            name = re.sub(pattern, instead, name)
        found[name] = tensor
    return found


def pickled(content: object, path: Path) -> bytes:
    torch.save(content, path)
    return path.read_bytes()


def of_timm(scratch: Path) -> Files:
    torch.manual_seed(0)
    return {"model.safetensors": save(timm.create_model("test_convnext", num_classes=0).state_dict())}


def of_open_clip(scratch: Path) -> Files:
    vision = {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    clip = open_clip.model.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text).state_dict()
    clip.update({f"visual.trunk.{name}": tensor for name, tensor in vit().items()})
    return {"open_clip_pytorch_model.bin": pickled(dict(clip), scratch / "clip.bin")}


def of_dinov2(scratch: Path) -> Files:
    tensors = apart(vit(), ".attention.attention.{}.", "query key value")
    there = renamed(
        tensors,
        (r"^cls_token$", "embeddings.cls_token"),
        (r"^pos_embed$", "embeddings.position_embeddings"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
        (r"^norm\.", "layernorm."),
        (r"\.attn\.proj\.", ".attention.output.dense."),
        (r"^blocks\.", "encoder.layer."),
    )
    return {"model.safetensors": save({**there, "embeddings.mask_token": torch.zeros(1, 64)})}


def of_siglip(scratch: Path) -> Files:
    tensors = apart({**vit(), "pos_embed": vit()["pos_embed"][0]}, ".self_attn.{}_proj.", "q k v")
    there = renamed(
        tensors,
        (r"^pos_embed$", "embeddings.position_embedding.weight"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
        (r"^norm\.", "post_layernorm."),
        (r"\.attn\.proj\.", ".self_attn.out_proj."),
        (r"\.norm(\d)\.", r".layer_norm\1."),
        (r"^blocks\.", "encoder.layers."),
        (r"^", "vision_model."),
    )
    text = {"text_model.head.weight": torch.zeros(4), "vision_model.head.probe": torch.zeros(1, 1, 64)}
    return {"model.safetensors": save({**there, **text})}


def of_eva_x(scratch: Path) -> Files:
    made = ENCODERS["eva-x-tiny"]
    model = timm.create_model(made.backbone, num_classes=0, global_pool="", img_size=224, **made.arguments)
    there = renamed(model.state_dict(), (r"\.mlp\.fc1\.", ".mlp.w12."), (r"\.mlp\.fc2\.", ".mlp.w3."))
    there = {**there, "mask_token": torch.zeros(1, 1, 192), "lm_head.weight": torch.zeros(8, 192)}
    return {made.file: pickled({"module": there, "step": 3}, scratch / made.file)}


def tiny(layout: Any, backbone: str = "test_vit", size: int = 160, multiple: int = 16) -> Encoder:
    file = {"open_clip": "open_clip_pytorch_model.bin"}.get(layout, "model.safetensors")
    named = next(iter(config(layout)))
    return Encoder("tiny", "of tests", "org/tiny", "main", file, layout, named, "MIT", ("phantoms", "drawings"),
                   backbone, MEAN, STD, size, multiple)  # fmt: skip


KINDS: dict[str, tuple[Encoder, Callable[[Path], Files]]] = {
    "timm": (tiny("timm", "test_convnext", 96, 32), of_timm),
    "open_clip": (tiny("open_clip"), of_open_clip),
    "dinov2": (tiny("dinov2"), of_dinov2),
    "siglip": (tiny("siglip"), of_siglip),
    "eva_x": (replace(ENCODERS["eva-x-tiny"], name="tiny", revision="main"), of_eva_x),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def options(labels: Path, out: Path, **changes: object) -> TrainOptions:
    """Without a backbone and a size: those are for the encoder to say."""
    given: dict[str, object] = {
        "csv": labels, "out": out, "preset": "plain", "warmup_epochs": 0, "epochs": 1, "max_steps": 1, "batch_size": 4,
        "val_fraction": 0.2, "workers": 0, "precision": "fp32", "device": "cpu", "track": "none", **changes,
    }  # fmt: skip
    return TrainOptions.model_validate(given)


def fetched(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Path | None) -> tuple[Encoder, Recorder]:
    """An encoder pulled from a hub that is gone afterwards."""
    encoder, files = KINDS[kind]
    monkeypatch.setitem(ENCODERS, "tiny", encoder)
    reporter = Recorder()
    with serving({**files(tmp_path), **config(encoder.layout), "README.md": b"a card", "other.bin": b"-"}) as server:
        use(monkeypatch, server.url)
        pull_model(ModelsPullOptions(name="tiny", out=out), reporter)
    use(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return encoder, reporter


@pytest.mark.parametrize("kind", KINDS)
def test_pull_copy_and_train_without_a_network(
    kind: str, tmp_path: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, told = fetched(kind, tmp_path, monkeypatch, tmp_path / "there" / "tiny")
    assert f"--weights {tmp_path / 'there' / 'tiny'}" in told.results[0]
    folder = tmp_path / "here" / "copy"
    shutil.copytree(tmp_path / "there" / "tiny", folder)
    verify_model(ModelsVerifyOptions(name=str(folder)), Recorder())
    reporter = Recorder()
    size = {} if kind != "eva_x" else {"image_size": 64}
    train(options(labels, tmp_path / "run", weights=str(folder), **size), reporter)
    plan = reporter.plans[0]
    assert plan["encoder"] == f"tiny: {encoder.repository} at {COMMITS[0][:7]}, MIT"
    assert plan["films seen"].startswith(", ".join(encoder.films))
    assert "the header of model.safetensors" in plan["normalisation"]
    model = load(tmp_path / "run" / "best.safetensors")
    assert (model.architecture.backbone, model.architecture.arguments) == (encoder.backbone, dict(encoder.arguments))
    assert (model.mean, model.std) == (encoder.mean, encoder.std)
    assert model.image_shape == (size.get("image_size", encoder.image_size),) * 2
    saved = (tmp_path / "run" / "run.yaml").read_text()
    assert "backbone: tiny\n" in saved


def test_by_name_it_is_fetched_once_and_needs_no_other_option(
    tmp_path: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, told = fetched("dinov2", tmp_path, monkeypatch, None)
    assert "Pass --backbone tiny." in told.results[0]
    train(options(labels, tmp_path / "run", backbone="tiny"), Recorder())
    checkpoint = tmp_path / "run" / "best.safetensors"
    assert load(checkpoint).image_shape == (160, 160)
    again = {"checkpoint": checkpoint, "csv": labels, "out": tmp_path / "again", "epochs": 1, "max_steps": 1,
             "workers": 0, "precision": "fp32", "device": "cpu", "track": "none", "batch_size": 4}  # fmt: skip
    finetune(FinetuneOptions.model_validate(again), Recorder())
    assert load(tmp_path / "again" / "best.safetensors").mean == MEAN
    with pytest.raises(OptionError, match="Pass 144 or 160"):
        train(options(labels, tmp_path / "wrong", backbone="tiny", image_size=150), Recorder())


def test_a_backbone_that_is_typed_must_be_that_of_the_folder(
    tmp_path: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched("dinov2", tmp_path, monkeypatch, tmp_path / "tiny")
    for backbone in ("convnextv2_atto", "rad-dino"):
        with pytest.raises(OptionError, match=f"holds tiny, not {backbone}"):
            train(options(labels, tmp_path / "run", weights=str(tmp_path / "tiny"), backbone=backbone), Recorder())
    for backbone in ("tiny", "test_vit"):
        train(options(labels, tmp_path / backbone, weights=str(tmp_path / "tiny"), backbone=backbone), Recorder())


def test_files_as_their_authors_have_them_are_mapped_too(
    tmp_path: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, files = KINDS["siglip"]
    monkeypatch.setitem(ENCODERS, "tiny", encoder)
    for name, content in {**files(tmp_path), **config("siglip")}.items():
        (tmp_path / name).write_bytes(content)
    reporter = Recorder()
    weights = str(tmp_path / "model.safetensors")
    train(options(labels, tmp_path / "run", backbone="tiny", weights=weights), reporter)
    assert "phantoms, drawings" in reporter.plans[0]["films seen"]
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.1, 0.1], "image_std": [1, 1, 1]}')
    with pytest.raises(CheckpointError, match="names mean"):
        train(options(labels, tmp_path / "other", backbone="tiny", weights=weights), Recorder())


def test_a_state_of_torchxrayvision_is_taken_by_hand(tmp_path: Path, labels: Path) -> None:
    with pytest.raises(ModelError, match="cannot be fetched") as caught:
        train(options(labels, tmp_path / "run", backbone="xrv-chex"), Recorder())
    assert "state_dict()" in caught.value.hint
    state = timm.create_model("densenet121", num_classes=18).state_dict()
    state["features.conv0.weight"] = state["features.conv0.weight"][:, :1]
    path = tmp_path / "chex.pt"
    torch.save({**state, "op_threshs": torch.zeros(18)}, path)
    changes = {"backbone": "xrv-chex", "weights": str(path), "image_size": 64}
    train(options(labels, tmp_path / "run", **changes), Recorder())
    model = load(tmp_path / "run" / "best.safetensors")
    assert model.std == (0.5 / 1024,) * 3


@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "code", "normalisation", "no file"])
def test_anything_else_leaves_nothing(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, files = KINDS["dinov2"]
    monkeypatch.setitem(ENCODERS, "tiny", encoder)
    (tmp_path / "x").write_bytes(files(tmp_path)["model.safetensors"])
    tensors = load_file(tmp_path / "x")
    if fault == "missing":
        del tensors["layernorm.bias"]
    elif fault == "extra":
        tensors["encoder.layer.0.more"] = torch.zeros(2)
    elif fault == "shape":
        tensors["embeddings.position_embeddings"] = torch.zeros(1, 50, 64)
    there = {"model.safetensors": save(tensors), **config("dinov2")}
    if fault == "code":
        there["model.safetensors"] = pickle.dumps({"a": Path("b")}, protocol=2)
    elif fault == "normalisation":
        there["preprocessor_config.json"] = b'{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    elif fault == "no file":
        there["pytorch_model.bin"] = there.pop("model.safetensors")
    with serving(there) as server:
        use(monkeypatch, server.url)
        with pytest.raises(ModelError):
            pull_model(ModelsPullOptions(name="tiny", out=tmp_path / "tiny"), Recorder())
    assert not (tmp_path / "tiny").exists()


def test_whyxrayclips_folder_is_one_for_both(tmp_path: Path, labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = replace(KINDS["open_clip"][0], name="whyxrayclip", file="open_clip_model.safetensors")
    monkeypatch.setitem(ENCODERS, "whyxrayclip", tower)
    monkeypatch.setattr(hub, "WHYXRAYCLIP", replace(hub.WHYXRAYCLIP, encoder=tower))
    reporter = Recorder()
    with serving({**of_open_clip(tmp_path), **config("open_clip")}) as server:
        use(monkeypatch, server.url)
        pull_model(ModelsPullOptions(name="whyxrayclip", out=tmp_path / "folder"), reporter)
    assert f"--model {tmp_path / 'folder'}, or --weights {tmp_path / 'folder'} to train" in reporter.results[0]
    assert (tmp_path / "folder" / "open_clip_model.safetensors").exists()
    train(options(labels, tmp_path / "run", weights=str(tmp_path / "folder")), reporter)
    assert reporter.plans[0]["films seen"].startswith("phantoms")
    kept = load_file(tmp_path / "folder" / "open_clip_model.safetensors")
    assert kept["visual.trunk.cls_token"].equal(vit()["cls_token"])


def test_how_films_are_normalised_is_told_and_can_be_typed(tmp_path: Path, labels: Path) -> None:
    """Weights of a file: its own configuration, or timm's; what is typed wins, and both are told."""
    weights = tmp_path / "model.safetensors"
    save_file(timm.create_model("test_convnext").state_dict(), weights)
    given = {"backbone": "test_convnext", "weights": str(weights), "image_size": 64, "drop_path": 0.0}

    def told(name: str, **changes: object) -> tuple[str, Any]:
        reporter = Recorder()
        train(options(labels, tmp_path / name, **given, **changes), reporter)
        return reporter.plans[0]["normalisation"], load(tmp_path / name / "best.safetensors")

    text, model = told("timm")
    assert text.endswith("(timm's for test_convnext)")
    assert model.mean == (0.5, 0.5, 0.5)
    (tmp_path / "config.json").write_bytes(config("timm")["config.json"])
    text, model = told("config")
    assert text == "mean 0.53, deviation 0.26 (config.json)"
    assert (model.mean, model.std) == (MEAN, STD)
    text, model = told("typed", mean="0.1,0.2,0.3", std=0.5)
    assert text == "mean 0.1 0.2 0.3, deviation 0.5 (--mean and --std; config.json has mean 0.53, deviation 0.26)"
    assert (model.mean, model.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))


def test_the_list_names_films_and_terms() -> None:
    reporter = Recorder()
    list_models(ModelsListOptions(), reporter)
    rows = {row[0]: row for row in reporter.texts[1][1:]}
    assert rows.keys() == ENCODERS.keys()
    assert rows["rad-dino"][2:] == ("MIMIC-CXR, CheXpert, NIH, PadChest, BRAX", "MIT", "518", "–")
    assert any("health-ai-developer-foundations/terms" in note for note in reporter.notes)
