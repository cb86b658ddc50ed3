"""What a file says of itself before its pixels, and why it is no chest film.

DICOM tells modality, body part, view, patient and study (PS3.3 C.7); PNG and JPEG tell their size.
"""

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom import Dataset
from pydicom.filereader import read_preamble
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from cxrlt_cli.data import structure
from cxrlt_cli.data.dicom import HEAD, is_dicom
from cxrlt_cli.data.listing import ending_of
from cxrlt_cli.data.samples import FAULTS, NO_IMAGES
from cxrlt_cli.private_apis import read_file_meta
from cxrlt_cli.tables.columns import FILM_FACTS
from cxrlt_cli.tables.views import view_of

KEPT = 2**15  # headers of films that a command asks for again: of whom, how taken, which study
TINY = 64  # pixels of the shorter side, below which a picture is a thumbnail
THUMBNAIL, SHARE = 160, 4  # up to so many pixels it is one where most others are so many times as large


@dataclass(frozen=True)
class Reason:
    """Why files are no chest films: what one of them is, and several."""

    one: str
    many: str

    @classmethod
    def of(cls, noun: str, more: str = "") -> "Reason":
        return cls(f"{noun}{more}", f"{noun}s{more}")


INDEX = Reason.of("DICOMDIR")
FRAMES = Reason.of("file", " of several frames")
BODY_PART = Reason.of("film", " of another body part")
SMALL = Reason.of("thumbnail")

FILMS = frozenset(("CR", "DX", "RG", "DR", "XR", "RF", "OT", "SC", "HC", ""))  # modalities that a film may have
IMAGES = {
    "CT": Reason.of("CT slice"),
    "MR": Reason.of("MR slice"),
    "PT": Reason.of("PET slice"),
    "US": Reason.of("ultrasound image"),
    "MG": Reason.of("mammogram"),
    "NM": Reason.of("nuclear medicine image"),
    "XA": Reason.of("angiogram"),
}
CLASSES = (  # words in the name of a SOP class, and the modality that it means
    (" SR ", "SR"), ("Structured Report", "SR"), ("Encapsulated", "DOC"), ("Key Object", "KO"),
    ("Presentation State", "PR"), ("CT Image", "CT"), ("MR Image", "MR"), ("Positron", "PT"), ("Ultrasound", "US"),
    ("Mammography", "MG"), ("Breast", "MG"), ("Nuclear Medicine", "NM"), ("Angiographic", "XA"), ("Waveform", "ECG"),
    ("Intra-Oral", "IO"), ("Segmentation", "SEG"), ("RT ", "RT"),
)  # fmt: skip

_CHEST = re.compile(r"CHEST|CXR|THORAX|TORAX|TÓRAX|TORACE|LUNG|PECHO|POUMON|BRUSTKORB|胸")
_THORACIC = re.compile(r"THORACIC(?!.*(SPINE|VERTEBRA))")
_UNSAID = frozenset(
    ("", "NONE", "NA", "N/A", "UNKNOWN", "UNSPECIFIED", "OTHER", "DEFAULT", "BODY", "TRUNK", "PORTABLE")
)
_AGE = re.compile(r"0*(\d+)([DWMY]?)")
_PER_YEAR = {"D": 365, "W": 52, "M": 12, "Y": 1, "": 1}

_TAGS = (
    *("SOPClassUID", "Modality", "NumberOfFrames", "Rows", "Columns", "ImageType", "BodyPartExamined"),
    *("AnatomicRegionSequence", "ViewPosition", "ViewCodeSequence", "PatientOrientation", "SeriesDescription"),
    *("Laterality", "PatientID", "StudyInstanceUID", "StudyID", "PatientSex", "PatientAge"),
)


@dataclass(frozen=True)
class Header:
    """What a DICOM file says; empty, or 0, where it says nothing."""

    modality: str = ""
    sop_class: str = ""  # its name
    frames: int = 1
    shape: tuple[int, int] = (0, 0)  # rows and columns
    image_type: str = ""
    body_part: str = ""
    view: str = ""  # PA, AP, L or other
    laterality: str = ""  # R, L
    patient: str = ""
    study: str = ""
    sex: str = ""
    age: str = ""  # in years

    @property
    def kind(self) -> str:
        """The modality; of its class of object, where that says more."""
        if self.modality not in FILMS:
            return self.modality
        return next((modality for words, modality in CLASSES if words in f"{self.sop_class} "), self.modality)

    @property
    def facts(self) -> dict[str, str]:
        """What it says of a film, by the names of columns."""
        cells = (self.patient, self.study, self.view, self.sex, self.age)
        return dict(zip(FILM_FACTS, cells, strict=False))  # Path is not for a header to say

    @property
    def is_lateral(self) -> bool:
        return self.view == "L"


def why_no_chest_film(header: Header) -> Reason | None:
    """By modality, frames, body part and size; None where nothing speaks against it."""
    if header.sop_class == MediaStorageDirectoryStorage.name:
        return INDEX
    kind = header.kind
    if kind in NO_IMAGES:
        return Reason.of(NO_IMAGES[kind], f" ({kind})")
    if kind not in FILMS:
        what = ("image", f" of modality {kind}") if any(header.shape) else ("object", f" without pixels ({kind})")
        return IMAGES.get(kind) or Reason.of(*what)
    if header.frames > 1:
        return FRAMES
    if not _may_be_chest(header.body_part):
        return BODY_PART
    is_icon = "THUMBNAIL" in header.image_type or "ICON" in header.image_type
    return SMALL if is_icon or 0 < min(header.shape) < TINY else None


def may_be_dicom(path: Path) -> bool:
    """Whether its name does not speak against it."""
    return ending_of(path.name).lower() not in (".png", ".jpg", ".jpeg")


def read_header(path: Path, max_pixels: int) -> Header | None:
    """The header of a DICOM file; None where it is none, or cannot be read. The last ``KEPT`` are not read again."""
    try:
        state = path.stat()
    except OSError:
        return None
    return _read(path.absolute(), max_pixels, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(KEPT)
def _read(path: Path, max_pixels: int, *state: int) -> Header | None:
    """``state``: what of a file changes where others are written in its place."""
    try:
        with path.open("rb") as file:
            if not is_dicom(file.read(HEAD)):
                return None
            file.seek(0)
            dataset = _elements(file, max_pixels)
        return Header(
            modality=_text(dataset, "Modality").upper(),
            sop_class=UID(_text(dataset, "SOPClassUID") or _class_of_file(dataset)).name,
            frames=_number(dataset, "NumberOfFrames") or 1,
            shape=(_number(dataset, "Rows"), _number(dataset, "Columns")),
            image_type=_text(dataset, "ImageType").upper(),
            body_part=(_text(dataset, "BodyPartExamined") or _code(dataset, "AnatomicRegionSequence")).upper(),
            view=_view(dataset),
            laterality=_text(dataset, "Laterality").upper()[:1],
            patient=_text(dataset, "PatientID"),
            study=_text(dataset, "StudyInstanceUID") or _text(dataset, "StudyID"),
            sex=_text(dataset, "PatientSex").upper()[:1],
            age=_years(_text(dataset, "PatientAge").upper()),
        )
    except (structure.UnreadableError, *FAULTS):
        return None


def picture_shape(path: Path) -> tuple[int, int] | None:
    """Rows and columns of a PNG or JPEG, by its first bytes; None where it is neither, or damaged before it says so."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
            if head.startswith(structure.PNG):
                width, height = struct.unpack(">II", head[16:24])
                return height, width
            if not head.startswith(structure.JPEG):
                return None
            file.seek(len(structure.JPEG))
            return _jpeg_shape(file)
    except (OSError, struct.error):
        return None


def _jpeg_shape(file: BinaryIO) -> tuple[int, int] | None:
    """From one marker to the next, up to the one that begins a frame."""
    while True:
        filler, marker = struct.unpack(">BB", file.read(2))
        while marker == 0xFF:
            (marker,) = struct.unpack(">B", file.read(1))
        if filler != 0xFF or marker == 0xDA:
            return None
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if marker in structure.START_OF_FRAME:
            _, height, width = struct.unpack(">BHH", file.read(5))
            return height, width
        file.seek(length - 2, 1)


def _elements(file: BinaryIO, max_pixels: int) -> Dataset:
    read_preamble(file, force=True)
    syntax = read_file_meta(file).get("TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:  # which pydicom inflates whole
        start = file.tell()
        data = file.read(structure.largest(max_pixels))
        structure.check_deflated(data, max_pixels)
        file.seek(0)
        file = BytesIO(file.read(start) + data)
    file.seek(0)
    return pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))


def _class_of_file(dataset: Dataset) -> str:
    return str(getattr(dataset, "file_meta", Dataset()).get("MediaStorageSOPClassUID") or "")


def _text(dataset: Dataset, name: str) -> str:
    """An element as text, several values with ``\\`` between them; empty where it cannot be read."""
    try:
        value = dataset.get(name)
    except FAULTS:
        return ""
    if value is None:
        return ""
    parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
    return "\\".join(str(part) for part in parts).strip(" \0")


def _number(dataset: Dataset, name: str) -> int:
    found = re.match(r"\d+", _text(dataset, name))
    return int(found[0]) if found else 0


def _code(dataset: Dataset, name: str) -> str:
    """What the first code of a sequence means, in words."""
    try:
        items = dataset.get(name)
        return _text(items[0], "CodeMeaning") if items else ""
    except FAULTS:
        return ""


def _view(dataset: Dataset) -> str:
    """PA, AP, L or other; by the view, its code, the axes of the patient, or the words that describe the series."""
    for words in (_text(dataset, "ViewPosition"), _code(dataset, "ViewCodeSequence")):
        if words:
            return view_of(words) or "other"
    across = _text(dataset, "PatientOrientation").upper().split("\\")[0]
    if across[:1] in ("A", "P"):  # from front to back
        return "L"
    return view_of(_text(dataset, "SeriesDescription"))


def _may_be_chest(body_part: str) -> bool:
    return body_part in _UNSAID or bool(_CHEST.search(body_part) or _THORACIC.search(body_part))


def _years(age: str) -> str:
    """``058Y`` as 58, ``018M`` as 1; empty where it is no age."""
    found = _AGE.fullmatch(age)
    return str(int(found[1]) // _PER_YEAR[found[2]]) if found else ""
