"""What the bytes of a film say of themselves, looked at before a decoder sees them.

A decoder makes room for what a header asks for, inflates whatever is deflated, and passes over damage. Each function
here walks through a format without unpacking it and raises UnreadableError, with the reason, where a film would take
more than ``max_pixels`` allow or is not whole.
"""

import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Literal, cast

import imagecodecs

MAX_COMPONENTS = 4  # red, green, blue and one more
MAX_SCANS = 100  # of a progressive JPEG; each is a pass over all of its pixels
BYTES_PER_PIXEL, OVERHEAD = 8, 2**26  # more than any film takes on the disk: four channels of 16 bits, and metadata

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000; their compressed bytes cannot hold it
_JPEG_2000, _JP2 = b"\xff\x4f\xff\x51", b"jP  "
START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_START_OF_TILE = 0xFF90
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_EXIF = b"Exif\0\0"


class UnreadableError(Exception):
    """Why the bytes of a film are of no use."""


def check_pixels(num_pixels: int, max_pixels: int) -> None:
    if num_pixels > max_pixels:
        raise UnreadableError(f"has {num_pixels:,} pixels, more than --max-pixels {max_pixels:,}")


def _check_shape(height: int, width: int, components: int, max_pixels: int) -> None:
    """Of a compressed stream. A height of 0 means one that is told later: libjpeg makes room for lines without end."""
    if height < 1 or width < 1 or not 1 <= components <= MAX_COMPONENTS:
        raise UnreadableError(f"has compressed pixels of an impossible shape ({width} x {height} x {components})")
    check_pixels(height * width, max_pixels)


def largest(max_pixels: int) -> int:
    """Bytes that no file of so many pixels, and no inflated one, exceeds."""
    return max_pixels * BYTES_PER_PIXEL + OVERHEAD


def check_size(num_bytes: int, max_pixels: int) -> None:
    if num_bytes > largest(max_pixels):
        raise UnreadableError(f"has more bytes than a film of --max-pixels {max_pixels:,} can have")


@dataclass(frozen=True)
class JpegHeader:
    """What a stream of JPEG, lossless JPEG or JPEG-LS says of itself before its first scan."""

    process: int  # the second byte of the marker that starts the frame
    precision: int  # bits of a sample
    components: int
    space: Literal["RGB", "YCbCr", ""]  # of three components, where markers say so (JFIF, Adobe) or their names do
    exif: bytes  # as it is in the file; empty where there is none

    @property
    def lossless(self) -> bool:
        return self.process in _LOSSLESS


@dataclass(frozen=True)
class PngLayout:
    """``exif``: its Exif data, empty where it has none; ``pixels``: where the data of each chunk IDAT stands."""

    exif: bytes
    pixels: tuple[slice, ...]


def check_png(data: bytes, max_pixels: int) -> PngLayout:
    """Every chunk is there and has its checksum; one picture."""
    position, kind, num_pixels, exif = len(PNG), b"", 0, b""
    pixels: list[slice] = []
    view = memoryview(data)
    while kind != b"IEND":
        if position + 12 > len(data):
            raise UnreadableError("is a PNG cut short")
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            raise UnreadableError("is a PNG cut short")
        if imagecodecs.deflate_crc32(cast("bytes", view[position + 4 : end])) != struct.unpack_from(">I", data, end)[0]:
            raise UnreadableError("is a damaged PNG (checksum)")
        if kind == b"IHDR" and length >= 8:
            width, height = struct.unpack_from(">II", data, position + 8)
            num_pixels = height * width
            check_pixels(num_pixels, max_pixels)
        if kind == b"acTL":
            raise UnreadableError("is an animated PNG, not one film")
        if kind == b"eXIf":
            exif = data[position + 8 : end]
        if kind == b"IDAT":
            pixels.append(slice(position + 8, end))
        position = end + 4
    compressed = sum(part.stop - part.start for part in pixels)
    if compressed > (BYTES_PER_PIXEL + 1) * num_pixels + 2**16:  # all of it would be inflated, and thrown away
        raise UnreadableError("is a PNG of more compressed bytes than its pixels can have")
    return PngLayout(exif, tuple(pixels))


def check_jpeg(data: bytes, max_pixels: int) -> JpegHeader:
    """A stream of JPEG, lossless JPEG or JPEG-LS, which ends as it should; what stands behind its end is not looked at.

    The end may come too soon: that, a decoder finds out.
    """
    frame: tuple[int, ...] | None = None
    space: Literal["RGB", "YCbCr", ""] = ""
    position, exif = len(JPEG), b""
    while position + 9 < len(data):
        marker, (length,) = data[position + 1], struct.unpack_from(">H", data, position + 2)
        if data[position] != 0xFF:
            raise UnreadableError("is a damaged JPEG")
        if marker in START_OF_FRAME:
            frame = (marker, *struct.unpack_from(">BHHB", data, position + 4))
            _check_shape(frame[2], frame[3], frame[4], max_pixels)
            if data[position + 10 : position + 17 : 3].upper() == b"RGB":
                space = "RGB"
        if marker == 0xE0 and data.startswith(b"JFIF", position + 4):
            space = "YCbCr"
        if marker == 0xEE and data.startswith(b"Adobe", position + 4) and data[position + 15 : position + 16] == b"\1":
            space = "YCbCr"
        if marker == 0xE1 and data.startswith(_EXIF, position + 4):
            exif = exif or data[position + 4 + len(_EXIF) : position + 2 + length]
        if marker == 0xDA:  # start of scan: entropy-coded bytes up to the end
            break
        if marker == 0xFF:  # a filler
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length; a length would hide what follows
            position += 2
        else:
            position += 2 + length
    else:
        raise UnreadableError("is a JPEG cut short")
    if frame is None:
        raise UnreadableError("is a damaged JPEG")
    scans = data.count(b"\xff\xda", position)
    if scans > MAX_SCANS:
        raise UnreadableError(f"is a JPEG of {scans} scans")
    if data.find(END_OF_IMAGE, position) < 0:
        raise UnreadableError("is a JPEG cut short")
    return JpegHeader(frame[0], frame[1], frame[4], space, exif)


def check_jpeg_2000(data: bytes, max_pixels: int) -> int:
    """A stream of JPEG 2000, bare or in the boxes of JP2, of which every tile is there. Gives the bits of a sample."""
    boxed = data[4:8] == _JP2
    first = _codestream(data) if boxed else 0
    if not data.startswith(_JPEG_2000, first):
        raise UnreadableError("is a DICOM whose pixels are no JPEG 2000")
    start = first
    while start >= 0:
        if start + 43 > len(data):
            raise UnreadableError("is a DICOM whose JPEG 2000 pixels are cut short")
        right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
        (components,) = struct.unpack_from(">H", data, start + 40)
        _check_shape(bottom - top, right - left, components, max_pixels)
        # a box of JP2 may hold another that is not decoded, and which is which only a decoder knows
        start = data.find(_JPEG_2000, start + 1) if boxed else -1
    _check_tiles(data, first)
    return (data[first + 42] & 0x7F) + 1


def _codestream(data: bytes) -> int:
    """Where JP2's boxes have it: a decoder goes from one to the next by their lengths, at one of 0 for ever."""
    position = 0
    while data[position + 4 : position + 8] != b"jp2c":
        length = int.from_bytes(data[position : position + 4], "big")
        if length < 8 or position + length >= len(data):
            raise UnreadableError("is a DICOM whose JPEG 2000 pixels are damaged")
        position += length
    return position + (16 if data[position : position + 4] == b"\0\0\0\1" else 8)


def _check_tiles(data: bytes, start: int) -> None:
    """From the head of a codestream by the lengths of its parts to its end; a decoder takes missing tiles for black."""
    right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", data, start + 8)
    if not width or not height:
        raise UnreadableError("is a DICOM whose JPEG 2000 pixels are damaged")
    expected = -(-(right - left) // width) * -(-(bottom - top) // height)
    position, parts, promised = start + 2, Counter[int](), dict[int, int]()
    while position + 4 <= len(data) and data[position : position + 2] != END_OF_IMAGE:
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == _START_OF_TILE:
            if position + 12 > len(data):
                break
            tile, size, _, number = struct.unpack_from(">HIBB", data, position + 4)
            parts[tile] += 1
            promised[tile] = number or promised.get(tile, 0)  # 0: not said here
            length = size - 2 if size else data.rfind(END_OF_IMAGE) - position - 2
        if marker < 0xFF00 or length < 2:
            raise UnreadableError("is a DICOM whose JPEG 2000 pixels are damaged")
        position += 2 + length
    whole = len(parts) == expected and all(number <= parts[tile] for tile, number in promised.items())
    if not whole or data[position : position + 2] != END_OF_IMAGE:
        raise UnreadableError("is a DICOM whose JPEG 2000 pixels are cut short")


def check_run_lengths(data: bytes, num_pixels: int) -> None:
    """Run lengths as DICOM has them (PS3.5, annex G), which begin with the number of their parts."""
    if not 1 <= int.from_bytes(data[:4], "little") <= 15:
        raise UnreadableError("is a DICOM whose run lengths are damaged")
    if len(data) > 32 * num_pixels + 64:  # four channels of 64 bits; runs of bytes are not longer than the bytes
        raise UnreadableError("is a DICOM of more compressed bytes than its pixels can have")


def check_deflated(data: bytes, max_pixels: int) -> None:
    """What follows the first bytes of a deflated DICOM; it is inflated piece by piece, and thrown away."""
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    for start in range(0, len(data), 2**16):
        piece = data[start : start + 2**16]
        while piece and not inflate.eof:
            size += len(inflate.decompress(piece, 2**20))
            check_size(size, max_pixels)
            piece = inflate.unconsumed_tail
