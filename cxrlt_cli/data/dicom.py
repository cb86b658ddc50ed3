"""DICOM: from a file to 8-bit grey levels, by the pipeline of the standard (PS3.3 C.7.6.3 and C.11).

    stored samples -> palette or colour to grey                                                       -> 8 bits
                   -> modality LUT or rescale -> VOI LUT or window, or a stretch -> polarity, padding -> 8 bits

Whatever comes after the stored samples of a grey film is done once for each value that they can have: a table.

Letters: H x W pixels of a film, V values that a sample can have.
"""

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import ExplicitVRBigEndian

from cxrlt_cli.data.levels import Film, histogram, look_up, percentile_range, stretch
from cxrlt_cli.data.samples import FAULTS, Cells, read_elements, stored_cells
from cxrlt_cli.data.structure import UnreadableError

Levels = NDArray[np.float64]

MAGIC, HEAD = b"DICM", 132  # behind 128 bytes that say nothing


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with these ``HEAD`` bytes is DICOM: with a preamble or, as older ones, without.

    Without one, the first element is of group 2 or 8, with one of the value representations or a length that may be.
    """
    if head[128:HEAD] == MAGIC:
        return True
    if len(head) < 8:
        return False
    group, element, length = struct.unpack_from("<HHI", head)
    named = head[4:6].isalpha() and head[4:6].isupper()
    return group in (0x0002, 0x0008) and element < 0x1000 and (named or length < 2**16)


def instance_uid(path: Path) -> str:
    """The SOPInstanceUID in the header of a DICOM file; empty where it has none, or cannot be read."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SOPInstanceUID"])
        return str(header.get("SOPInstanceUID") or "")
    except FAULTS:
        return ""


def render(data: bytes, max_pixels: int) -> Film:
    """The one frame of a DICOM file as uint8 ``[H, W]``, as a viewer shows it; without a window, stretched.

    Raises UnreadableError where it is damaged, larger than ``max_pixels``, or says something that is not known.
    """
    try:
        dataset, syntax = read_elements(data, max_pixels)
        cells, bits = stored_cells(dataset, syntax, max_pixels)
        photometric, little = str(dataset.PhotometricInterpretation), syntax != ExplicitVRBigEndian
        with np.errstate(all="ignore"):  # what is not finite is looked for
            if photometric == "PALETTE COLOR":
                return _from_palette(cells, bits, dataset, little)
            if cells.ndim == 3:
                return _from_colours(cells, bits, photometric)
            if photometric not in ("MONOCHROME1", "MONOCHROME2"):
                raise UnreadableError(f"is a DICOM of one sample a pixel that calls it {photometric[:40]}")
            return _from_grey(cells, bits, dataset, little)
    except UnreadableError:
        raise
    except FAULTS as error:
        raise UnreadableError(f"is a DICOM that cannot be decoded ({error})".replace("\n", " ")) from error


def _from_palette(cells: Cells, bits: int, dataset: Dataset, little: bool) -> Film:
    """Samples are places in three tables (PS3.3 C.7.6.3.1.5 and .6)."""
    if cells.ndim != 2 or bits > 16:
        raise UnreadableError(f"is a DICOM of {bits} bits and {cells.ndim} axes that names a palette")
    values = _values(bits, dataset)
    if "SegmentedRedPaletteColorLookupTableData" in dataset:
        colours = apply_color_lut(values.astype(np.int32), dataset)[:, :3].astype(np.float64)
    else:
        tables = []
        for color in ("Red", "Green", "Blue"):
            descriptor = dataset[f"{color}PaletteColorLookupTableDescriptor"].value
            data = dataset[f"{color}PaletteColorLookupTableData"].value
            tables.append(_looked_up(values, *_table(descriptor, data, little)))
        colours = np.stack(tables, axis=1)
    depth = _depth(colours)
    return _to_8_bit(_luma(colours), depth)[cells]


def _from_colours(cells: Cells, bits: int, photometric: str) -> Film:
    """Red, green and blue, or luminance and two differences (PS3.3 C.7.6.3.1.2), to grey."""
    differs = photometric in ("YBR_FULL", "YBR_FULL_422")
    if not differs and photometric not in ("RGB", "YBR_ICT", "YBR_RCT"):  # the last two undone by JPEG 2000's decoder
        raise UnreadableError(f"is a DICOM of colours that are not read ({photometric[:40]})")
    colours: NDArray[Any] = np.ascontiguousarray(cells)
    if colours.dtype == np.uint8 and bits == 8:  # OpenCV's are fast, and alike
        if differs:
            colours = cv2.cvtColor(np.ascontiguousarray(colours[:, :, [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
        return np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), np.uint8)
    if differs:
        luminance, blue, red = np.moveaxis(colours.astype(np.float64), -1, 0)
        blue, red = blue - 2 ** (bits - 1), red - 2 ** (bits - 1)
        parts = (luminance + 1.402 * red, luminance - 0.344136 * blue - 0.714136 * red, luminance + 1.772 * blue)
        colours = np.clip(np.stack(parts, axis=-1).round(), 0, 2**bits - 1)
    return _to_8_bit(_luma(colours), bits)


def _luma(colours: NDArray[Any]) -> Levels:
    """Grey of red, green and blue ``[..., 3]``, as OpenCV has it (ITU-R BT.601)."""
    return np.asarray(colours @ np.array([0.299, 0.587, 0.114]))


def _to_8_bit(levels: Levels, bits: int) -> Film:
    return stretch(levels, 0, 2**bits - 1)


def _from_grey(cells: Cells, bits: int, dataset: Dataset, little: bool) -> Film:
    if cells.dtype.itemsize <= 2:
        values = _values(bits, dataset)
        counts = histogram(cells, len(values))
        return look_up(cells, _table_of_levels(values, counts, bits, dataset, little))
    distinct, index, numbers = np.unique(cells, return_inverse=True, return_counts=True)
    values = _signed(distinct.astype(np.int64), bits, dataset)
    return _table_of_levels(values, numbers, bits, dataset, little)[index].reshape(cells.shape)


def _table_of_levels(
    values: NDArray[np.int64], counts: NDArray[Any], bits: int, dataset: Dataset, little: bool
) -> Film:
    """Grey levels ``[V]`` of stored values ``[V]``, of which a film has ``counts``."""
    padding = _is_padding(values, bits, dataset)
    shown = counts * ~padding if counts[~padding].any() else counts
    levels = _modality(values, dataset, little)
    if not np.isfinite(levels).all():
        raise UnreadableError("is a DICOM whose rescaled levels are not finite")
    voi = dataset.get("VOILUTSequence")
    if voi:
        entries, first = _table(voi[0].LUTDescriptor, voi[0].LUTData, little)
        looked_up = _looked_up(np.rint(levels), entries, first)
        film = _to_8_bit(looked_up, _depth(entries))
    elif _number(dataset, "WindowCenter") is not None and _number(dataset, "WindowWidth") is not None:
        film = _windowed(levels, levels[shown > 0], dataset)
    elif bits <= 8 and not dataset.get("ModalityLUTSequence"):
        film = stretch(levels, levels.min(), levels.max())
    else:
        film = stretch(levels, *percentile_range(levels, shown))
    inverse = str(dataset.get("PresentationLUTShape") or "").strip().upper() == "INVERSE"
    if dataset.PhotometricInterpretation == "MONOCHROME1" or inverse:
        film = 255 - film
    film[padding] = 0
    return film


def _values(bits: int, dataset: Dataset) -> NDArray[np.int64]:
    """What the bits of a sample mean, for all that there can be: ``[V]``."""
    return _signed(np.arange(2**bits), bits, dataset)


def _signed(cells: NDArray[np.int64], bits: int, dataset: Dataset) -> NDArray[np.int64]:
    """Numbers of so many bits as they are meant: below 0 where the highest bit says so."""
    is_signed = int(dataset.get("PixelRepresentation") or 0) == 1
    return np.where(cells >= 2 ** (bits - 1), cells - 2**bits, cells) if is_signed else cells


def _is_padding(values: NDArray[np.int64], bits: int, dataset: Dataset) -> NDArray[np.bool_]:
    """Which values fill the film up to its rectangle (PS3.3 C.7.5.1.1.2)."""
    start = dataset.get("PixelPaddingValue")
    if start is None:
        return np.zeros(len(values), bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [int(start), int(start if limit is None else limit)]
    if int(dataset.get("PixelRepresentation") or 0) == 1:  # they may have been written as if they had no sign
        ends = [end - 2**16 if end >= 2**15 and bits <= 16 else end for end in ends]
    return np.asarray((values >= min(ends)) & (values <= max(ends)))


def _modality(values: NDArray[np.int64], dataset: Dataset, little: bool) -> Levels:
    """Levels that mean something, of stored values (PS3.3 C.11.1)."""
    sequence = dataset.get("ModalityLUTSequence")
    if sequence:
        return _looked_up(values, *_table(sequence[0].LUTDescriptor, sequence[0].LUTData, little))
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    if slope is None or intercept is None:
        return values.astype(np.float64)
    if slope == 0:
        raise UnreadableError("is a DICOM with a rescale slope of 0")
    return np.asarray(values * slope + intercept, np.float64)


def _windowed(levels: Levels, there: Levels, dataset: Dataset) -> Film:
    """The first window of a film (PS3.3 C.11.2.1.2 and C.11.2.1.3); ``there``: levels that the film has."""
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    assert center is not None, "asked before"
    assert width is not None, "asked before"
    if not (0 < width < np.inf and np.isfinite(center)):
        raise UnreadableError(f"is a DICOM with a window of width {width:g} at {center:g}")
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function == "SIGMOID":
        return np.asarray(255 / (1 + np.exp(-4 * (levels - center) / width)) + 0.5, np.uint8)
    if function not in ("LINEAR", "LINEAR_EXACT"):
        raise UnreadableError(f"is a DICOM with the window function {function[:40]!r}, which is not known")
    if function == "LINEAR" and width >= 1:
        center, width = center - 0.5, width - 1
    low, high = center - width / 2, center + width / 2
    if there.max() <= low or there.min() >= high:
        raise UnreadableError(f"is a DICOM whose window ({low:g} to {high:g}) shows none of its levels")
    return stretch(levels, low, high)


def _number(dataset: Dataset, name: str) -> float | None:
    """The first number of an element; None where it is missing or empty."""
    value = dataset.get(name)
    if value is None or (np.ndim(value) and not len(value)) or value == "":
        return None
    return float(np.atleast_1d(value)[0])


def _table(descriptor: Any, data: Any, little: bool) -> tuple[Levels, int]:
    """The entries of a lookup table, and the value that the first is for (PS3.3 C.11.1.1.1 and C.11.2.1.1).

    Of 8 to 16 bits; packed into bytes or in 16-bit words, as their length says.
    """
    number, first, bits = (int(value) for value in descriptor)
    number, bits = (number & 0xFFFF) or 2**16, bits & 0xFFFF
    if not 8 <= bits <= 16:
        raise UnreadableError(f"is a DICOM with a lookup table of {bits} bits")
    order, data = "<u2" if little else ">u2", b"" if data is None else data
    stored = (
        data if isinstance(data, bytes) else (np.atleast_1d(data).astype(np.int64) & 0xFFFF).astype(order).tobytes()
    )
    if not (len(stored) >= 2 * number or len(stored) in (number, number + 1)):
        raise UnreadableError(f"is a DICOM with a lookup table of {len(stored)} bytes that says {number} entries")
    entries = np.frombuffer(stored[: len(stored) // 2 * 2], order if len(stored) >= 2 * number else "u1")
    return entries[:number].astype(np.float64), first


def _looked_up(values: NDArray[Any], entries: Levels, first: int) -> Levels:
    """Values before the first and behind the last entry have those."""
    if first >= 2**15 and values.min() < 0:  # written as if it had no sign
        first -= 2**16
    return np.asarray(entries[np.clip(values - first, 0, len(entries) - 1).astype(np.int64)])


def _depth(entries: Levels) -> int:
    """Bits of the largest entry, 8 at least: descriptors say 16 of tables that hold 12. So do other viewers."""
    return max(8, int(entries.max()).bit_length())
