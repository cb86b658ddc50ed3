import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.checkpoints import CONVNEXTV2, Architecture, Checkpoint, read_tensors

CHECKPOINT = Checkpoint(
    architecture=Architecture("test_convnext", "csra", 4, 0.3),
    findings=("Normal", "Mass"),
    preprocessing=Preprocessing(96),
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    tensors={"head.weight": torch.randn(4, 2, 8)},
    training={"val_ap": 0.25, "counts": {"Mass": 3}},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.safetensors"
    CHECKPOINT.write(path)
    again = Checkpoint.read(path)
    assert torch.equal(again.tensors["head.weight"], CHECKPOINT.tensors["head.weight"])
    assert {**vars(again), "tensors": None} == {**vars(CHECKPOINT), "tensors": None}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["ckpt1", "weights.pth", "run/best.safetensors"])
def test_a_checkpoint_is_known_by_its_content_and_a_run_by_its_folder(tmp_path: Path, name: str) -> None:
    CHECKPOINT.write(tmp_path / name)
    path = tmp_path / name.partition("/")[0]
    assert Checkpoint.read(path).findings == CHECKPOINT.findings


def test_the_header_says_what_the_contract_asks_for(tmp_path: Path) -> None:
    CHECKPOINT.write(tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        header = json.loads(file.metadata()["cxrlt"])
    assert header["findings"] == ["Normal", "Mass"]
    assert header["image_size"] == 96
    assert header["mean"] == [0.1, 0.2, 0.3]
    assert header["preprocessing"]["interpolation"] == "area"
    assert header["preprocessing_hash"] == Preprocessing(96).hash
    assert header["training"]["val_ap"] == 0.25


def edited(path: Path, **changes: object) -> Path:
    CHECKPOINT.write(path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["cxrlt"])
    header.update(changes)
    save_file(dict(CHECKPOINT.tensors), path, metadata={"cxrlt": json.dumps(header)})
    return path


def test_a_newer_format_or_another_preprocessing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="format 99"):
        Checkpoint.read(edited(tmp_path / "a.safetensors", format=99))
    with pytest.raises(CheckpointError, match="prepared in another way"):
        Checkpoint.read(edited(tmp_path / "b.safetensors", preprocessing_hash="0000"))
    with pytest.raises(CheckpointError, match="header that cxrlt cannot read"):
        Checkpoint.read(edited(tmp_path / "c.safetensors", architecture={"unknown": 1}))


@pytest.mark.parametrize("length", [0, 5, 100, -3])
def test_a_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    CHECKPOINT.write(tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(data[:length])
    with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged"):
        Checkpoint.read(tmp_path / "a.safetensors")


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))])
def test_nothing_is_run_from_a_pickle(tmp_path: Path, save: object) -> None:
    target = tmp_path / "proof"
    save({"model_state_dict": Malicious(target)}, tmp_path / "bad.pth")  # type: ignore[operator]
    with pytest.raises(CheckpointError, match="could run code") as caught:
        Checkpoint.read(tmp_path / "bad.pth")
    assert caught.value.exit_code == 4
    assert not target.exists()


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ImageID\n")
    with pytest.raises(CheckpointError, match="no file of weights"):
        read_tensors(tmp_path / "a.csv")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_tensors(tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_tensors(tmp_path)
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="--weights"):
        Checkpoint.read(tmp_path / "other.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no dictionary of tensors"):
        read_tensors(tmp_path / "list.pth")


def test_half_precision_is_widened(tmp_path: Path) -> None:
    save_file(
        {"a": torch.ones(2, dtype=torch.float16), "b": torch.ones(2, dtype=torch.int64)}, tmp_path / "a.safetensors"
    )
    tensors, header = read_tensors(tmp_path / "a.safetensors")
    assert (tensors["a"].dtype, tensors["b"].dtype, header) == (torch.float32, torch.int64, None)


def test_variants_are_those_of_timm() -> None:
    import timm

    for (width, depths), name in CONVNEXTV2.items():
        with torch.device("meta"):
            model: Any = timm.create_model(name)
        assert model.stem[0].out_channels == width
        assert tuple(len(stage.blocks) for stage in model.stages) == depths
