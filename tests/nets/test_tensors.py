"""Files of weights: checksums over names, shapes and bytes, and what is refused."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.nets.tensors import digest, read, read_pytorch, read_tensors, sealed

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


def written(path: Path, text: str | None) -> Path:
    save_file(TENSORS, path, {} if text is None else {"cxrlt": text})
    return path


def test_a_digest_is_of_names_types_shapes_and_bytes() -> None:
    whole = digest("x", TENSORS)
    assert whole == digest("x", dict(reversed(TENSORS.items()))), "the order does not matter"
    others = [
        digest("y", TENSORS),
        digest("x", {**TENSORS, "a": TENSORS["a"].reshape(3, 2)}),
        digest("x", {**TENSORS, "a": TENSORS["a"].double()}),
        digest("x", {"c": TENSORS["a"], "b": TENSORS["b"]}),
        digest("x", {**TENSORS, "b": torch.tensor([1, 3])}),
    ]
    assert len({whole, *others}) == 6


def test_a_sealed_file_is_read_as_checked(tmp_path: Path) -> None:
    content = read(written(tmp_path / "w.safetensors", sealed({"findings": ["x"]}, TENSORS)))
    assert content.checked
    assert content.header is not None
    assert content.header["findings"] == ["x"]
    assert all(torch.equal(content.tensors[name], tensor) for name, tensor in TENSORS.items())
    plain = read(written(tmp_path / "plain.safetensors", None))
    assert (plain.checked, plain.header) == (False, None)


def test_a_seal_on_other_weights_is_damage(tmp_path: Path) -> None:
    text = sealed({}, {**TENSORS, "b": torch.tensor([7, 7])})
    with pytest.raises(CheckpointError, match="its checksum is that of other weights"):
        read(written(tmp_path / "w.safetensors", text))


def test_numbers_come_in_float32_and_counters_as_they_are(tmp_path: Path) -> None:
    save_file({"h": torch.ones(2, dtype=torch.float16), "n": torch.tensor(3)}, tmp_path / "w.safetensors")
    tensors, header = read_tensors(tmp_path / "w.safetensors")
    assert (tensors["h"].dtype, tensors["n"].dtype, header) == (torch.float32, torch.int64, None)


def test_a_folder_stands_for_its_best_weights(tmp_path: Path) -> None:
    written(tmp_path / "best.safetensors", None)
    assert set(read(tmp_path).tensors) == set(TENSORS)
    with pytest.raises(CheckpointError, match=r"does not exist\. Did you mean best\.safetensors"):
        read(tmp_path / "bset.safetensors")


def test_a_file_of_pytorch_gives_its_tensors_alone(tmp_path: Path) -> None:
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in TENSORS.items()}}, tmp_path / "w.pth")
    assert set(read_pytorch(tmp_path / "w.pth")) == set(TENSORS)
    torch.save({"model": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        read_pytorch(tmp_path / "code.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no dictionary of tensors"):
        read_pytorch(tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(CheckpointError, match="is no file of weights"):
        read_pytorch(tmp_path / "text.pth")


def test_a_header_that_is_no_object_is_damage(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no JSON object"):
        read(written(tmp_path / "w.safetensors", json.dumps(["x"])))
    (tmp_path / "cut.safetensors").write_bytes(struct.pack("<Q", 10**6) + b"{")
    with pytest.raises(CheckpointError, match="is damaged"):
        read(tmp_path / "cut.safetensors")
