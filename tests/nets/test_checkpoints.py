import io
import json
import os
import pickle
import struct
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.errors import CheckpointError
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.nets.checkpoints import CONVNEXTV2, Architecture, Checkpoint
from cxrlt_cli.nets.tensors import read_tensors, sealed
from tests.helpers import flipped

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
    return written(path, header)


def written(path: Path, header: dict[str, object]) -> Path:
    """A file of the tensors under another header, with the checksum of both."""
    tensors = dict(CHECKPOINT.tensors)
    save_file(tensors, path, metadata={"cxrlt": sealed({**header, "digest": None}, tensors)})
    return path


def test_a_newer_format_or_another_preprocessing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="format 99"):
        Checkpoint.read(edited(tmp_path / "a.safetensors", format=99))
    with pytest.raises(CheckpointError, match="prepared in another way"):
        Checkpoint.read(edited(tmp_path / "b.safetensors", preprocessing_hash="0000"))
    with pytest.raises(CheckpointError, match=r"another way .*'version': 99"):
        Checkpoint.read(
            edited(tmp_path / "c.safetensors", preprocessing={**Preprocessing(96).to_json(), "version": 99})
        )
    with pytest.raises(CheckpointError, match="header that cxrlt cannot read"):
        Checkpoint.read(edited(tmp_path / "d.safetensors", architecture={"unknown": 1}))


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    CHECKPOINT.write(tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    for spoilt in flipped(data, 200):
        (tmp_path / "a.safetensors").write_bytes(spoilt)
        with pytest.raises(CheckpointError):
            Checkpoint.read(tmp_path / "a.safetensors")


def test_every_bit_of_what_says_that_there_is_a_checksum_is_one_of_them(tmp_path: Path) -> None:
    """Or a damaged file would be taken for an older one, or for one of others."""
    CHECKPOINT.write(tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    for word in (b"__metadata__", b'"cxrlt":', b'\\"digest', b"format", b"cxrlt\\"):
        place = data.index(word)
        for byte in range(place, place + len(word)):
            for bit in range(8):
                spoilt = bytearray(data)
                spoilt[byte] ^= 1 << bit
                (tmp_path / "a.safetensors").write_bytes(spoilt)
                with pytest.raises(CheckpointError):
                    Checkpoint.read(tmp_path / "a.safetensors")


def test_a_file_of_0_1_0_is_read_and_known_to_have_no_checksum(tmp_path: Path) -> None:
    CHECKPOINT.write(tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        header = {**json.loads(file.metadata()["cxrlt"]), "format": 1}
    del header["digest"]
    save_file(dict(CHECKPOINT.tensors), tmp_path / "a.safetensors", metadata={"cxrlt": json.dumps(header)})
    assert not Checkpoint.read(tmp_path / "a.safetensors").checked
    header["format"] = 2
    save_file(dict(CHECKPOINT.tensors), tmp_path / "a.safetensors", metadata={"cxrlt": json.dumps(header)})
    with pytest.raises(CheckpointError, match="digest is missing"):
        Checkpoint.read(tmp_path / "a.safetensors")


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


def test_nothing_is_run_from_a_pickle_whatever_its_name(tmp_path: Path) -> None:
    """By a name of ours, as a run's checkpoint, deep inside, as an object's class, and where the tensors should be."""
    target = tmp_path / "proof"
    layers = {"model_state_dict": {"model": {"a": torch.zeros(2), "b": [Malicious(target)]}}}
    contents: list[object] = [Malicious(target), layers, {"a": torch.zeros(2), "epoch": Malicious(target)}]
    (tmp_path / "run").mkdir()
    for name in ("bad.safetensors", "run/best.safetensors", "bad.pth", "bad.bin", "bad"):
        for content in contents:
            for data in (pickle.dumps(content, 0), pickle.dumps(content, 2), pickle.dumps(content, 4), zipped(content)):
                (tmp_path / name).write_bytes(data)
                with pytest.raises(CheckpointError) as caught:
                    Checkpoint.read(tmp_path / name)
                assert caught.value.exit_code == 4
                assert not target.exists()
    pickle.loads(pickle.dumps(Malicious(target)))
    assert target.is_dir(), "it would have run"


def zipped(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


class Filling:
    def __reduce__(self) -> tuple[object, tuple[int]]:
        return bytearray, (10**12,)


def test_pytorch_files_that_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for data in (pickle.dumps({"a": Filling()}, 2), zipped({"a": Filling()})):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="holds more than tensors"):
            read_tensors(path)
    path.write_bytes(zipped({"a": torch.ones(1, dtype=torch.float16).expand(10**6, 10**6)}))
    with pytest.raises(CheckpointError, match="larger than what is stored of it"):
        read_tensors(path)
    path.write_bytes(zipped({"a": torch.zeros(1000)}))
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, before.read(name))
    with pytest.raises(CheckpointError, match="is compressed"):
        read_tensors(tmp_path / "b.pth")


@pytest.mark.parametrize(("change", "said"), [
    ({"format": "1"}, "format is 1"), ({"format": True}, "format"), ({"format": None}, "format"),
    ({"findings": "Normal"}, "no list of names"), ({"findings": []}, "no list"), ({"findings": ["a", 1]}, "no list"),
    ({"findings": {"a": 1}}, "no list"), ({"findings": ["a", "a"]}, "twice"), ({"findings": ["=A1"]}, "formula"),
    ({"findings": ["a\n"]}, "begins or ends"), ({"findings": ["\ud800"]}, "half a character"),
    ({"image_size": -1}, "image_size is -1"), ({"image_size": 10**9}, "image_size is 1000000000"),
    ({"image_size": 0}, "image_size"), ({"image_size": 96.5}, "image_size"), ({"image_size": "96"}, "image_size"),
    ({"image_size": True}, "image_size"), ({"image_size": [96]}, "image_size"),
    ({"mean": [0.1, 0.2]}, "shorter"), ({"mean": [0.1] * 4}, "longer"), ({"mean": ["0", 0, 0]}, "mean of red"),
    ({"mean": 0.5}, "not iterable"), ({"mean": "abc"}, "mean of red"), ({"mean": [float("nan")] * 3}, "mean of red"),
    ({"std": [1, 0, 1]}, "std of green is 0"), ({"std": [1, 1, float("inf")]}, "std of blue is inf"),
    ({"std": [1, 1, 10**400]}, "std of blue"), ({"std": None}, "not iterable"),
    ({"training": []}, "training"), ({"training": {"options": "x"}}, "training"), ({"training": None}, "training"),
    ({"architecture": None}, "cannot read"), ({"architecture": []}, "cannot read"), ({"architecture": {}}, "backbone"),
    ({"preprocessing": {}}, "interpolation"), ({"preprocessing": 3}, "cannot read"),
    ({"preprocessing": {"interpolation": ["area"]}}, "interpolation is"),
    ({"preprocessing_hash": 7}, "prepared in another way"),
])  # fmt: skip
def test_values_of_the_wrong_kind_are_told(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        Checkpoint.read(edited(tmp_path / "a.safetensors", **change))
    assert "a.safetensors" in str(caught.value)


@pytest.mark.parametrize("change", [
    {"backbone": 3}, {"head": None}, {"csra_heads": 0}, {"csra_heads": 10**9}, {"csra_heads": 1.5},
    {"csra_lambda": "0.1"}, {"csra_lambda": float("nan")}, {"prior_bias": 1}, {"logit_scale": None}, {"more": 1},
    {"head": "csar"}, {"head": "x"}, {"arguments": None}, {"arguments": []}, {"arguments": {"patch_size": "x"}},
    {"arguments": {"checkpoint_path": "a.bin"}}, {"arguments": {"patch_size": 0}}, {"arguments": {"act_layer": "relu"}},
])  # fmt: skip
def test_an_architecture_of_the_wrong_kind_is_told(tmp_path: Path, change: dict[str, object]) -> None:
    architecture = {**asdict(CHECKPOINT.architecture), **change}
    with pytest.raises(CheckpointError, match="header that cxrlt cannot read"):
        Checkpoint.read(edited(tmp_path / "a.safetensors", architecture=architecture))


def test_arguments_of_the_backbone_stand_there_where_there_are_any() -> None:
    plain = Architecture("test_vit", "linear")
    assert "arguments" not in plain.to_json(), "a cxrlt that knows none reads it"
    made = Architecture("test_vit", "linear", arguments={"patch_size": 16, "ref_feat_shape": [14, 14]})
    assert Architecture(**made.to_json()) == made != plain


@pytest.mark.parametrize("key", ["format", "architecture", "findings", "image_size", "mean", "std", "training",
                                 "preprocessing", "preprocessing_hash"])  # fmt: skip
def test_what_is_missing_is_told(tmp_path: Path, key: str) -> None:
    path = edited(tmp_path / "a.safetensors")
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["cxrlt"])
    del header[key]
    written(path, header)
    with pytest.raises(CheckpointError, match=f"cannot read .*{key}"):
        Checkpoint.read(path)


@pytest.mark.parametrize(
    "text", ["{", "[1]", "3", "null", '"x"', "[" * 100_000, "9" * 10_000, '{"format": 1e999}', "{}"]
)
def test_metadata_that_is_no_header_is_told(tmp_path: Path, text: str) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", metadata={"cxrlt": text})
    with pytest.raises(CheckpointError, match=r"a\.safetensors (is damaged|has a header that)"):
        Checkpoint.read(tmp_path / "a.safetensors")


FLOAT = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(("header", "length"), [
    ({"a": FLOAT}, 10**6), ({"a": FLOAT}, 2**63), ({"a": FLOAT}, 2**64 - 1), ({"a": FLOAT}, 99_999_999),
    ("no JSON", None), ("[]", None), ("{" * 90, None), ('{"a":' * 50_000, None), (b"\xff\xfe", None), ("", None),
    ({"a": FLOAT, "b": {**FLOAT, "data_offsets": [4, 12]}}, None), ({"a": FLOAT, "b": FLOAT}, None),
    ({"a": {**FLOAT, "data_offsets": [8, 0]}}, None), ({"a": {**FLOAT, "data_offsets": [-8, 0]}}, None),
    ({"a": {**FLOAT, "data_offsets": [0, 2**62]}}, None), ({"a": {**FLOAT, "shape": [2**31, 2**31, 2**31]}}, None),
    ({"a": {**FLOAT, "dtype": "F33"}}, None), ({"a": {**FLOAT, "dtype": 3}}, None), ({"a": {"dtype": "F32"}}, None),
    ({"a": FLOAT, "__metadata__": {"cxrlt": 3}}, None), ({"a": FLOAT, "__metadata__": []}, None),
])  # fmt: skip
def test_headers_that_lie_are_refused(tmp_path: Path, header: object, length: int | None) -> None:
    text = json.dumps(header) if isinstance(header, dict) else header
    data = text if isinstance(text, bytes) else str(text).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(data) if length is None else length) + data + bytes(8))
    with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged"):
        read_tensors(path)


def test_the_winners_layout_without_its_shapes_is_told(tmp_path: Path) -> None:
    names = ("backbone.stem.0.weight", "head.conv_att.weight")
    one: dict[str, torch.Tensor] = {name: torch.zeros(40, 3, 1, 1) for name in names}
    bias = torch.zeros(len(CXR_LT_2026))
    for more in ({}, {"head.classifier.bias": torch.tensor(1.0)}, {"head.classifier.bias": bias, names[0]: bias + 1}):
        save_file({**one, **more}, tmp_path / "a.safetensors")
        with pytest.raises(CheckpointError, match="not its shapes"):
            Checkpoint.read(tmp_path / "a.safetensors")
    odd = {
        "head.classifier.bias": bias,
        "backbone.stages.blocks.x": bias.clone(),
        "backbone.stages.0.blocks.": bias + 1,
    }
    save_file({**one, **odd}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="no ConvNeXtV2 that is known"):
        Checkpoint.read(tmp_path / "a.safetensors")


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
