import socket
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError, ModelError, OptionError
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.pretrained import begin


def timm_state() -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = timm.create_model("test_convnext", num_classes=1000).state_dict()
    return state


def stem(weights: Mapping[str, torch.Tensor] | None) -> torch.Tensor:
    architecture = Architecture("test_convnext", "linear")
    model = Classifier(architecture, ("a",), Preprocessing(64), weights=weights)
    parameter: torch.Tensor = model.backbone.state_dict()["stem.0.weight"]
    return parameter


@pytest.mark.parametrize("layout", ["file", "folder", "pth"])
def test_weights_of_timm_are_taken_from_a_path(tmp_path: Path, layout: str) -> None:
    state = timm_state()
    if layout == "pth":
        path = tmp_path / "weights.pth"
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    else:
        save_file(state, tmp_path / "model.safetensors")
        path = tmp_path if layout == "folder" else tmp_path / "model.safetensors"
    assert torch.equal(stem(begin("test_convnext", str(path)).tensors), state["stem.0.weight"])


def test_the_backbone_of_a_checkpoint_will_do(tmp_path: Path) -> None:
    model = Classifier(Architecture("test_convnext", "csra"), ("a", "b"), Preprocessing(64))
    model.checkpoint().write(tmp_path / "best.safetensors")
    weights = begin("test_convnext", str(tmp_path / "best.safetensors")).tensors
    assert torch.equal(stem(weights), model.backbone.state_dict()["stem.0.weight"])


def test_a_checkpoint_says_of_its_backbone_how_it_was_made(tmp_path: Path) -> None:
    """Its backbone where none is typed, timm's arguments, mean and deviation."""
    made = Architecture("eva02_tiny_patch14_224", "linear", arguments={"patch_size": 16, "ref_feat_shape": [14, 14]})
    model = Classifier(made, ("a",), Preprocessing(32))
    model.set_normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    path = tmp_path / "best.safetensors"
    model.checkpoint().write(path)
    for backbone, is_typed in (("convnextv2_base", False), ("eva-x-tiny", True), (made.backbone, True)):
        found = begin(backbone, str(path), is_typed=is_typed)
        assert (found.backbone, found.arguments) == (made.backbone, made.arguments)
        assert found.normalization == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert found.source == "the header of best.safetensors"
    for other in ("eva02_small_patch14_224", "rad-dino"):
        with pytest.raises(OptionError, match=f"holds eva02_tiny_patch14_224, not {other}"):
            begin(other, str(path))


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="do not fit test_convnext"):
        stem(begin("test_convnext", str(tmp_path)).tensors)


@pytest.mark.parametrize("change", ["prefix", "half", "foreign", "deeper"])
def test_weights_are_loaded_whole_or_not_at_all(tmp_path: Path, change: str) -> None:
    """timm's own loader passes over names that it does not know, and trains random weights."""
    state = timm_state()
    if change == "prefix":
        state = {f"encoder.{name}": value for name, value in state.items()}
    elif change == "half":
        state = dict(list(state.items())[: len(state) // 2])
    elif change == "foreign":
        state = {"foo": torch.zeros(2)}
    else:
        state["stages.3.blocks.7.norm.weight"] = torch.ones(64)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="do not fit test_convnext"):
        stem(begin("test_convnext", str(tmp_path)).tensors)


def test_paths_without_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        begin("test_convnext", str(tmp_path))
    with pytest.raises(CheckpointError, match="does not exist"):
        begin("test_convnext", str(tmp_path / "nothing"))
    assert begin("test_convnext", "none").tensors is None


def test_a_backbone_without_pretrained_weights_is_told() -> None:
    with pytest.raises(OptionError, match="no pretrained weights"):
        begin("convnextv2_small", "pretrained")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hub"


def refused(limit: float) -> ModelError:
    start = time.monotonic()
    with pytest.raises(ModelError) as caught:
        begin("convnextv2_base", "pretrained")
    assert time.monotonic() - start < limit
    assert caught.value.exit_code == 4
    assert "cxrlt models pull convnextv2_base --out" in caught.value.hint
    assert "--weights convnextv2_base" in caught.value.hint
    return caught.value


def test_a_hub_out_of_reach_is_found_out_at_once(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "refused" in refused(3).message


def test_a_hub_that_never_answers_is_given_up_within_seconds(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        refused(8)


@pytest.mark.parametrize("status", [503, 404])
def test_a_hub_that_is_not_itself_is_given_up_within_seconds(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        refused(9)
        server.shutdown()


def test_offline_mode_asks_nobody(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(1).message


def test_what_the_cache_holds_is_not_asked_for(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = empty_cache / "models--timm--test_convnext.r160_in1k"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    state = timm_state()
    save_file(state, snapshot / "model.safetensors")
    assert torch.equal(stem(begin("test_convnext", "pretrained").tensors), state["stem.0.weight"])
