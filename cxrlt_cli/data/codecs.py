"""Compressed pixels to samples. A stream that ends before its picture does is an error, whatever stands behind it.

libjpeg fills what is missing with grey and warns at most, so its word is not taken for a whole picture. Streams were
looked at by ``data.structure`` before: their sizes are possible, and their markers are there.

Letters: H x W pixels of a film.
"""

import re
from typing import Any

import cv2
import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from cxrlt_cli.data.structure import END_OF_IMAGE, JpegHeader, UnreadableError

Samples = NDArray[Any]  # [H, W], or [H, W, 3]; whole numbers
TAILS = (bytes(256), b"\x5a" * 256)  # no picture goes on alike in both

FAULTS = (imagecodecs.Jpeg8Error, imagecodecs.JpeglsError, imagecodecs.Jpeg2kError)
IMREAD_RGB_AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
ENDS_EARLY = "is damaged: its compressed pixels end before the picture does"


def decode_jpeg(data: bytes, header: JpegHeader, *, to_rgb: bool = True) -> Samples:
    """A stream of JPEG (ITU-T T.81: baseline, extended, progressive, lossless).

    Three components become red, green and blue as the stream's markers say, or stay as they are stored. Raises
    UnreadableError where it is damaged, one of ``FAULTS`` where the decoder says so.
    """
    if header.precision > 8 or header.lossless:
        return _decode_twice(data, header, to_rgb)
    colours = {1: "GRAY", 3: "RGB", 4: "CMYK"}.get(header.components)
    if colours is None:
        raise UnreadableError(f"has {header.components} components of colour, which are not read")
    samples = _decode_strictly(data, colours)
    if header.components == 1:
        return samples[:, :, 0]
    if header.components == 4:
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), IMREAD_RGB_AS_STORED))
    return samples if to_rgb else _decode(data, header, to_rgb)


def decode_jpeg_ls(data: bytes) -> Samples:
    """A stream of JPEG-LS (ITU-T T.87), lossless or nearly so."""
    return np.asarray(imagecodecs.jpegls_decode(data))


def decode_jpeg_2000(data: bytes) -> Samples:
    """A stream of JPEG 2000 or HTJ2K (ITU-T T.800, T.814), bare or in boxes; its own colour transform is undone."""
    return np.asarray(imagecodecs.jpeg2k_decode(data))


def _decode_strictly(data: bytes, colours: str) -> Samples:
    """8 bits ``[H, W, *]``; a warning of libjpeg is an error, but for what no picture suffers from."""
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colours, strict=True))
    except ValueError as error:
        reason = str(error)
    harmless = _without_harmless(data, reason)
    if harmless is None:
        raise UnreadableError(f"is damaged ({reason.removeprefix('Corrupt JPEG data: ')})")
    return _decode_strictly(harmless, colours)


def _without_harmless(data: bytes, warning: str) -> bytes | None:
    """The same stream without what it was warned of: fill before its end, a later revision of JFIF; None of others."""
    fill, end = EXTRANEOUS.search(warning), data.rfind(END_OF_IMAGE)
    if fill and set(data[end - int(fill[1]) : end]) <= {0x00, 0xFF}:
        return data[: end - int(fill[1])] + data[end:]
    revision = data.find(b"JFIF\0") + 5
    if "JFIF revision" in warning and revision > 5 and data[revision] != 1:
        return data[:revision] + b"\1" + data[revision + 1 :]
    return None


def _decode_twice(data: bytes, header: JpegHeader, to_rgb: bool) -> Samples:
    """Of more than 8 bits, or lossless: with two different tails in place of the end, of which a whole picture reads
    neither."""
    end = data.rfind(END_OF_IMAGE)
    first, second = (_decode(data[:end] + tail + END_OF_IMAGE, header, to_rgb) for tail in TAILS)
    if not np.array_equal(first, second):
        raise UnreadableError(ENDS_EARLY)
    return first


def _decode(data: bytes, header: JpegHeader, to_rgb: bool) -> Samples:
    """By libjpeg-turbo. Colours stay as they are stored where one space is named for both sides."""
    space = "YCBCR" if header.components == 3 and not to_rgb else None
    return np.asarray(imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace=space))
