"""What a DICOM file stores: its elements, and its samples as the bits that they are (PS3.5 8.1 and annex A).

Letters: H x W pixels of a film.
"""

import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_preamble
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from cxrlt_cli.data import codecs, structure
from cxrlt_cli.data.structure import UnreadableError
from cxrlt_cli.private_apis import read_file_meta

Cells = NDArray[np.unsignedinteger]  # samples as bits, whatever their sign: [H, W] or [H, W, 3]

# Text in a header that breaks the standard is common and no matter of ours; pydicom would warn of it, film by film. For
# the whole process: ``warnings.catch_warnings`` is not safe among the threads of ``find_faults``. Damage is raised.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")

# Modalities of what holds no picture, and what it is.
NO_IMAGES = {"SR": "report", "DOC": "document", "KO": "key object selection", "PR": "presentation state"}

# All that is read of a file: millions of other elements take no memory.
_TAGS = (
    "Modality",
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "PresentationLUTShape"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PixelData"),
    *(f"{part}{color}PaletteColorLookupTable{what}" for color in ("Red", "Green", "Blue")
      for part, what in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))),
)  # fmt: skip

# What pydicom and the decoders raise on damaged files.
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    pydicom.errors.InvalidDicomError,
    pydicom.errors.BytesLengthException,
    *codecs.FAULTS,
)


def read_elements(data: bytes, max_pixels: int) -> tuple[Dataset, UID]:
    """What is read of a file, and how its pixels are stored."""
    file = BytesIO(data)
    read_preamble(file, force=True)
    if read_file_meta(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        structure.check_deflated(data[file.tell() :], max_pixels)
    dataset = pydicom.dcmread(BytesIO(data), force=True, specific_tags=list(_TAGS))
    if "PixelData" not in dataset:
        modality = str(dataset.get("Modality") or "").strip()
        if modality in NO_IMAGES:
            raise UnreadableError(f"is a {NO_IMAGES[modality]} ({modality}), which has no pixels")
        raise UnreadableError("is a DICOM without pixels, or cut short before them")
    for name in ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation"):
        if not dataset.get(name):
            raise UnreadableError(f"is a DICOM that does not say its {name}")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnreadableError(f"is a DICOM of {frames} frames, not one film")
    structure.check_pixels(int(dataset.Rows) * int(dataset.Columns), max_pixels)
    return dataset, _syntax(dataset)


def _syntax(dataset: Dataset) -> UID:
    """The transfer syntax; where it is not named, that of PS3.5 10.1 or what the elements themselves look like."""
    named = dataset.file_meta.get("TransferSyntaxUID")
    if named:
        return UID(named)
    if dataset["PixelData"].is_undefined_length:
        raise UnreadableError("is a DICOM of compressed pixels that does not name its transfer syntax")
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def stored_cells(dataset: Dataset, syntax: UID, max_pixels: int) -> tuple[Cells, int]:
    """Stored samples (PS3.5 8.1.1), ``[H, W]`` or ``[H, W, 3]``, as the bits that they are; and how many bits each has.

    Bits above and below those of the sample, such as overlays, are no part of it. ``dataset`` calls colours what its
    compressed pixels call them from then on.
    """
    allocated = int(dataset.BitsAllocated)
    bits = int(dataset.get("BitsStored") or allocated)
    high = bits - 1 if dataset.get("HighBit") is None else int(dataset.HighBit)
    if not 1 <= bits <= allocated or not bits - 1 <= high < allocated:
        raise UnreadableError(f"is a DICOM of {bits} bits up to bit {high} in {allocated}, which cannot be")
    samples, precision = _samples(dataset, syntax, max_pixels)
    colours = int(dataset.get("SamplesPerPixel") or 1)
    shape = (int(dataset.Rows), int(dataset.Columns), *((colours,) if colours > 1 else ()))
    if samples.shape != shape or colours not in (1, 3):
        found, said = (" x ".join(map(str, each)) for each in (samples.shape, shape))
        raise UnreadableError(f"is a DICOM of {found} samples that says {said}")
    cells = samples.astype(samples.dtype.newbyteorder("="), copy=False).view(f"u{samples.dtype.itemsize}")
    shift = high + 1 - bits
    if shift and precision > high:
        cells = cells >> np.array(shift, cells.dtype)
    bits = min(bits, precision)
    if bits < 8 * cells.dtype.itemsize:
        cells = cells & np.array(2**bits - 1, cells.dtype)
    return cells.astype(np.uint16) if bits <= 16 < 8 * cells.dtype.itemsize else cells, bits


def _samples(dataset: Dataset, syntax: UID, max_pixels: int) -> tuple[NDArray[Any], int]:
    """Samples as they come out of storage or a decoder, and how many bits of them may say something."""
    if not syntax.is_encapsulated:
        return _as_pydicom_has_it(dataset, syntax), int(dataset.BitsAllocated)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if syntax == RLELossless:
        structure.check_run_lengths(frame, int(dataset.Rows) * int(dataset.Columns))
        return _as_pydicom_has_it(dataset, syntax), int(dataset.BitsAllocated)
    if syntax in JPEG2000TransferSyntaxes:
        precision = structure.check_jpeg_2000(frame, max_pixels)
        return codecs.decode_jpeg_2000(frame), precision
    if syntax not in JPEGTransferSyntaxes and syntax not in JPEGLSTransferSyntaxes:
        raise UnreadableError(f"is a DICOM of the transfer syntax {syntax.name[:80]}, which is not read")
    if not frame.startswith(structure.JPEG):
        raise UnreadableError("is a DICOM whose pixels are no JPEG")
    header = structure.check_jpeg(frame, max_pixels)
    if header.space and header.components == 3:
        dataset.PhotometricInterpretation = {"RGB": "RGB", "YCbCr": "YBR_FULL"}[header.space]
    if syntax in JPEGLSTransferSyntaxes:
        return codecs.decode_jpeg_ls(frame), header.precision
    return codecs.decode_jpeg(frame, header, to_rgb=False), header.precision


def _as_pydicom_has_it(dataset: Dataset, syntax: UID) -> NDArray[Any]:
    """Samples that are stored as they are, or as run lengths; of whatever order of bytes and colours.

    By its own decoder: others that happen to be installed are not asked.
    """
    own = "pydicom" if syntax == RLELossless else ""
    settings: Any = {"raw": True, "correct_unused_bits": False, "decoding_plugin": own}
    return np.ascontiguousarray(get_decoder(syntax).as_array(dataset, index=0, **settings)[0])
