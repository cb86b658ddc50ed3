"""A hospital's export, drawn: films, and what else lies among them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    generate_uid,
)

FILMS = ("film.jpg", "film.png", "st1/IM0001", "st1/IM0002", "st2/film.DCM")
LATERAL = "st1/IM0002"
LEFT_OUT = {
    "2 CT slices": ("st2/ct.dcm", "st2/unsaid.dcm"),
    "2 thumbnails": ("small.png", "st2/icon.dcm"),
    "1 DICOMDIR": ("DICOMDIR",),
    "1 report (SR)": ("st1/SR0001",),
    "1 film of another body part": ("st2/hand.dcm",),
    "1 file of several frames": ("st2/frames.dcm",),
}
OTHERS = {
    "2 hidden files and folders": (".DS_Store", "__MACOSX/._film.png"),
    "1 file of macOS (__MACOSX)": ("__MACOSX/film.png",),
    "1 .txt file": ("notes.txt",),
    "1 other file": ("README",),
}


def dicom(path: Path, side: int = 80, seed: int = 0, frames: int = 1, **elements: Any) -> Path:
    """A DICOM file of noise; without pixels where ``side`` is 0, a digital film where ``elements`` say nothing else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta: Any = FileMetaDataset()
    meta.MediaStorageSOPClassUID = elements.get("SOPClassUID", DigitalXRayImageStorageForPresentation)
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    values = {"SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID}
    if side:
        levels = np.random.default_rng(seed).integers(0, 4096, (frames, side, side)).astype(np.uint16)
        values |= {
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": side,
            "Columns": side,
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "PixelData": levels.tobytes(),
            **({"NumberOfFrames": frames} if frames > 1 else {}),
        }
    for name, value in {**values, **elements}.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def picture(path: Path, side: int, seed: int) -> Path:
    levels = np.random.default_rng(seed).integers(0, 256, (side, side)).astype(np.uint8)
    assert cv2.imwrite(str(path), levels)
    return path


def make_export(folder: Path) -> Path:
    """``FILMS``, and files of all kinds of ``LEFT_OUT`` and ``OTHERS``."""
    mine: dict[str, Any] = {"PatientID": "P7", "StudyInstanceUID": "1.2.3", "PatientSex": "F", "PatientAge": "058Y"}
    chest: dict[str, Any] = {"Modality": "DX", "BodyPartExamined": "CHEST"}
    dicom(folder / "st1" / "IM0001", seed=1, **chest, ViewPosition="PA", **mine)
    dicom(folder / "st1" / "IM0002", seed=2, **chest, ViewPosition="LL", **mine)
    dicom(folder / "st1" / "SR0001", 0, SOPClassUID=BasicTextSRStorage, Modality="SR")
    dicom(folder / "st2" / "ct.dcm", SOPClassUID=CTImageStorage, Modality="CT", BodyPartExamined="CHEST")
    dicom(folder / "st2" / "unsaid.dcm", SOPClassUID=CTImageStorage)
    dicom(folder / "st2" / "hand.dcm", Modality="CR", BodyPartExamined="HAND")
    dicom(folder / "st2" / "frames.dcm", frames=2, Modality="CR")
    dicom(folder / "st2" / "icon.dcm", 40, Modality="CR")
    dicom(folder / "st2" / "film.DCM", seed=3, Modality="CR", BodyPartExamined="THORAX", ViewPosition="AP")
    dicom(folder / "DICOMDIR", 0, SOPClassUID=MediaStorageDirectoryStorage)
    picture(folder / "film.png", 80, 4)
    picture(folder / "film.jpg", 80, 5)
    picture(folder / "small.png", 32, 6)
    (folder / "__MACOSX").mkdir()
    picture(folder / "__MACOSX" / "film.png", 80, 7)
    for name in ("notes.txt", "README", ".DS_Store", "__MACOSX/._film.png"):
        (folder / name).write_text("nothing to see")
    return folder
