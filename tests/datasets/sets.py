"""Format-true samples of public sets, whose every value is made up, with films drawn at their paths."""

import csv
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.verbs.data_import import import_labels
from tests.helpers import Recorder

SAMPLES = Path(__file__).parent / "samples"
RADIOGRAPH = "1.2.840.10008.5.1.4.1.1.1"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


def drawn(name: str, parent: Path) -> Path:
    """The folder of a sample set, copied, with a film at each path of its ``images.txt``."""
    folder = parent / name
    shutil.copytree(SAMPLES / name, folder, ignore=shutil.ignore_patterns("images.txt", "expected.csv"))
    for number, line in enumerate((SAMPLES / name / "images.txt").read_text().splitlines()):
        draw_film(folder / line, number)
    return folder


def draw_film(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    film = np.random.default_rng(seed).integers(0, 255, (48, 48)).astype(np.uint8)
    if path.suffix in (".dcm", ".dicom"):
        _draw_dicom(path, film)
    else:
        cv2.imwrite(str(path), film)


def _draw_dicom(path: Path, film: np.ndarray[Any, Any]) -> None:
    uid = path.stem if set(path.stem) <= set("0123456789.") else "2.25.1"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(RADIOGRAPH), UID(uid)
    meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = RADIOGRAPH, uid, "DX"
    data.Rows, data.Columns = film.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelData = film.tobytes()
    data.save_as(path, enforce_file_format=True)


def imported(kind: str, *sources: Path, out: Path, **options: object) -> tuple[list[dict[str, str]], Recorder]:
    """The rows that an import writes, and what it said."""
    recorder = Recorder()
    given = {"kind": kind, "sources": sources, "out": out, **options}
    import_labels(DataImportOptions.model_validate(given), recorder)
    return rows_of(out), recorder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def labels_only(kind: str, *sources: Path, out: Path, **options: object) -> tuple[list[dict[str, str]], Recorder]:
    """The same where no film is drawn."""
    return imported(kind, *sources, out=out, missing="keep", **options)
