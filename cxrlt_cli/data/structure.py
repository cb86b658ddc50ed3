"""What the bytes of a film say of themselves, looked at before a decoder sees them.

A decoder makes room for what a header asks for, inflates whatever is deflated, and passes over damage. Each function
here walks through a format without unpacking it and raises UnreadableError, with the reason, where a film would take
more than ``max_pixels`` allow or is not whole.
"""

import struct
import zlib

MAX_COMPONENTS = 4  # red, green, blue and one more
MAX_SCANS = 100  # of a progressive JPEG; each is a pass over all of its pixels
BYTES_PER_PIXEL, OVERHEAD = 8, 2**26  # more than any film takes on the disk: four channels of 16 bits, and metadata

PNG, JPEG, DICOM = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"DICM"
_JPEG_2000, _JP2 = b"\xff\x4f\xff\x51", b"jP  "


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


def check_png(data: bytes, max_pixels: int) -> None:
    """Every chunk is there and has its checksum; one picture."""
    position, kind, num_pixels, compressed = len(PNG), b"", 0, 0
    view = memoryview(data)
    while kind != b"IEND":
        if position + 12 > len(data):
            raise UnreadableError("is a PNG cut short")
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            raise UnreadableError("is a PNG cut short")
        if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise UnreadableError("is a damaged PNG (checksum)")
        if kind == b"IHDR" and length >= 8:
            width, height = struct.unpack_from(">II", data, position + 8)
            num_pixels = height * width
            check_pixels(num_pixels, max_pixels)
        if kind == b"acTL":
            raise UnreadableError("is an animated PNG, not one film")
        compressed += length if kind == b"IDAT" else 0
        position = end + 4
    if compressed > (BYTES_PER_PIXEL + 1) * num_pixels + 2**16:  # all of it would be inflated, and thrown away
        raise UnreadableError("is a PNG of more compressed bytes than its pixels can have")


def check_jpeg(data: bytes, max_pixels: int) -> None:
    """A JPEG file, which ends as it should."""
    scan = check_jpeg_header(data, max_pixels)
    if data.find(b"\xff\xd9", scan) < 0:  # the end marker, which entropy-coded bytes cannot hold
        raise UnreadableError("is a JPEG cut short")


def check_jpeg_header(data: bytes, max_pixels: int) -> int:
    """A stream of JPEG, lossless JPEG or JPEG-LS; gives the place of its first scan."""
    position, sized = len(JPEG), False
    while position + 9 < len(data):
        marker, (length,) = data[position + 1], struct.unpack_from(">H", data, position + 2)
        if data[position] != 0xFF:
            raise UnreadableError("is a damaged JPEG")
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:  # start of frame
            height, width, components = struct.unpack_from(">HHB", data, position + 5)
            _check_shape(height, width, components, max_pixels)
            sized = True
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
    if not sized:
        raise UnreadableError("is a damaged JPEG")
    scans = data.count(b"\xff\xda", position)
    if scans > MAX_SCANS:
        raise UnreadableError(f"is a JPEG of {scans} scans")
    return position


def check_stream(data: bytes, num_pixels: int, max_pixels: int) -> None:
    """The compressed pixels of a DICOM: the size that they say they have counts to a decoder, not the DICOM's."""
    if data.startswith(JPEG):
        check_jpeg_header(data, max_pixels)
    elif data.startswith(_JPEG_2000) or data[4:8] == _JP2:
        if data[4:8] == _JP2:
            _check_boxes(data)
        start = data.find(_JPEG_2000)
        while start >= 0:
            if start + 42 > len(data):
                raise UnreadableError("is a DICOM whose JPEG 2000 pixels are cut short")
            right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
            (components,) = struct.unpack_from(">H", data, start + 40)
            _check_shape(bottom - top, right - left, components, max_pixels)
            # a box of JP2 may hold another that is not decoded, and which is which only a decoder knows
            start = data.find(_JPEG_2000, start + 1) if data[4:8] == _JP2 else -1
    elif not 1 <= int.from_bytes(data[:4], "little") <= 15:  # run lengths begin with the number of their parts
        raise UnreadableError("is a DICOM whose compressed pixels are of no known kind")
    elif len(data) > 32 * num_pixels + 64:  # four channels of 64 bits; runs of bytes are not longer than the bytes
        raise UnreadableError("is a DICOM of more compressed bytes than its pixels can have")


def _check_boxes(data: bytes) -> None:
    """Those of JP2 lead to its codestream: pydicom goes from one to the next by their lengths, at one of 0 for ever."""
    position = 0
    while data[position + 4 : position + 8] != b"jp2c":
        length = int.from_bytes(data[position : position + 4], "big")
        if length < 8 or position + length >= len(data):
            raise UnreadableError("is a DICOM whose JPEG 2000 pixels are damaged")
        position += length


def check_deflated(data: bytes, max_pixels: int) -> None:
    """What follows the first bytes of a deflated DICOM; it is inflated piece by piece, and thrown away."""
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    for start in range(0, len(data), 2**16):
        piece = data[start : start + 2**16]
        while piece and not inflate.eof:
            size += len(inflate.decompress(piece, 2**20))
            check_size(size, max_pixels)
            piece = inflate.unconsumed_tail
