"""Valid files of every kind, and edits that spoil them."""

import io
import json
import pickle
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pydicom
import torch
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)
from safetensors.torch import load, save

from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.nets.checkpoints import Architecture, Checkpoint
from cxrlt_cli.nets.tensors import END, digest
from tests.data.test_image import dicom, scene


@dataclass(frozen=True)
class Edit:
    """One change of some bytes: where, as a share of the file, and what."""

    kind: str  # flip, put, insert, cut, repeat, end
    place: float
    data: bytes
    length: int


KINDS = ("flip", "put", "insert", "cut", "repeat", "end")
TELLING = [
    *(struct.pack(code, value) for code in (">I", "<I", ">H", "<H") for value in (0, 1, 0x7FFF, 0xFFFF)),
    *(b"\xff" * 4, b"\xff" * 8, bytes(8), b"\xff\xd9", b"\xff\xda\x00\x08", b"\xff\x01"),  # of films
    *(b"SQ", b"DS", b"UN", b"IS1e9", b"\x28\x00\x10\x00", b"\x28\x00\x02\x01"),  # of DICOM
    *(b"\0", b"\n", b"\r", b'"', b",", b"=", b";+A1", b"../", b"\xef\xbb\xbf", b"\xff\xfe"),  # of CSV
    *(b"1e999", b"-1", b"NaN", b"null", b"true", b"9" * 400, b"[", b"{", b"\\ud800", b"[" * 3000),  # of JSON
    *(b"*a", b"&a ", b"!!python/object:os.system ", b"? ", b"- ", b": ", b"'", b"\\U11111111", b"%YAML 9.9\n"),
]


def spoilt(data: bytes, edits: Sequence[Edit]) -> bytes:
    for edit in edits:
        place = int(edit.place * len(data))
        head, tail = data[:place], data[place:]
        if edit.kind == "flip":
            data = head + bytes([tail[0] ^ (edit.length % 255 + 1)]) + tail[1:] if tail else head
        elif edit.kind == "put":
            data = head + edit.data + tail[len(edit.data) :]
        elif edit.kind == "insert":
            data = head + edit.data + tail
        elif edit.kind == "cut":
            data = head + tail[edit.length :]
        elif edit.kind == "repeat":
            data = head + tail[: edit.length] * 3 + tail
        else:
            data = head
    return data


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold, so that a decoder gets to see it."""
    done, position = bytearray(data[:8]), 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if position + 12 + length > len(data):
            break
        body = data[position + 4 : position + 8 + length]
        done += struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
        position += 12 + length
    return bytes(done) + data[position:]


def csvs() -> list[bytes]:
    labels = "ImageID,PatientID,View,Normal,Mass\na.png,1,PA,1,0\nb/c.png,2,AP,,1\n-12.png,2,L,0,0\n"
    odd = '\ufeffMass,"PatientID","ImageID"\r\n0,1,"a,""x"".png"\r\n1.0,2," b.png"\r\n\r\n,3,é;ü.png\r\n'
    predictions = "ImageID,Normal,Mass\na.png,0.25,1e-12\n007,1,0\n+1,0.5,0.333333333333333314829616256247\n"
    decisions = 'ImageID,"a, b",c\nx,0,1\ny,1,0\n'
    return [text.encode() for text in (labels, odd, predictions, decisions)]


def parquets() -> list[bytes]:
    """The CSVs, with their own types of columns."""
    files = []
    for text in csvs():
        buffer = io.BytesIO()
        pd.read_csv(io.BytesIO(text)).to_parquet(buffer)
        files.append(buffer.getvalue())
    return files


def pngs() -> list[bytes]:
    grey = (scene(20, 24) * 255).astype(np.uint8)
    images = (grey, (scene(20, 24) * 65535).astype(np.uint16), np.repeat(grey[:, :, None], 4, axis=2))
    return [cv2.imencode(".png", image)[1].tobytes() for image in images]


def jpegs() -> list[bytes]:
    grey = (scene(40, 48) * 255).astype(np.uint8)
    options: list[list[int]] = [
        [], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 4, cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    ]  # fmt: skip
    files = [cv2.imencode(".jpg", grey, option)[1].tobytes() for option in options]
    return [*files, cv2.imencode(".jpg", np.repeat(grey[:, :, None], 3, axis=2))[1].tobytes()]


def dicoms(folder: Path) -> list[bytes]:
    """Native, implicit, deflated, of compressed pixels; with windows, rescaling, lookup tables and padding."""
    levels = np.round(scene(20, 24) * 4095).astype(np.uint16)
    window = {"WindowCenter": 2000, "WindowWidth": 1500, "RescaleSlope": 1, "RescaleIntercept": -10}
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = np.arange(4096, dtype=np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    grey = (levels >> 4).astype(np.uint8)
    jpeg, codestream, boxes = encoded(grey, "JPEG"), encoded(grey, "JPEG2000", no_jp2=True), encoded(grey, "JPEG2000")
    made: list[tuple[Any, dict[str, Any], UID | None, bytes | None]] = [
        (levels, window, None, None),
        (levels, {**window, "VOILUTFunction": "SIGMOID", "PixelPaddingValue": 100}, None, None),
        (levels.astype(np.int16), {"PhotometricInterpretation": "MONOCHROME1"}, ImplicitVRLittleEndian, None),
        (levels, {"VOILUTSequence": [table]}, None, None),
        (levels, {"ModalityLUTSequence": [table]}, None, None),
        (levels, window, DeflatedExplicitVRLittleEndian, None),
        (grey, {}, JPEGBaseline8Bit, jpeg),
        (grey, {}, JPEG2000Lossless, codestream),
        (grey, {}, JPEG2000Lossless, boxes),
    ]
    files = []
    for pixels, elements, syntax, stream in made:
        path = dicom(folder / "seed.dcm", pixels, **elements)
        if syntax is not None:
            files.append(under_syntax(path, syntax, stream))
        else:
            files.append(path.read_bytes())
    dataset = pydicom.dcmread(dicom(folder / "seed.dcm", levels))
    dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return [*files, buffer.getvalue()]


def encoded(image: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def under_syntax(path: Path, syntax: UID, stream: bytes | None = None) -> bytes:
    """The file of a native DICOM under another transfer syntax, with compressed pixels where it has some."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    if stream is not None:
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return buffer.getvalue()


def checkpoints(folder: Path) -> list[bytes]:
    architecture = Architecture("test_convnext", "csra", 4, 0.3)
    tensors = {"head.weight": torch.ones(4, 2, 3), "novelty.mean": torch.zeros(2)}
    three = (0.1, 0.2, 0.3)
    one = Checkpoint(
        architecture, ("Normal", "Mass"), Preprocessing(96), three, three, tensors, {"options": {"csv": "x"}}
    )
    one.write(folder / "seed.safetensors")
    winner = {
        "backbone.stem.0.weight": torch.zeros(40, 3, 1, 1),
        "backbone.stages.0.blocks.0.gamma": torch.zeros(2),
        "head.conv_att.weight": torch.zeros(2),
        "head.classifier.bias": torch.zeros(30),
    }
    return [(folder / "seed.safetensors").read_bytes(), save(winner)]


def with_length(data: bytes) -> bytes:
    """A safetensors file that says how long its header is, so that the header gets to be read."""
    end = data.rfind(b"}") + 1
    return struct.pack("<Q", max(end - 8, 0)) + data[8:]


def with_own_header(data: bytes, edits: Sequence[Edit]) -> bytes:
    """A safetensors file that is whole, with its checksum, but for the text that cxrlt put into its header."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    text = header.get("__metadata__", {"cxrlt": "{}"})["cxrlt"]
    edited = spoilt(text.partition(', "digest": "')[0].encode(), edits).decode(errors="replace") + ', "digest": "'
    header["__metadata__"] = {"cxrlt": edited + digest(edited + END, load(data)) + END}
    written = json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + data[8 + length :]


def pickles() -> list[bytes]:
    content = {"model_state_dict": {"a.weight": torch.ones(2, 3), "b": torch.zeros(2, dtype=torch.float16)}}
    files = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
        files.append(buffer.getvalue())
    return [*files, pickle.dumps({"a": 1}, 2)]


def prompts() -> list[bytes]:
    plain = "findings:\n  goiter:\n    - one sentence\n    - 'two: sentences'\nanchors: [normal]\n"
    groups = (
        'findings:\n  "Größe":\n    signs: [a, "\\u00fc b"]\n    terms:\n    - |\n      long\n      text\n  x: [c]\n'
    )
    return [plain.encode(), groups.encode()]
