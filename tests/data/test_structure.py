"""Bombs: small files that ask for much, refused before anything large is made of them."""

import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from cxrlt_cli.data.image import read_film
from cxrlt_cli.data.structure import largest
from cxrlt_cli.errors import FilmError
from tests.data.test_image import dicom
from tests.fuzz.inputs import encoded, under_syntax

MILLION = 10**6


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, idat: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    end = chunk(b"IDAT", idat) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + end


def zeros(megabytes: int, wbits: int = zlib.MAX_WBITS) -> bytes:
    """So many deflated, a thousandth of that in size."""
    deflate = zlib.compressobj(9, wbits=wbits)
    start = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    again = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return start + again * (megabytes - 1) + deflate.flush()


def jpeg(width: int = 40, height: int = 40, *options: int) -> bytes:
    return cv2.imencode(".jpg", np.zeros((height, width), np.uint8), list(options))[1].tobytes()


def says(stream: bytes, marker: bytes, size: bytes, offset: int) -> bytes:
    """The stream with another size in its header."""
    place = stream.index(marker) + offset
    return stream[:place] + size + stream[place + len(size) :]


SMALL = np.zeros((20, 20), np.uint8)
VAST = struct.pack(">HH", 65000, 65000)


def of_pixels(tmp_path: Path, syntax: UID, stream: bytes | None) -> bytes:
    return under_syntax(dicom(tmp_path / "small.dcm", SMALL), syntax, stream)


def bombs(tmp_path: Path) -> dict[str, tuple[bytes, str]]:
    codestream, boxes = encoded(SMALL, "JPEG2000", no_jp2=True), encoded(SMALL, "JPEG2000")
    vast = struct.pack(">II", 65000, 65000)
    hidden = jpeg()[:2] + b"\xff\x01" + says(jpeg(), b"\xff\xc0", VAST, 5)[2:]
    scans = says(jpeg(16, 16, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), b"\xff\xda", b"\xff\xda\0\x08" * 200, 0) + b"\xff\xd9"
    frames = chunk(b"acTL", struct.pack(">II", 2, 0))
    deflated = of_pixels(tmp_path, DeflatedExplicitVRLittleEndian, None)
    meta = deflated.index(DeflatedExplicitVRLittleEndian.encode()) + 22  # what is deflated begins behind its name
    shape, none = "compressed pixels of an impossible shape", struct.pack(">HH", 0, 1)
    pixels = r"has 4,225,000,000 pixels, more than --max-pixels"
    return {
        "size.png": (png(100_000, 100_000, zlib.compress(bytes(100))), "has 10,000,000,000 pixels"),
        "idat.png": (png(10, 10, zeros(3000)), "more compressed bytes than its pixels"),
        "frames.png": (png(10, 10, zlib.compress(bytes(110)), frames), "animated"),
        "size.jpg": (says(jpeg(), b"\xff\xc0", VAST, 5), pixels),
        "hidden.jpg": (hidden, pixels),
        "scans.jpg": (scans, "is a JPEG of 20[0-9] scans"),
        "native.dcm": (dicom(tmp_path / "x.dcm", SMALL, Rows=65000, Columns=65000).read_bytes(), pixels),
        "deflated.dcm": (deflated[:meta] + zeros(3000, -zlib.MAX_WBITS), "more bytes than a film"),
        "jpeg.dcm": (of_pixels(tmp_path, JPEGBaseline8Bit, says(jpeg(), b"\xff\xc0", VAST, 5)), pixels),
        "lines.jpg": (says(jpeg(), b"\xff\xc0", none, 5), shape),
        "lines.dcm": (of_pixels(tmp_path, JPEGBaseline8Bit, says(jpeg(), b"\xff\xc0", none, 5)), shape),
        "parts.dcm": (of_pixels(tmp_path, JPEGBaseline8Bit, says(jpeg(), b"\xff\xc0", b"\xff", 9)), shape),
        "layers.dcm": (of_pixels(tmp_path, JPEG2000Lossless, says(codestream, b"\xff\x51", b"\x40\0", 38)), shape),
        "none.dcm": (of_pixels(tmp_path, JPEG2000Lossless, says(codestream, b"\xff\x51", bytes(8), 6)), shape),
        "stream.dcm": (of_pixels(tmp_path, JPEG2000Lossless, says(codestream, b"\xff\x51", vast, 6)), pixels),
        "boxes.dcm": (of_pixels(tmp_path, JPEG2000Lossless, says(boxes, b"\xff\x51", vast, 6)), pixels),
        "runs.dcm": (
            of_pixels(tmp_path, RLELossless, struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * MILLION),
            "more compressed bytes than its pixels",
        ),
        "kind.dcm": (of_pixels(tmp_path, JPEGBaseline8Bit, png(9, 9, b"")), "pixels are no JPEG"),
    }


def test_bombs_are_told_by_what_they_are(tmp_path: Path) -> None:
    for name, (data, said) in bombs(tmp_path).items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FilmError, match=said):
            read_film(tmp_path / name, max_pixels=MILLION)


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """Measured in a process of its own: much of what decoders take is not Python's."""
    names = []
    for name, (data, _) in bombs(tmp_path).items():
        (tmp_path / name).write_bytes(data)
        names.append(str(tmp_path / name))
    (tmp_path / "good.jpg").write_bytes(jpeg())
    code = f"""
import resource
from cxrlt_cli.data.image import read_film
from cxrlt_cli.errors import FilmError
read_film({str(tmp_path / "good.jpg")!r})
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
for name in {names}:
    try:
        read_film(name, max_pixels={MILLION})
    except FilmError:
        continue
    raise AssertionError(name)
print("MB", (peak() - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    found = re.search(r"MB (\d+)", done.stdout)
    assert found is not None
    assert int(found.group(1)) < 100


@pytest.mark.parametrize("length", [0, 1, 7, 2**32 - 1])
def test_boxes_that_lead_nowhere_are_refused(tmp_path: Path, length: int) -> None:
    """pydicom looks for the next box for ever where one has no length."""
    boxes = encoded(SMALL, "JPEG2000")
    damaged = boxes[:12] + struct.pack(">I", length) + boxes[16:]
    (tmp_path / "a.dcm").write_bytes(of_pixels(tmp_path, JPEG2000Lossless, damaged))
    with pytest.raises(FilmError, match="JPEG 2000 pixels are damaged"):
        read_film(tmp_path / "a.dcm")


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, JPEG2000Lossless])
def test_honest_films_of_the_same_kinds_are_read(tmp_path: Path, syntax: UID) -> None:
    levels = np.tile(np.arange(0, 200, 10, dtype=np.uint8), (20, 1))
    kind = {JPEGBaseline8Bit: "JPEG", JPEG2000Lossless: "JPEG2000"}.get(syntax)
    options = {"quality": 95} if kind == "JPEG" else {"no_jp2": True}
    stream = None if kind is None else encoded(levels, kind, **options)
    (tmp_path / "a.dcm").write_bytes(under_syntax(dicom(tmp_path / "b.dcm", levels), syntax, stream))
    assert np.abs(read_film(tmp_path / "a.dcm", max_pixels=400).astype(int) - levels).max() <= 8


def test_a_marker_without_a_length_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg()[:2] + b"\xff\x01\xff\xd0" + jpeg()[2:])
    assert read_film(tmp_path / "a.jpg").shape == (40, 40)


def test_a_file_that_no_film_could_fill_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(largest(MILLION) + 1)  # takes no room on the disk
    with pytest.raises(FilmError, match="more bytes than a film of --max-pixels 1,000,000"):
        read_film(tmp_path / "a.png", max_pixels=MILLION)
