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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.data import codecs, dicom, structure
from cxrlt_cli.data.inflating import inflated
from cxrlt_cli.data.levels import PERCENTILES, Film, histogram, look_up, percentile_range, stretch
from cxrlt_cli.data.listing import DICOM_ENDINGS
from cxrlt_cli.data.structure import UnreadableError
from cxrlt_cli.errors import DataError, FilmError
from cxrlt_cli.machine import in_threads

MAX_PIXELS = 100_000_000
ORIENTATION = 0x0112  # in Exif


def read_film(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Film:
    """The film in a file as windowed grey levels, uint8 ``[H, W]``.

    Raises FilmError with the reason where the file is missing, empty, cut short, damaged, of another kind, of more
    than ``max_pixels`` pixels (before room is made for them), or a DICOM of several frames or without pixels.
    """
    path = Path(path)
    try:
        data = _read_bytes(path, max_pixels)
        if data.startswith(structure.PNG):
            png = structure.check_png(data, max_pixels)
            return _upright(_to_8_bit(_grey(_decode_png(inflated(data, png.pixels)))), png.exif)
        if data.startswith(structure.JPEG):
            header = structure.check_jpeg(data, max_pixels)
            return _upright(_to_8_bit(_grey(_decode_jpeg(data, header))), header.exif)
        if dicom.is_dicom(data[: dicom.HEAD]) or path.suffix.lower() in DICOM_ENDINGS:
            return dicom.render(data, max_pixels)
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
    for fault in in_threads(read, paths, num_threads):
        advance(1)
        if fault is not None:
            faults.append(fault)
    return faults


def report_faults(faults: Sequence[FilmError], num_films: int | None = None, what: str = "cannot be read") -> DataError:
    """One error for many films: what is wrong with how many, of how many where that is known, and the first five."""
    number = (
        f"{len(faults)} of {num_films} films"
        if num_films is not None
        else f"{len(faults)} film{'s' * (len(faults) != 1)}"
    )
    shown = "\n".join(f"  {fault.path}: {fault.reason}" for fault in faults[:5])
    more = f"\n  and {len(faults) - 5} more" if len(faults) > 5 else ""
    return DataError(
        f"{number} {what}:\n{shown}{more}",
        "Mend them, or go on without them: cxrlt data check with the same films and --fix exclude.csv, then "
        "--exclude exclude.csv.",
    )


@dataclass(frozen=True)
class Preprocessing:
    """From a film to what a model sees: ``image_size``, the side of a square or height and width, in pixels.

    ``stretch`` is a plain resize, the aspect ratio not kept, as the winner had it; ``pad`` keeps it and fills up what
    is left, on both sides alike, with black. ``area`` averages when it shrinks, and so does not alias; ``linear`` is
    what the winner's weights were trained with.
    """

    image_size: int | tuple[int, int]
    interpolation: Literal["area", "linear"] = "area"
    fit: Literal["stretch", "pad"] = "stretch"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @property
    def told(self) -> str:
        """``512 px``, ``784 x 644 px, padded``."""
        height, width = self.shape
        size = f"{height}" if height == width else f"{height} x {width}"
        return f"{size} px{', padded' if self.fit == 'pad' else ''}"

    def __call__(self, film: Film) -> Film:
        """uint8 ``[H, W]`` to uint8 of ``shape``."""
        if film.shape == self.shape:
            return film
        if self.fit == "stretch":
            return self._resized(film, self.shape)
        factor = min(there / here for there, here in zip(self.shape, film.shape, strict=True))
        inner = [max(1, min(there, round(factor * here))) for there, here in zip(self.shape, film.shape, strict=True)]
        top, left = ((there - mine) // 2 for there, mine in zip(self.shape, inner, strict=True))
        whole = np.zeros(self.shape, np.uint8)
        whole[top : top + inner[0], left : left + inner[1]] = self._resized(film, (inner[0], inner[1]))
        return whole

    def _resized(self, film: Film, shape: tuple[int, int]) -> Film:
        shrinks = film.shape[0] > shape[0] and film.shape[1] > shape[1]
        method = cv2.INTER_AREA if self.interpolation == "area" and shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(film, shape[::-1], interpolation=method), np.uint8)

    def to_json(self) -> dict[str, Any]:
        """What decides the pixels that a model sees, for its checkpoint and for a cache."""
        values = {name: value for name, value in asdict(self).items() if (name, value) != ("fit", "stretch")}
        size = self.image_size if isinstance(self.image_size, int) else list(self.image_size)
        return {**values, "image_size": size, "percentiles": list(PERCENTILES), "version": 1}

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


def _decode_png(data: NDArray[np.uint8]) -> NDArray[Any]:
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UnreadableError(f"is a PNG that cannot be decoded ({error.err})") from error
    if image is None:
        raise UnreadableError("is a PNG that cannot be decoded")
    return np.asarray(image if image.ndim == 2 else image[:, :, 2::-1])


def _decode_jpeg(data: bytes, header: structure.JpegHeader) -> NDArray[Any]:
    try:
        return codecs.decode_jpeg(data, header)
    except (cv2.error, *codecs.FAULTS) as error:
        raise UnreadableError(f"is a JPEG that cannot be decoded ({error})") from error


def _grey(image: NDArray[Any]) -> NDArray[Any]:
    """``[H, W]`` from grey or from red, green and blue."""
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY))


def _to_8_bit(image: NDArray[Any]) -> Film:
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise UnreadableError(f"holds {image.dtype} levels")
    levels = np.arange(65536)
    return look_up(image, stretch(levels, *percentile_range(levels, histogram(image, 65536))))


def _upright(film: Film, exif: bytes) -> Film:
    """The film as every viewer shows it: turned and mirrored as Exif says (Exif 2.3, tag 0x0112)."""
    orientation = _orientation(exif)
    if orientation in (5, 6, 7, 8):
        film = film.T
    if orientation in (2, 3, 6, 7):
        film = film[:, ::-1]
    if orientation in (3, 4, 7, 8):
        film = film[::-1]
    return np.ascontiguousarray(film)


def _orientation(exif: bytes) -> int:
    """1 to 8, from the first directory of Exif's tags; 1, upright, where it is not said or cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (number,) = struct.unpack_from(f"{order}H", exif, start)
        entries = (struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * entry) for entry in range(number))
        return next((value for tag, _, _, value in entries if tag == ORIENTATION), 1)
    except struct.error:
        return 1
