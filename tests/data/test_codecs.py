"""Decoders against each other, and every stream cut short."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxrlt_cli.data.codecs import decode_jpeg
from cxrlt_cli.data.image import read_film
from cxrlt_cli.data.samples import read_elements, stored_cells
from cxrlt_cli.data.structure import check_jpeg
from cxrlt_cli.errors import FilmError
from tests.data.test_dicom import FOLDER
from tests.data.test_image import dicom, scene
from tests.fuzz.inputs import under_syntax

NOISE = np.random.default_rng(0).normal(0, 0.02, (90, 120))
GREY = {
    bits: np.clip((scene() + NOISE) * (2**bits - 1), 0, 2**bits - 1).astype(f"u{1 + (bits > 8)}")
    for bits in (8, 12, 16)
}
CUTS = 20
Film = np.ndarray[Any, Any]


def run_lengths(film: Film) -> bytes:
    return get_encoder(RLELossless).encode(
        film.tobytes(), rows=90, columns=120, samples_per_pixel=1, bits_allocated=16, bits_stored=16,
        pixel_representation=0, photometric_interpretation="MONOCHROME2", number_of_frames=1, planar_configuration=0,
    )  # fmt: skip


def jpeg(**options: Any) -> Callable[[Film], bytes]:
    return lambda film: bytes(imagecodecs.jpeg8_encode(film, **options))


def jpeg_2000(codecformat: str) -> Callable[[Film], bytes]:
    return lambda film: bytes(imagecodecs.jpeg2k_encode(film, codecformat=codecformat, reversible=True))


# name: transfer syntax, bits, encoder, largest difference to the film
STREAMS: dict[str, tuple[UID, int, Callable[[Film], bytes], int]] = {
    "baseline": (JPEGBaseline8Bit, 8, jpeg(level=95), 12),
    "extended": (JPEGExtended12Bit, 12, jpeg(level=95, bitspersample=12), 60),
    "lossless 8": (JPEGLossless, 8, jpeg(lossless=True, predictor=4), 0),
    "lossless 12": (JPEGLosslessSV1, 12, jpeg(lossless=True, bitspersample=12), 0),
    "lossless 16": (JPEGLosslessSV1, 16, jpeg(lossless=True, bitspersample=16), 0),
    "JPEG-LS": (JPEGLSLossless, 16, lambda film: bytes(imagecodecs.jpegls_encode(film)), 0),
    "JPEG-LS near": (JPEGLSNearLossless, 8, lambda film: bytes(imagecodecs.jpegls_encode(film, level=2)), 2),
    "JPEG 2000": (JPEG2000, 16, jpeg_2000("j2k"), 0),
    "JPEG 2000 in boxes": (JPEG2000, 12, jpeg_2000("jp2"), 0),
    "HTJ2K": (HTJ2K, 16, lambda film: bytes(imagecodecs.htj2k_encode(film, reversible=True)), 0),
    "RLE": (RLELossless, 12, run_lengths, 0),
}


def stream_of(name: str) -> bytes:
    _, bits, encode, _ = STREAMS[name]
    return bytes(encode(GREY[bits]))


def film_of(tmp_path: Path, name: str, stream: bytes) -> Path:
    syntax, bits, _, _ = STREAMS[name]
    plain = dicom(tmp_path / "plain.dcm", GREY[bits], BitsStored=bits, HighBit=bits - 1)
    path = tmp_path / "film.dcm"
    path.write_bytes(under_syntax(plain, syntax, stream))
    return path


@pytest.mark.parametrize("name", STREAMS)
def test_every_compression_is_read(tmp_path: Path, name: str) -> None:
    path = film_of(tmp_path, name, stream_of(name))
    dataset, syntax = read_elements(path.read_bytes(), 10**6)
    cells, bits = stored_cells(dataset, syntax, 10**6)
    _, expected, _, tolerance = STREAMS[name]
    assert bits == expected
    assert np.abs(cells.astype(int) - GREY[expected]).max() <= tolerance
    assert read_film(path).shape == (90, 120)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("ends", [False, True], ids=["cut", "cut, with an end marker"])
def test_a_stream_that_is_cut_is_refused_wherever_it_is_cut(tmp_path: Path, name: str, ends: bool) -> None:
    """libjpeg fills the rest with grey; some decoders pass over tiles and lines that are missing."""
    stream = stream_of(name)
    for number in range(1, CUTS + 1):
        cut = stream[: len(stream) * number // (CUTS + 1)].removesuffix(b"\xff")
        path = film_of(tmp_path, name, cut + (b"\xff\xd9" if ends and name != "RLE" else b""))
        with pytest.raises(FilmError, match=r"film\.dcm"):
            read_film(path)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("progressive", [0, 1])
def test_a_jpeg_file_that_ends_early_is_refused_though_it_has_an_end_marker(
    tmp_path: Path, colour: bool, progressive: int
) -> None:
    image = np.stack([GREY[8], GREY[8][::-1], GREY[8]], -1) if colour else GREY[8]
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    path = tmp_path / "film.jpg"
    path.write_bytes(data)
    whole: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read_film(path), cv2.cvtColor(whole, cv2.COLOR_BGR2GRAY) if colour else whole)
    for number in range(1, CUTS + 1):
        path.write_bytes(data[: len(data) * number // (CUTS + 1)].removesuffix(b"\xff") + b"\xff\xd9")
        with pytest.raises(FilmError, match=r"film\.jpg: is (a JPEG cut short|a? ?damaged)"):
            read_film(path)


def test_a_jpeg_of_12_bits_is_a_film_too(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(level=98, bitspersample=12)(GREY[12]))
    cv2.imwrite(str(tmp_path / "a.png"), GREY[12])
    assert np.abs(read_film(tmp_path / "a.jpg").astype(int) - read_film(tmp_path / "a.png")).max() <= 4


def test_a_jpeg_of_printers_colours_is_a_film_too(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(GREY[8]).convert("CMYK").save(buffer, "JPEG", quality=98)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert np.abs(read_film(tmp_path / "a.jpg").astype(int) - GREY[8]).mean() < 8


def test_a_jpeg_of_printers_colours_is_turned_once(tmp_path: Path) -> None:
    image, exif = Image.fromarray(GREY[8]).convert("CMYK"), Image.Exif()
    for orientation in (1, 6):
        exif[0x0112] = orientation
        image.save(tmp_path / f"{orientation}.jpg", quality=98, exif=exif)
    upright, turned = (read_film(tmp_path / f"{orientation}.jpg") for orientation in (1, 6))
    np.testing.assert_array_equal(turned, np.rot90(upright, -1))


def test_a_colour_jpeg_of_12_bits_becomes_red_green_and_blue(tmp_path: Path) -> None:
    colours = np.tile(np.array([4000, 500, 100], np.uint16), (32, 32, 1))
    data = bytes(imagecodecs.jpeg8_encode(colours, level=98, bitspersample=12, subsampling="444"))
    samples = decode_jpeg(data, check_jpeg(data, 10**6))
    assert np.abs(samples.astype(int) - [4000, 500, 100]).max() < 60


def test_what_no_picture_suffers_from_is_no_damage(tmp_path: Path) -> None:
    """Fill before the end, a later revision of JFIF; other bytes that are left over are damage."""
    data = cv2.imencode(".jpg", GREY[8])[1].tobytes()
    revision = data.index(b"JFIF") + 5
    later = data[:revision] + b"\2\1" + data[revision + 2 :]
    (tmp_path / "film.jpg").write_bytes(data)
    whole = read_film(tmp_path / "film.jpg")
    for stream in (data[:-2] + bytes(3) + data[-2:], later, later[:-2] + bytes(3) + later[-2:]):
        (tmp_path / "film.jpg").write_bytes(stream)
        np.testing.assert_array_equal(read_film(tmp_path / "film.jpg"), whole)
    (tmp_path / "film.jpg").write_bytes(data[:-2] + b"\x12\x34\x56\x78" * 8 + data[-2:])
    with pytest.raises(FilmError, match="extraneous bytes"):
        read_film(tmp_path / "film.jpg")


# Sums of the stored samples, as GDCM 3.2.6 and CharLS by pyjpegls 1.5.1 decode them, both alike.
SUMS = {
    "SC_rgb_jpeg_gdcm.dcm": 3831000,
    "JPEGLSNearLossless_08.dcm": 25000,
    "JPEGLSNearLossless_16.dcm": 6007250,
    "SC_rgb_jls_lossy_line.dcm": 3840000,
    "SC_rgb_jls_lossy_sample.dcm": 3840000,
    "693_J2KI.dcm": 1218360680,
    "J2K_pixelrep_mismatch.dcm": 1163468982,
    "GDCMJ2K_TextGBR.dcm": 59729223,
}


@pytest.mark.parametrize("name", SUMS)
def test_files_of_others_hold_what_other_decoders_find(name: str) -> None:
    dataset, syntax = read_elements((FOLDER / name).read_bytes(), 10**6)
    assert int(stored_cells(dataset, syntax, 10**6)[0].astype(int).sum()) == SUMS[name]


def test_one_film_in_two_compressions(tmp_path: Path) -> None:
    """12-bit extended JPEG beside JPEG 2000, whose decoders are of different houses."""
    films = [read_film(FOLDER / name).astype(float).ravel() for name in ("JPGExtended.dcm", "JPEG2000.dcm")]
    assert np.corrcoef(films)[0, 1] > 0.9  # both are lossy
    lossless = read_film(FOLDER / "MR_small_jpeg_ls_lossless.dcm")
    np.testing.assert_array_equal(lossless, read_film(FOLDER / "MR_small.dcm"))


@pytest.mark.parametrize("name", ["GDCMJ2K_TextGBR.dcm", "examples_jpeg2k.dcm", "MR_small_RLE.dcm"])
def test_files_of_others_that_are_cut_are_refused(tmp_path: Path, name: str) -> None:
    """Of several tiles in several parts: those that are missing would be black."""
    dataset = pydicom.dcmread(FOLDER / name)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    end = b"" if "RLE" in name else b"\xff\xd9"
    for number in range(1, CUTS + 1):
        cut = frame[: len(frame) * number // (CUTS + 1)].removesuffix(b"\xff")
        dataset.PixelData = encapsulate([cut + end])
        dataset.save_as(tmp_path / "film.dcm")
        with pytest.raises(FilmError, match=r"film\.dcm"):
            read_film(tmp_path / "film.dcm")
