import errno
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError, ModelError, OptionError
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.nets import hub
from cxrlt_cli.nets.checkpoints import Architecture, Checkpoint
from cxrlt_cli.nets.classifier import Classifier, load
from cxrlt_cli.nets.clip import load as load_clip
from cxrlt_cli.nets.hub import Source, catalogue, find, home, pull, resolve
from cxrlt_cli.nets.manifest import Manifest, verified
from cxrlt_cli.nets.pretrained import begin
from tests.hub import COMMITS, serving, use


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def pickled(tensors: dict[str, torch.Tensor], path: Path) -> bytes:
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}, path)
    return path.read_bytes()


def clip_files(folder: Path, scratch: Path) -> dict[str, bytes]:
    """As WhyXrayCLIP's repository has them: a configuration and a pickle."""
    tensors = load_file(folder / "open_clip_model.safetensors")
    return {
        "open_clip_config.json": (folder / "open_clip_config.json").read_bytes(),
        "open_clip_pytorch_model.bin": pickled(tensors, scratch / "weights.bin"),
        "README.md": b"a card",
        "figure.png": b"not wanted",
    }


def test_the_catalogue_knows_the_challenges_models() -> None:
    names = [source.name for source in catalogue()]
    assert names[:2] == ["whyxrayclip", "cxrlt2026-task1-convnextv2"]
    assert find("convnextv2_base").repository.startswith("timm/convnextv2_base")
    assert find("convnextv2_base").licence == "cc-by-nc-4.0"
    assert (find("rad-dino").kind, find("rad-dino").revision) == ("encoder", "2ec9ca0")
    assert find("convnext_tiny.dinov3_lvd1689m").kind == "backbone", "timm's own name is timm's still"
    assert find("hf-hub:org/model").repository == "org/model"
    assert len({home(source) for source in [*catalogue(), find("hf-hub:org/model")]}) == len(catalogue()) + 1
    for wrong in ("nosuch", "phantom-clip", "hf-hub:model", "hf-hub:/model", "hf-hub:a/b/../c"):
        with pytest.raises(OptionError):
            find(wrong)


def test_a_network_that_fails_midway_is_no_missing_model() -> None:
    def question() -> str:
        raise LocalEntryNotFoundError("Connection refused") from OSError("no route")

    with pytest.raises(ModelError, match="cannot be reached: no route"):
        hub._ask(hub.WHYXRAYCLIP, question)


def test_a_pull_pins_converts_and_writes_a_manifest(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = clip_files(clip_folder, tmp_path)
    with serving(files) as server:
        use(monkeypatch, server.url)
        folder = resolve(hub.WHYXRAYCLIP)
        asked = len(server.asked)
        assert resolve(hub.WHYXRAYCLIP) == folder
        assert len(server.asked) == asked, "what is on this machine is not asked for"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "manifest.json",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
    manifest = verified(folder)
    assert (manifest.revision, manifest.licence, manifest.repository) == (COMMITS[1], "mit", "yyupenn/whyxrayclip")
    theirs, ours = load_file(clip_folder / "open_clip_model.safetensors"), load_clip(folder)
    assert torch.equal(ours._model.state_dict()["visual.proj"], theirs["visual.proj"])
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, f".{folder.name}.lock"}


def test_a_changed_or_missing_file_is_told(clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(clip_files(clip_folder, tmp_path)) as server:
        use(monkeypatch, server.url)
        folder = pull(hub.WHYXRAYCLIP, tmp_path / "copy")
    weights = folder / "open_clip_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (folder / "README.md").unlink()
    with pytest.raises(CheckpointError, match=r"README\.md is missing, open_clip_model\.safetensors differs"):
        verified(folder)
    with pytest.raises(CheckpointError, match="is not what was fetched"):
        load_clip(folder)
    for text in ("null", "[]", '{"name": 1}'):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(CheckpointError, match="cannot be read"):
            verified(folder)
    content = {"name": "", "repository": "", "revision": "", "licence": "", "files": {}, "fetched": ""}
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="names no file of weights"):
        verified(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        verified(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="has no manifest"):
        Manifest.read(folder)


def test_whole_files_from_before_a_stop_are_not_fetched_again(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(clip_files(clip_folder, tmp_path)) as server:
        use(monkeypatch, server.url)
        server.cut = 200_000
        with pytest.raises(ModelError):
            pull(hub.WHYXRAYCLIP, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
        server.cut = None
        server.fetched.clear()
        assert verified(pull(hub.WHYXRAYCLIP, tmp_path / "copy"))
        assert server.fetched == ["open_clip_pytorch_model.bin"]
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == [".copy.lock", "copy"]


def test_two_commands_that_want_a_model_get_it_once(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(clip_files(clip_folder, tmp_path)) as server, ThreadPoolExecutor(3) as pool:
        use(monkeypatch, server.url)
        folders = list(pool.map(lambda _: resolve(hub.WHYXRAYCLIP), range(3)))
        assert sorted(server.fetched) == ["README.md", "open_clip_config.json", "open_clip_pytorch_model.bin"]
    assert set(verified(folders[0]).files) == {"README.md", "open_clip_config.json", "open_clip_model.safetensors"}


@pytest.mark.parametrize(
    ("kind", "names", "chosen"),
    [
        ("open_clip", ["model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin"], 2),
        ("open_clip", ["open_clip_pytorch_model.bin", "open_clip_model.safetensors"], 1),
        ("backbone", ["pytorch_model.bin", "model.safetensors", "onnx/model.bin"], 1),
        ("classifier", ["best_model.pth", "weights.safetensors"], 1),
        ("classifier", ["best_model.pth", "README.md"], 0),
    ],
)
def test_the_weights_of_a_repository_are_chosen_by_kind(kind: hub.Kind, names: list[str], chosen: int) -> None:
    assert hub._pick_weights(Source("x", "a/b", kind, "", ""), names) == names[chosen]


def test_files_in_subfolders_are_not_taken_for_those_at_the_top(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {**clip_files(clip_folder, tmp_path), "tokenizer/config.json": b"{}", "config.json": b'{"top": 1}'}
    with serving(files) as server:
        use(monkeypatch, server.url)
        folder = pull(hub.WHYXRAYCLIP, tmp_path / "copy")
    assert json.loads((folder / "config.json").read_text()) == {"top": 1}


def test_a_full_disk_and_a_missing_repository_are_not_the_network(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(clip_files(clip_folder, tmp_path)) as server:
        use(monkeypatch, server.url)

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", "x")

        with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
            patched.setattr(huggingface_hub, "hf_hub_download", full)
            pull(hub.WHYXRAYCLIP, tmp_path / "copy")
        server.missing = True
        with pytest.raises(ModelError, match=r"has no org/nosuch that may be read"):
            pull(find("hf-hub:org/nosuch"), tmp_path / "copy")


def test_a_file_with_another_checksum_is_refused(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(clip_files(clip_folder, tmp_path), wrong_digests=True) as server:
        use(monkeypatch, server.url)
        with pytest.raises(ModelError, match="another checksum"):
            pull(hub.WHYXRAYCLIP, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_code_in_a_fetched_pickle_is_not_run(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    files = {
        **clip_files(clip_folder, tmp_path),
        "open_clip_pytorch_model.bin": pickle.dumps({"a": Evil()}, protocol=2),
    }
    with serving(files) as server:
        use(monkeypatch, server.url)
        with pytest.raises(CheckpointError, match="could run code"):
            pull(hub.WHYXRAYCLIP, tmp_path / "copy")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "copy").exists()


def test_nothing_is_fetched_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="is there already"):
        pull(hub.WHYXRAYCLIP, tmp_path / "full")


def test_a_revision_that_has_gone_is_told(clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(clip_files(clip_folder, tmp_path)) as server:
        use(monkeypatch, server.url)
        with pytest.raises(ModelError, match="no revision 1234567"):
            pull(Source("x", "a/b", "open_clip", "MIT", "", "1234567"), tmp_path / "copy")


def test_backbones_and_the_winners_weights_are_folders_that_commands_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = timm.create_model("test_convnext").state_dict()
    with serving({"model.safetensors": save(state), "pytorch_model.bin": b"-", "config.json": b"{}"}) as server:
        use(monkeypatch, server.url)
        weights = begin("test_convnext", "pretrained").tensors
        assert weights is not None
        assert torch.equal(weights["stem.0.weight"], state["stem.0.weight"])
    use(monkeypatch, "http://127.0.0.1:9")
    assert begin("test_convnext", "pretrained").tensors is not None, "it is on this machine now"
    assert begin("test_convnext", str(home(find("test_convnext")))).tensors is not None

    winner = Classifier(Architecture("convnextv2_atto", "csra-winner"), CXR_LT_2026, Preprocessing(64))
    path = tmp_path / "weights.pth"
    with serving({"best_model.pth": pickled(winner.state_dict(), path), "config.json": b"{}"}, licence=None) as server:
        use(monkeypatch, server.url)
        folder = pull(hub.WINNER, tmp_path / "winner")
    assert load(folder).findings == CXR_LT_2026
    assert Checkpoint.read(folder).architecture.head == "csra-winner"
    assert json.loads((folder / "manifest.json").read_text())["licence"] == "none given: research only"


def test_two_files_of_weights_are_no_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({"fold0.safetensors": b"a", "fold1.safetensors": b"b"}) as server:
        use(monkeypatch, server.url)
        with pytest.raises(ModelError, match="2 files of weights"):
            pull(hub.WINNER, tmp_path / "winner")


def test_out_of_reach_the_way_out_is_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "http://127.0.0.1:9")
    for name, passed in (
        ("whyxrayclip", "--model whyxrayclip"),
        ("cxrlt2026-task1-convnextv2", "cxrlt2026-task1-convnextv2 as CHECKPOINT"),
        ("hf-hub:org/model", "--model org--model"),
    ):
        with pytest.raises(ModelError, match="refused") as caught:
            resolve(find(name))
        assert f"cxrlt models pull {name} --out" in caught.value.hint
        assert passed in caught.value.hint
        assert caught.value.exit_code == 4
