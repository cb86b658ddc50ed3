"""What libdeflate inflates is what OpenCV reads alone: the same pixels, and nothing where it reads nothing."""

import struct
import zlib
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxrlt_cli.data.inflating import inflated
from cxrlt_cli.data.structure import PNG, check_png
from tests.data.test_structure import chunk
from tests.helpers import flipped

RNG = np.random.default_rng(0)


def made(
    width: int, height: int, depth: int, colour: int, *, extra: bytes = b"", stream: bytes | None = None,
    interlaced: bool = False, parts: int = 1,
) -> bytes:  # fmt: skip
    """A PNG of every filter, by hand."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = (width * depth * channels + 7) // 8
    rows = b"".join(bytes([index % 5]) + RNG.integers(0, 4, row, np.uint8).tobytes() for index in range(height))
    data = zlib.compress(rows) if stream is None else stream
    cuts = np.linspace(0, len(data), parts + 1).astype(int)
    idats = b"".join(chunk(b"IDAT", data[start:end]) for start, end in pairwise(cuts.tolist()))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return PNG + chunk(b"IHDR", header) + extra + idats + chunk(b"IEND", b"")


def decoded(data: NDArray[np.uint8]) -> NDArray[Any] | None:
    image: NDArray[Any] | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    return image


def check(data: bytes, *, faster: bool) -> None:
    before = np.frombuffer(data, np.uint8)
    after = inflated(data, check_png(data, 10**8).pixels)
    assert (len(after) != len(before)) == faster
    mine, theirs = decoded(after), decoded(before)
    assert (mine is None) == (theirs is None)
    if mine is not None and theirs is not None:
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype


PALETTE = chunk(b"PLTE", bytes(range(48)))


@pytest.mark.parametrize(
    ("depth", "colour"),
    [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (4, 3), (8, 4), (16, 4), (8, 6), (16, 6)],
)
@pytest.mark.parametrize("parts", [1, 3])
def test_pixels_of_every_depth_and_colour_are_the_same(depth: int, colour: int, parts: int) -> None:
    check(made(37, 41, depth, colour, extra=PALETTE if colour == 3 else b"", parts=parts), faster=True)


@pytest.mark.parametrize("rows", [65535 // 257, 2 * 65535 // 257, 300])
def test_blocks_are_full_or_not(rows: int) -> None:
    """65,535 bytes of 257 a row make whole blocks, of which the last, empty one ends the stream."""
    check(made(128, rows, 16, 0), faster=True)


def test_chunks_that_change_pixels_stay() -> None:
    for extra in (chunk(b"tRNS", b"\0\2"), chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sBIT", b"\2")):
        check(made(20, 20, 8, 0, extra=extra), faster=True)


def test_what_is_out_of_the_ordinary_is_left_as_it_is() -> None:
    whole = zlib.compress(bytes(20 * 21))
    small = zlib.compressobj(9, zlib.DEFLATED, 9)
    wrong = {
        "interlaced": made(20, 20, 8, 0, interlaced=True),
        "too short": made(20, 20, 8, 0, stream=zlib.compress(bytes(20 * 21 - 1))),
        "too long": made(20, 20, 8, 0, stream=zlib.compress(bytes(20 * 21 + 1))),
        "checksum": made(20, 20, 8, 0, stream=whole[:-1] + bytes([whole[-1] ^ 1])),
        "cut": made(20, 20, 8, 0, stream=whole[:-6]),
        "empty": made(20, 20, 8, 0, stream=b""),
        "smaller window": made(20, 20, 8, 0, stream=small.compress(bytes(20 * 21)) + small.flush()),
        "depth": made(20, 20, 3, 0),
        "type of colour": made(20, 20, 8, 0).replace(b"\x08\0\0\0\0", b"\x08\1\0\0\0", 1),
    }
    wrong["type of colour"] = _with_checksums(wrong["type of colour"])
    wrong["between"] = _between(made(20, 20, 8, 0, parts=2))
    for name, data in wrong.items():
        try:
            check(data, faster=False)
        except AssertionError as error:
            raise AssertionError(name) from error
    check(made(20, 20, 8, 0, stream=whole + b"behind"), faster=True)


def test_damage_is_read_as_it_is_without() -> None:
    """Streams with a byte changed, below right checksums of chunks."""
    stream = zlib.compress(b"".join(bytes([index % 5]) + RNG.bytes(40) for index in range(30)))
    for damaged in flipped(stream, 200):
        data = made(20, 30, 16, 0, stream=damaged)
        before = decoded(np.frombuffer(data, np.uint8))
        after = decoded(inflated(data, check_png(data, 10**6).pixels))
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            np.testing.assert_array_equal(before, after)


def _with_checksums(data: bytes) -> bytes:
    """With the checksum of its header made right."""
    return data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]


def _between(data: bytes) -> bytes:
    """With a text between two chunks of pixels."""
    second = data.rindex(b"IDAT") - 4
    return data[:second] + chunk(b"tEXt", b"a\0b") + data[second:]
