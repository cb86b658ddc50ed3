"""Films: one way from a file, whatever its kind and depth, to 8-bit grey levels.

``read_film`` takes PNG (8 and 16 bit), JPEG and DICOM and gives uint8 ``[H, W]``, dark air and bright bone. Levels of
more than 8 bits are cut at their 0.5 and 99.5 percentiles and stretched, so that 10-, 12- and 16-bit films come out
alike; 8-bit films stay as they are; a DICOM window is respected where there is one. Damage that a decoder would pass
over (a JPEG cut short is filled with grey) is an error: a film is never replaced by something that looks like one.
"""

import hashlib
import json
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cxrlt_cli.data import structure
from cxrlt_cli.data.structure import UnreadableError, check_pixels
from cxrlt_cli.errors import DataError, FilmError

MAX_PIXELS = 100_000_000
PERCENTILES = (0.5, 99.5)

Film = NDArray[np.uint8]

# Text in a header that breaks the standard is common and no matter of ours; pydicom would warn of it, film by film. For
# the whole process: ``warnings.catch_warnings`` is not safe among the threads of ``find_faults``. Damage is raised.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")


def read_film(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Film:
    """The film in a file as windowed grey levels, uint8 ``[H, W]``.

    Raises FilmError with the reason where the file is missing, empty, cut short, damaged, of another kind, of more
    than ``max_pixels`` pixels (before room is made for them), or a DICOM of several frames or without pixels.
    """
    path = Path(path)
    try:
        data = _read_bytes(path, max_pixels)
        if data.startswith(structure.PNG):
            structure.check_png(data, max_pixels)
            return _to_8_bit(_grey(_decode(data, "PNG")))
        if data.startswith(structure.JPEG):
            structure.check_jpeg(data, max_pixels)
            return _to_8_bit(_grey(_decode(data, "JPEG")))
        if data[128:132] == structure.DICOM or path.suffix.lower() in (".dcm", ".dicom"):
            return _read_dicom(data, max_pixels)
    except FileNotFoundError as error:
        raise FilmError(path, "does not exist") from error
    except OSError as error:
        raise FilmError(path, f"cannot be read: {error.strerror}") from error
    except UnreadableError as error:
        raise FilmError(path, str(error)) from error
    raise FilmError(path, "is neither PNG, JPEG nor DICOM" if data else "is empty")


def find_faults(
    paths: Sequence[Path], *, max_pixels: int, num_threads: int, advance: Callable[[int], None]
) -> list[FilmError]:
    """Every film of ``paths`` that cannot be read, by reading all of them; ``advance(1)`` after each."""
    read = partial(_fault, max_pixels=max_pixels)
    faults = []
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        for fault in pool.map(read, paths):
            advance(1)
            if fault is not None:
                faults.append(fault)
    return faults


def report_faults(faults: Sequence[FilmError], num_films: int) -> DataError:
    """One error for many films: the first five and their number."""
    shown = "\n".join(f"  {fault.path}: {fault.reason}" for fault in faults[:5])
    more = f"\n  and {len(faults) - 5} more" if len(faults) > 5 else ""
    return DataError(
        f"{len(faults)} of {num_films} films cannot be read:\n{shown}{more}",
        "Mend them, or go on without them: cxrlt data check --csv CSV --fix exclude.csv, then --exclude exclude.csv.",
    )


@dataclass(frozen=True)
class Preprocessing:
    """From a film to the square that a model sees: a plain resize, the aspect ratio not kept, as the winner had it.

    ``area`` averages when it shrinks, and so does not alias; ``linear`` is what the winner's weights were trained with.
    """

    image_size: int
    interpolation: Literal["area", "linear"] = "area"

    def __call__(self, film: Film) -> Film:
        """uint8 ``[H, W]`` to uint8 ``[image_size, image_size]``."""
        shrinks = min(film.shape) > self.image_size
        method = cv2.INTER_AREA if self.interpolation == "area" and shrinks else cv2.INTER_LINEAR
        size = (self.image_size, self.image_size)
        return film if film.shape == size else np.asarray(cv2.resize(film, size, interpolation=method), np.uint8)

    def to_json(self) -> dict[str, Any]:
        """What decides the pixels that a model sees, for its checkpoint and for a cache."""
        return {**asdict(self), "percentiles": list(PERCENTILES), "version": 1}

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


def _fault(path: Path, max_pixels: int) -> FilmError | None:
    try:
        read_film(path, max_pixels=max_pixels)
    except FilmError as error:
        return error
    return None


def _read_bytes(path: Path, max_pixels: int) -> bytes:
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):  # a pipe or a device may never end
        raise UnreadableError("cannot be read: it is no file")
    structure.check_size(state.st_size, max_pixels)
    return path.read_bytes()


def _decode(data: bytes, kind: str) -> NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UnreadableError(f"is a {kind} that cannot be decoded ({error.err})") from error
    if image is None:
        raise UnreadableError(f"is a {kind} that cannot be decoded")
    return np.asarray(image)


def _grey(image: NDArray[Any]) -> NDArray[Any]:
    """``[H, W]`` from grey, BGR or BGRA; transparency is left aside."""
    if image.ndim == 2:
        return image
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[:, :, :3]), cv2.COLOR_BGR2GRAY))


def _to_8_bit(image: NDArray[Any]) -> Film:
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise UnreadableError(f"holds {image.dtype} levels")
    histogram = cv2.calcHist([image], [0], None, [65536], [0, 65536]).ravel()
    low, high = np.searchsorted(np.cumsum(histogram, dtype=np.float64) / image.size, np.array(PERCENTILES) / 100)
    if low == high:
        low, high = np.flatnonzero(histogram)[[0, -1]]
    return np.asarray(cv2.LUT(image, _stretch(np.arange(65536), low, high)), np.uint8)


def _stretch(levels: NDArray[Any], low: float, high: float) -> Film:
    """Levels from ``low`` to ``high`` onto 0..255, cut outside; a constant film is 0."""
    return np.asarray(
        np.clip((levels.astype(np.float64) - low) * (255 / max(high - low, 1e-12)), 0, 255).round(), np.uint8
    )


def _read_dicom(data: bytes, max_pixels: int) -> Film:
    try:
        file = BytesIO(data)
        read_preamble(file, force=True)
        if _read_file_meta_info(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            structure.check_deflated(data[file.tell() :], max_pixels)
        dataset = pydicom.dcmread(BytesIO(data), force=True, specific_tags=list(_TAGS))
        if "PixelData" not in dataset:
            raise UnreadableError("is a DICOM without pixels")
        frames = int(dataset.get("NumberOfFrames") or 1)
        if frames > 1:
            raise UnreadableError(f"is a DICOM of {frames} frames, not one film")
        if not dataset.get("Rows") or not dataset.get("Columns"):
            raise UnreadableError("is a DICOM that does not say how large it is")
        num_pixels = int(dataset.Rows) * int(dataset.Columns)
        check_pixels(num_pixels, max_pixels)
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            structure.check_stream(get_frame(dataset.PixelData, 0, number_of_frames=1), num_pixels, max_pixels)
        with np.errstate(all="ignore"):  # what is not finite is looked for
            return _window_dicom(dataset)
    except UnreadableError:
        raise
    except DICOM_FAULTS as error:
        raise UnreadableError(f"is a DICOM that cannot be decoded ({error})".replace("\n", " ")) from error


# All that is read of a DICOM: millions of other elements take no memory.
_TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "PixelData",
)

# What pydicom and its decoders raise on damaged files.
DICOM_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    cv2.error,
    struct.error,
    zlib.error,
    pydicom.errors.InvalidDicomError,
    pydicom.errors.BytesLengthException,
)


def _window_dicom(dataset: pydicom.Dataset) -> Film:
    stored = dataset.pixel_array
    if stored.ndim == 3:
        stored = cv2.cvtColor(stored, cv2.COLOR_RGB2GRAY)
    for name in (
        "RescaleSlope",
        "RescaleIntercept",
        "WindowCenter",
        "WindowWidth",
        "VOILUTSequence",
        "PixelPaddingValue",
    ):
        if name in dataset and dataset[name].is_empty:
            del dataset[name]
    padding = stored == dataset.PixelPaddingValue if "PixelPaddingValue" in dataset else np.zeros(stored.shape, bool)
    levels = apply_modality_lut(stored, dataset)
    if not np.isfinite(levels).all():
        raise UnreadableError("is a DICOM whose rescaled levels are not finite")
    if "VOILUTSequence" in dataset:
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        if not 1 <= bits <= 16:
            raise UnreadableError(f"is a DICOM with a lookup table of {bits} bits")
        film = _stretch(apply_voi_lut(levels, dataset), 0, 2**bits - 1)
    elif "WindowCenter" in dataset and "WindowWidth" in dataset:
        film = _apply_window(levels, dataset)
    elif stored.dtype == np.uint8 and np.array_equal(levels, stored):
        film = stored.copy()
    else:
        low, high = np.percentile(levels[~padding] if not padding.all() else levels, PERCENTILES, method="nearest")
        film = _stretch(levels, low, high)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        film = 255 - film
    film[padding] = 0
    return film


def _apply_window(levels: NDArray[Any], dataset: pydicom.Dataset) -> Film:
    """The first window of a film: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3 (linear, linear exact, sigmoid)."""
    center, width = (float(np.atleast_1d(dataset[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    if not (0 < width < np.inf and np.isfinite(center)):
        raise UnreadableError(f"is a DICOM with a window of width {width:g} at {center:g}")
    function = dataset.get("VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        return np.asarray(255 / (1 + np.exp(-4 * (levels - center) / width)) + 0.5, np.uint8)
    if function == "LINEAR" and width > 1:
        center, width = center - 0.5, width - 1
    low, high = center - width / 2, center + width / 2
    if levels.max() <= low or levels.min() >= high:
        raise UnreadableError(f"is a DICOM whose window ({low:g} to {high:g}) shows none of its levels")
    return _stretch(levels, low, high)
