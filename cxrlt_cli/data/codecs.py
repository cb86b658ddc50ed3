"""Compressed pixels to samples. A stream that ends before its picture does is an error, whatever stands behind it.

libjpeg fills what is missing with grey and warns at most, so its word is not taken for a whole picture. Streams were
looked at by ``data.structure`` before: their sizes are possible, and their markers are there.

Letters: H x W pixels of a film.
"""

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
ENDS_EARLY = "is damaged: its compressed pixels end before the picture does"


def decode_jpeg(data: bytes, header: JpegHeader, *, to_rgb: bool = True) -> Samples:
    """A stream of JPEG (ITU-T T.81: baseline, extended, progressive, lossless).

    Three components become red, green and blue as the stream's markers say, or stay as they are stored. Raises
    UnreadableError where it is damaged, one of ``FAULTS`` where the decoder says so.
    """
    if header.precision > 8 or header.lossless:
        return _decode_twice(data, header)
    colours = {1: "GRAY", 3: "RGB", 4: "CMYK"}.get(header.components)
    if colours is None:
        raise UnreadableError(f"has {header.components} components of colour, which are not read")
    try:
        samples = simplejpeg.decode_jpeg(data, colours, strict=True)  # a warning of libjpeg is an error
    except ValueError as error:
        raise UnreadableError(f"is damaged ({str(error).removeprefix('Corrupt JPEG data: ')})") from error
    if header.components == 1:
        return np.asarray(samples[:, :, 0])
    if header.components == 4:
        samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(samples) if to_rgb else _as_stored(data, header)


def decode_jpeg_ls(data: bytes) -> Samples:
    """A stream of JPEG-LS (ITU-T T.87), lossless or nearly so."""
    return np.asarray(imagecodecs.jpegls_decode(data))


def decode_jpeg_2000(data: bytes) -> Samples:
    """A stream of JPEG 2000 or HTJ2K (ITU-T T.800, T.814), bare or in boxes; its own colour transform is undone."""
    return np.asarray(imagecodecs.jpeg2k_decode(data))


def _decode_twice(data: bytes, header: JpegHeader) -> Samples:
    """Of more than 8 bits, or lossless: with two different tails in place of the end, of which a whole picture reads
    neither."""
    end = data.rfind(END_OF_IMAGE)
    first, second = (_as_stored(data[:end] + tail + END_OF_IMAGE, header) for tail in TAILS)
    if not np.array_equal(first, second):
        raise UnreadableError(ENDS_EARLY)
    return first


def _as_stored(data: bytes, header: JpegHeader) -> Samples:
    """Colours as they are stored, which is what naming one space for both sides asks for."""
    space = "YCBCR" if header.components == 3 else None
    return np.asarray(imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace=space))
