"""Label files of public data sets, told by columns that stand in their headers: for hints, and for ``data import``."""

import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cxrlt_cli.errors import DataError

CHEXPERT = frozenset(
    ("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
     "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
     "Support Devices")
)  # fmt: skip

# All of the columns must be there; of several that fit, the first counts: CXR-LT has MIMIC's columns, and more.
HEADERS: Final[dict[frozenset[str], str]] = {
    frozenset(("Image Index", "Finding Labels")): "nih",
    frozenset(("Image Index", "Finding Label")): "nih",  # BBox_List_2017.csv
    frozenset(("id", "subject_id", "No Finding", "Effusion", "Pleural_Thickening")): "nih",  # NIH-CXR-LT
    frozenset(("Path",)) | CHEXPERT: "chexpert",
    frozenset(("path_to_image", "deid_patient_id")): "chexpert",  # CheXpert Plus
    frozenset(("DicomPath", "PngPath", "AccessionNumber")) | CHEXPERT: "chexpert",  # BRAX
    frozenset(("dicom_id", "subject_id", "study_id", "ViewPosition", "path")): "cxr-lt",  # 2023
    frozenset(("dicom_id", "subject_id", "study_id", "ViewPosition", "fpath")): "cxr-lt",  # 2024
    frozenset(("dicom_id", "subject_id", "study_id", "path", "No Finding")): "cxr-lt",  # MIMIC-CXR-LT
    frozenset(("ImageID", "PatientID", "Normal", "aortic elongation", "hypoexpansion")): "cxr-lt",  # 2026
    frozenset(("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription")): "mimic",  # metadata
    frozenset(("dicom_id", "subject_id", "study_id", "split")): "mimic",
    frozenset(("dicom_id", "subject_id", "study_id", "path")): "mimic",  # cxr-record-list.csv
    frozenset(("subject_id", "study_id")) | CHEXPERT: "mimic",  # chexpert and negbio
    frozenset(("study_id", "Airspace Opacity", "Support Devices")): "mimic",  # test-set-labeled
    frozenset(("ImageID", "ImageDir", "PatientID", "Labels")): "padchest",
    frozenset(("StudyID", "ImageID", "label", "label_group")): "padchest",  # PadChest-GR
    frozenset(("PatientID", "ReportID", "Labels", "labelCUIS")): "padchest",  # BIMCV-COVID19
    frozenset(("image_id", "class_name", "x_min", "y_min")): "vindr",  # a row a box, at Kaggle too
    frozenset(("image_id", "Aortic enlargement", "No finding")): "vindr",
    frozenset(("image_id", "Bronchiolitis", "No finding")): "vindr",  # VinDr-PCXR
    frozenset(("image_name", "annotation")): "boxes",  # Object-CXR
    frozenset(("file_name", "syms")): "boxes",  # ChestX-Det
    frozenset(("patientId", "Target")): "rsna",
    frozenset(("patientId", "class")): "rsna",  # stage_2_detailed_class_info.csv
    frozenset(("ImageId", "EncodedPixels")): "siim",
    frozenset(("SOPInstanceUID", "EncodedPixels")): "candid",
    frozenset(("anon_SOPUID", "mask_rle")): "candid",  # chest_tube.csv, acute_rib_fracture.csv
}


def kind_of(header: Collection[str]) -> str | None:
    """The kind of ``data import`` that reads a table with this header; None where none of them is known by it."""
    columns = {name.strip() for name in header}
    return next((kind for signature, kind in HEADERS.items() if signature <= columns), None)


@contextmanager
def naming_import(path: Path, header: Collection[str]) -> Iterator[None]:
    """Whoever gives a public set's own label file to a command is told, with what is wrong, what reads such files."""
    try:
        yield
    except DataError as error:
        kind = kind_of(header)
        if kind is None or (kind == "cxr-lt" and "ImageID" in header):  # that of 2026 needs no import
            raise
        command = f"cxrlt data import {kind} {shlex.quote(str(path.parent))} --out labels.csv"
        hint = f"{path.name} is a label file of a public data set: {command} writes a CSV as cxrlt reads it."
        raise DataError(error.message, "\n".join(filter(None, (error.hint, hint)))) from error
