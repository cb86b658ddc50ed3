from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxrlt_cli.data.samples import read_elements, stored_cells
from cxrlt_cli.data.structure import UnreadableError
from tests.exports import dicom

PIXELS = 10**6


def cells(path: Path, **elements: Any) -> tuple[np.ndarray, int]:
    dataset, syntax = read_elements(dicom(path, **elements).read_bytes(), PIXELS)
    return stored_cells(dataset, syntax, PIXELS)


def stored(path: Path) -> np.ndarray:
    return np.frombuffer(pydicom.dcmread(path).PixelData, "<u2").reshape(80, 80)


def test_samples_are_the_bits_that_are_stored(tmp_path: Path) -> None:
    samples, bits = cells(tmp_path / "x.dcm")
    assert (bits, samples.dtype) == (12, np.dtype(np.uint16))
    np.testing.assert_array_equal(samples, stored(tmp_path / "x.dcm"))


def test_bits_beside_those_of_the_sample_are_no_part_of_it(tmp_path: Path) -> None:
    """8 bits that end at bit 9: two below them, six above, which may be an overlay's."""
    samples, bits = cells(tmp_path / "x.dcm", BitsStored=8, HighBit=9)
    assert bits == 8
    np.testing.assert_array_equal(samples, stored(tmp_path / "x.dcm") >> 2 & 255)


def test_signed_samples_stay_bits(tmp_path: Path) -> None:
    levels = np.full((80, 80), -5, "<i2")
    samples, bits = cells(
        tmp_path / "x.dcm", PixelRepresentation=1, BitsStored=16, HighBit=15, PixelData=levels.tobytes()
    )
    assert (bits, samples.dtype) == (16, np.dtype(np.uint16))
    assert (samples == 2**16 - 5).all()


def test_other_elements_are_not_read(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", PatientName="Somebody", WindowCenter=40)
    dataset, syntax = read_elements(path.read_bytes(), PIXELS)
    assert "PatientName" not in dataset
    assert dataset.WindowCenter == 40
    assert syntax == ExplicitVRLittleEndian


def test_a_syntax_that_is_not_named_is_that_of_the_elements(tmp_path: Path) -> None:
    for implicit, expected in ((True, ImplicitVRLittleEndian), (False, ExplicitVRLittleEndian)):
        dataset = pydicom.dcmread(dicom(tmp_path / "x.dcm"))
        del dataset.file_meta.TransferSyntaxUID
        dataset.save_as(tmp_path / "y.dcm", implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        assert read_elements((tmp_path / "y.dcm").read_bytes(), PIXELS)[1] == expected


@pytest.mark.parametrize(("elements", "said"), [
    ({"side": 0, "Modality": "SR"}, r"is a report \(SR\), which has no pixels"),
    ({"side": 0}, "without pixels, or cut short"),
    ({"frames": 3}, "of 3 frames, not one film"),
    ({"Rows": 0}, "does not say its Rows"),
    ({"Rows": 40000}, "pixels"),
    ({"BitsStored": 14, "HighBit": 11}, "14 bits up to bit 11 in 16, which cannot be"),
])  # fmt: skip
def test_what_is_no_film_is_refused_in_words(elements: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=said):
        cells(tmp_path / "x.dcm", **elements)
