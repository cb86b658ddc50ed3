"""ChestMNIST: NIH ChestX-ray14 in arrays, without names and patients. Yang et al., Scientific Data 2023."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import texts
from cxrlt_cli.datasets.records import FROM_NIH, Records
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.datasets.written_films import Film, folder_for, told, write_films
from cxrlt_cli.errors import DataError

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
PARTS = ("train", "val", "test")
ALIKE = "Patients cannot be told apart: the set's own parts share none, but a split of your own may."

Arrays = Mapping[str, NDArray[np.uint8]]


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of all parts, written as ``chestmnist/train/00000.png`` beside the CSV."""
    path = files.given[0] if len(files.given) == 1 else files.single("ChestMNIST", "chestmnist*.npz")
    if path is None:
        raise files.absent("medmnist", "chestmnist.npz")
    with _opened(path) as arrays:
        parts = [part for part in PARTS if f"{part}_labels" in arrays]
        if not parts:
            raise DataError(f"{path} holds no train_labels, val_labels or test_labels, as ChestMNIST does.")
        labels = {part: _labels(_array(arrays, f"{part}_labels", path), f"{path}, {part}_labels") for part in parts}
        folder = folder_for(options)
        names = write_films(folder, lambda: _films(arrays, labels, path), options.dry_run)
    return Records(
        texts(names),
        FINDINGS,
        np.concatenate(list(labels.values())),
        parts=texts(name.split("/")[1] for name in names),
        rows_read=len(names),
        notes=(FROM_NIH, ALIKE, told(folder / path.stem, names)),
        films_below=folder,
    )


def _opened(path: Path) -> "np.lib.npyio.NpzFile":
    fault = DataError(f"{path} is no .npz of arrays, or is cut short.", "Fetch it again.")
    if not zipfile.is_zipfile(path):
        raise fault
    try:
        arrays: np.lib.npyio.NpzFile = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise fault from error
    return arrays


def _labels(labels: NDArray[np.uint8], where: str) -> NDArray[np.int8]:
    if labels.ndim != 2 or labels.shape[1] != len(FINDINGS):
        raise DataError(f"{where}: {labels.shape} is not N x {len(FINDINGS)}; of MedMNIST, ChestMNIST alone is read.")
    if strange := np.argwhere((labels != 0) & (labels != 1)).tolist():
        row, place = strange[0]
        raise DataError(f"{where}, row {row}: {FINDINGS[place]} is {labels[row, place]}, neither 0 nor 1.")
    return labels.astype(np.int8)


def _films(arrays: Arrays, labels: Mapping[str, NDArray[np.int8]], path: Path) -> Iterator[Film]:
    for part, rows in labels.items():
        images = _array(arrays, f"{part}_images", path)
        if images.dtype != np.uint8 or images.ndim != 3 or len(images) != len(rows):
            raise DataError(f"{path}, {part}_images: {images.dtype} {images.shape} is not {len(rows):,} grey films.")
        for row, image in enumerate(images):
            yield f"{path.stem}/{part}/{row:05d}.png", partial(_png, image)


def _array(arrays: Arrays, name: str, path: Path) -> NDArray[np.uint8]:
    if name not in arrays:
        raise DataError(f"{path} holds no {name}.", "Fetch it again.")
    try:
        return arrays[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}, {name}, is damaged, or no plain array: {error}.", "Fetch it again.") from error


def _png(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])
