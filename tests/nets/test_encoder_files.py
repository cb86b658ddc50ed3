import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.checkpoints import ENCODER, Checkpoint
from cxrlt_cli.nets.encoder_files import check_config, converted, encoder_of, shapes_of, write_encoder
from cxrlt_cli.nets.encoders import ENCODERS, RAD_DINO, WHYXRAYCLIP, Encoder
from cxrlt_cli.nets.tensors import read
from tests.helpers import flipped

TINY = replace(
    RAD_DINO, name="tiny", backbone="test_vit", image_size=160, multiple=16, layout="dinov2", films=("phantoms", "b")
)
PATH = Path("x.safetensors")


def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    found: dict[str, Tensor] = timm.create_model("test_vit", num_classes=0, global_pool="").state_dict()
    return found


def test_a_file_says_what_the_registry_says(tmp_path: Path) -> None:
    tensors = converted(state(), TINY, PATH)
    write_encoder(tensors, TINY, "abc" * 13, tmp_path / "model.safetensors")
    content = read(tmp_path / "model.safetensors")
    assert content.has_digest
    assert content.header is not None
    assert encoder_of(content.header, PATH) == replace(TINY, revision="abc" * 13, layout="timm")
    assert content.tensors.keys() == shapes_of(TINY).keys()
    assert all(torch.equal(content.tensors[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_every_entry_survives_its_header(encoder: Encoder) -> None:
    assert encoder_of(json.loads(json.dumps({ENCODER: asdict(encoder)})), PATH) == encoder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.pop("norm.weight"), r"norm\.weight missing"),
        (lambda tensors: tensors.update(foo=torch.zeros(2)), "foo not known"),
        (lambda tensors: tensors.update(pos_embed=torch.zeros(1, 50, 64)), "pos_embed of another shape"),
        (lambda tensors: tensors.clear(), "missing"),
    ],
)
def test_it_is_whole_or_none(change: Any, told: str) -> None:
    """timm resizes a position embedding of another length; here it is another model."""
    tensors = state()
    change(tensors)
    with pytest.raises(CheckpointError, match=told):
        converted(tensors, TINY, PATH)


def test_a_file_of_an_encoder_is_no_checkpoint(tmp_path: Path) -> None:
    write_encoder(converted(state(), TINY, PATH), TINY, "abc", tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="has no head yet"):
        Checkpoint.read(tmp_path / "model.safetensors")


def test_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_encoder(converted(state(), TINY, PATH), TINY, "abc", path)
    data = path.read_bytes()
    for spoilt in flipped(data, 20):
        path.write_bytes(spoilt)
        with pytest.raises(CheckpointError):
            read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.5]},
        {"std": [0, 0, 0]},
        {"films": "MIMIC"},
        {"films": ["\x1b[2J"]},
        {"image_size": 1.5},
        {"image_size": 10**9},
        {"multiple": 0},
        {"backbone": None},
        {"name": 3},
        {"arguments": {"checkpoint_path": "/etc/passwd"}},
        {"arguments": {"patch_size": 10**6}},
        {"arguments": {"patch_size": [16]}},
        {"arguments": {"act_layer": "__import__"}},
        {"stochastic_depth": "no"},
        {"more": 1},
    ],
)
def test_headers_that_say_something_else_are_refused(change: dict[str, Any]) -> None:
    values = {**json.loads(json.dumps(asdict(TINY))), **change}
    with pytest.raises(CheckpointError, match="cannot read"):
        encoder_of({ENCODER: values}, PATH)
    nothing: tuple[object, ...] = (None, [], {})
    for damaged in nothing:
        with pytest.raises(CheckpointError, match="cannot read"):
            encoder_of({ENCODER: damaged}, PATH)


def test_a_folder_that_names_another_normalisation_is_refused(tmp_path: Path) -> None:
    check_config(RAD_DINO, tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"image_mean": [0.5307] * 3, "image_std": [0.2583] * 3}))
    check_config(RAD_DINO, tmp_path)
    path.write_text(json.dumps({"image_mean": [0.485] * 3, "image_std": [0.2583] * 3}))
    with pytest.raises(CheckpointError, match=r"names mean \(0\.485"):
        check_config(RAD_DINO, tmp_path)


def test_a_tower_that_computes_otherwise_is_refused(tmp_path: Path) -> None:
    known = {"mean": list(WHYXRAYCLIP.mean), "std": list(WHYXRAYCLIP.std)}
    path = tmp_path / "open_clip_config.json"
    path.write_text(json.dumps({"model_cfg": {"quick_gelu": False}, "preprocess_cfg": known}))
    check_config(WHYXRAYCLIP, tmp_path)
    path.write_text(json.dumps({"model_cfg": {"quick_gelu": True}, "preprocess_cfg": known}))
    with pytest.raises(CheckpointError, match="QuickGELU"):
        check_config(WHYXRAYCLIP, tmp_path)
