"""PNGs inflated by libdeflate before OpenCV sees them, whose zlib takes most of the time that reading a film takes.

What was compressed becomes the same bytes stored, in a PNG that is otherwise as it was: libpng undoes the filters as it
always did, so that every pixel is the same. A PNG that is in any way out of the ordinary is left as it stands.
"""

import struct
from collections.abc import Sequence
from typing import cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

BLOCK = 2**16 - 1  # bytes of a stored block (RFC 1951, 3.2.4)
HEAD = 5  # bytes before them: whether it is the last block, its length, and that again inverted
HEADER = b"\x78\x01"  # of a zlib stream (RFC 1950): the window of 32 KiB, which every stream's distances lie within
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the type of colour
DEPTHS = (1, 2, 4, 8, 16)


def inflated(data: bytes, pixels: Sequence[slice]) -> Bytes:
    """A PNG whose pixels are stored, or as it is: interlaced, damaged, or not as the standard has it.

    ``pixels``: where the data of each of its chunks IDAT stands.
    """
    whole = np.frombuffer(data, np.uint8)
    size = _inflated_size(data)
    parts = [whole[part] for part in pixels]
    if size is None or not parts:
        return whole
    first, last = pixels[0].start - 8, pixels[-1].stop + 4
    if last - first != sum(12 + len(part) for part in parts):  # other chunks stand between them
        return whole
    stream = np.concatenate(parts)
    if len(stream) < len(HEADER) or stream[0] != HEADER[0]:  # of a smaller window, which libdeflate would not hold to
        return whole
    try:
        rows = np.frombuffer(imagecodecs.deflate_decode(_buffer(stream), out=size), np.uint8)
    except imagecodecs.DeflateError:
        return whole
    return _stored(whole[:first], rows, whole[last:]) if len(rows) == size else whole


def _inflated_size(data: bytes) -> int | None:
    """Bytes of all rows, each with its filter; None where they are interlaced, or the header is none."""
    length, kind, width, height, depth, colour, *_, interlaced = struct.unpack_from(">I4sIIBBBBB", data, 8)
    if (length, kind) != (13, b"IHDR") or interlaced or colour not in CHANNELS or depth not in DEPTHS:
        return None
    return int(height * (1 + (width * depth * CHANNELS[colour] + 7) // 8))


def _stored(before: Bytes, rows: Bytes, after: Bytes) -> Bytes:
    """The chunks before and after, and one IDAT between them."""
    full, rest = divmod(len(rows), BLOCK)
    length = len(HEADER) + full * (HEAD + BLOCK) + HEAD + rest + 4
    out = np.empty(len(before) + 12 + length + len(after), np.uint8)
    chunk = out[len(before) : len(out) - len(after)]
    out[: len(before)], out[len(out) - len(after) :] = before, after
    chunk[:10] = _bytes(">I4s2s", length, b"IDAT", HEADER)
    blocks, end = chunk[10 : 10 + full * (HEAD + BLOCK)], chunk[10 + full * (HEAD + BLOCK) :]
    blocks = blocks.reshape(full, HEAD + BLOCK)
    blocks[:, :HEAD] = _bytes("<BHH", 0, BLOCK, 0)
    blocks[:, HEAD:] = rows[: full * BLOCK].reshape(full, BLOCK)
    end[:HEAD] = _bytes("<BHH", 1, rest, BLOCK ^ rest)
    end[HEAD : HEAD + rest] = rows[full * BLOCK :]
    end[-8:-4] = _bytes(">I", imagecodecs.deflate_adler32(_buffer(rows)))
    chunk[-4:] = _bytes(">I", imagecodecs.deflate_crc32(_buffer(chunk[4:-4])))
    return out


def _bytes(layout: str, *values: object) -> Bytes:
    return np.frombuffer(struct.pack(layout, *values), np.uint8)


def _buffer(values: Bytes) -> bytes:
    """The same memory: imagecodecs takes any buffer, and its types say bytes."""
    return cast("bytes", values)
