import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_preamble
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, EncapsulatedPDFStorage

from cxrlt_cli.data import headers
from cxrlt_cli.data.headers import Header, picture_shape, read_header, why_no_chest_film
from cxrlt_cli.private_apis import read_file_meta
from tests.exports import dicom

PIXELS = 10**8
FOLDER = Path(pydicom.data.__file__).parent / "test_files"


def header(path: Path, **elements: Any) -> Header:
    found = read_header(dicom(path, **elements), PIXELS)
    assert found is not None
    return found


def test_a_header_is_read_again_only_where_the_file_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    elements = headers._elements

    def counted(*given: Any) -> Dataset:
        reads.append(1)
        return elements(*given)

    monkeypatch.setattr(headers, "_elements", counted)
    path = tmp_path / "x.dcm"
    assert header(path, ViewPosition="PA").view == "PA"
    assert read_header(path, PIXELS) == read_header(path, PIXELS)
    assert len(reads) == 1
    assert header(path, ViewPosition="AP").view == "AP"
    assert len(reads) == 2
    path.unlink()
    assert read_header(path, PIXELS) is None


def why(found: Header) -> str:
    reason = why_no_chest_film(found)
    return "" if reason is None else reason.one


@pytest.mark.parametrize(("elements", "said"), [
    ({"Modality": "DX"}, ""),
    ({"Modality": "CR", "BodyPartExamined": "CHEST"}, ""),
    ({}, ""),
    ({"Modality": "OT", "BodyPartExamined": "TORAX"}, ""),
    ({"Modality": "CR", "BodyPartExamined": "PORT CHEST"}, ""),
    ({"Modality": "CR", "BodyPartExamined": "UNKNOWN"}, ""),
    ({"Modality": "CR", "BodyPartExamined": "THORACIC STRUCTURE"}, ""),
    ({"Modality": "CR", "BodyPartExamined": "THORACIC SPINE"}, "film of another body part"),
    ({"Modality": "CR", "BodyPartExamined": "HAND"}, "film of another body part"),
    ({"Modality": "CT", "BodyPartExamined": "CHEST"}, "CT slice"),
    ({"Modality": "OT", "SOPClassUID": CTImageStorage}, "CT slice"),
    ({"Modality": "MR"}, "MR slice"),
    ({"Modality": "US", "frames": 3}, "ultrasound image"),
    ({"Modality": "ES"}, "image of modality ES"),
    ({"Modality": "DX", "frames": 2}, "file of several frames"),
    ({"Modality": "DX", "side": 63}, "thumbnail"),
    ({"Modality": "DX", "ImageType": ["DERIVED", "SECONDARY", "THUMBNAIL"]}, "thumbnail"),
    ({"Modality": "SR", "side": 0}, "report (SR)"),
    ({"Modality": "PR", "side": 0}, "presentation state (PR)"),
    ({"Modality": "KO", "side": 0}, "key object selection (KO)"),
    ({"SOPClassUID": EncapsulatedPDFStorage, "side": 0}, "document (DOC)"),
    ({"Modality": "RTPLAN", "side": 0}, "object without pixels (RTPLAN)"),
])  # fmt: skip
def test_what_is_no_chest_film_is_told_by_its_tags(elements: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert why(header(tmp_path / "x.dcm", **elements)) == said


def test_a_film_that_was_cut_short_is_no_report(tmp_path: Path) -> None:
    """It is damaged, which reading it tells; leaving it out would hide that."""
    assert why(header(tmp_path / "x.dcm", Modality="DX", side=0)) == ""


def coded(name: str, meaning: str) -> dict[str, Any]:
    code = Dataset()
    code.CodeMeaning = meaning
    return {name: [code]}


@pytest.mark.parametrize(("elements", "view"), [
    ({"ViewPosition": "PA"}, "PA"),
    ({"ViewPosition": "AP"}, "AP"),
    ({"ViewPosition": "LL"}, "L"),
    ({"ViewPosition": "RL"}, "L"),
    ({"ViewPosition": "LATERAL"}, "L"),
    ({"ViewPosition": "LLO"}, "other"),
    ({"ViewPosition": "AP LLD"}, "AP"),
    (coded("ViewCodeSequence", "postero-anterior"), "PA"),
    (coded("ViewCodeSequence", "antero-posterior"), "AP"),
    (coded("ViewCodeSequence", "left lateral"), "L"),
    ({"PatientOrientation": ["P", "F"]}, "L"),
    ({"PatientOrientation": ["L", "F"], "SeriesDescription": "Chest PA"}, "PA"),
    ({"SeriesDescription": "W033 Thorax lat."}, "L"),
    ({"SeriesDescription": "Chest PA and lateral"}, ""),  # which of the two is not said
    ({"SeriesDescription": "LEFT LATERAL DECUBITUS"}, ""),  # the patient lies; the view is frontal
    ({}, ""),
])  # fmt: skip
def test_the_view_is_read_where_it_is_said(elements: dict[str, Any], view: str, tmp_path: Path) -> None:
    found = header(tmp_path / "x.dcm", **elements)
    assert found.view == view
    assert found.is_lateral == (view == "L")


@pytest.mark.parametrize(("age", "years"), [("058Y", "58"), ("018M", "1"), ("003D", "0"), ("7", "7"), ("adult", "")])
def test_ages_are_in_years(age: str, years: str, tmp_path: Path) -> None:
    assert header(tmp_path / "x.dcm", PatientAge=age).age == years


def test_whose_film_it_is(tmp_path: Path) -> None:
    found = header(tmp_path / "x.dcm", PatientID=" 007 ", StudyInstanceUID="1.2", PatientSex="f", Laterality="R")
    assert (found.patient, found.study, found.sex, found.laterality, found.shape) == ("007", "1.2", "F", "R", (80, 80))
    assert found.sop_class == DigitalXRayImageStorageForPresentation.name
    assert header(tmp_path / "y.dcm", StudyID="S1").study == "S1"


def test_the_body_part_may_be_coded(tmp_path: Path) -> None:
    assert why(header(tmp_path / "x.dcm", **coded("AnatomicRegionSequence", "Chest"))) == ""
    assert why(header(tmp_path / "x.dcm", **coded("AnatomicRegionSequence", "Foot"))) == "film of another body part"


def test_what_is_no_dicom_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_text("nothing of the kind")
    (tmp_path / "y.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    assert read_header(tmp_path / "x.dcm", PIXELS) is None
    assert read_header(tmp_path / "gone.dcm", PIXELS) is None
    damaged = read_header(tmp_path / "y.dcm", PIXELS)
    assert damaged is None or why(damaged) == ""


@pytest.mark.parametrize(("name", "said"), [
    ("test-SR.dcm", "report (SR)"), ("CT_small.dcm", "CT slice"), ("rtplan.dcm", "object without pixels (RTPLAN)"),
    ("dicomdirtests/DICOMDIR", "DICOMDIR"), ("waveform_ecg.dcm", "object without pixels (ECG)"),
    ("image_dfl.dcm", ""), ("examples_ybr_color.dcm", "ultrasound image"),
])  # fmt: skip
def test_files_of_others_are_told(name: str, said: str) -> None:
    found = read_header(FOLDER / name, PIXELS)
    assert found is not None
    assert why(found) == said


def test_a_deflated_file_may_not_inflate_without_end(tmp_path: Path) -> None:
    with (FOLDER / "image_dfl.dcm").open("rb") as file:
        read_preamble(file, force=True)
        read_file_meta(file)
        start = file.tell()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflate.compress(bytes(2**27)) + deflate.flush()
    (tmp_path / "bomb.dcm").write_bytes((FOLDER / "image_dfl.dcm").read_bytes()[:start] + bomb)
    assert read_header(tmp_path / "bomb.dcm", 1000) is None


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_pictures_tell_their_size(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{ending}"
    cv2.imwrite(str(path), np.zeros((31, 70), np.uint8))
    assert picture_shape(path) == (31, 70)
    path.write_bytes(path.read_bytes()[:12])
    assert picture_shape(path) is None
    path.write_bytes(b"")
    assert picture_shape(path) is None
    assert picture_shape(tmp_path / "gone") is None
