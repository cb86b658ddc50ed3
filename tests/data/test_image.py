import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image, ImageOps
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from cxrlt_cli.data.image import Preprocessing, find_faults, read_film, report_faults
from cxrlt_cli.errors import FilmError


def scene(height: int = 90, width: int = 120) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A smooth picture with levels from 0 to 1."""
    rows, columns = np.mgrid[:height, :width]
    return np.asarray((np.sin(rows / 17) + np.cos(columns / 23) + 2) / 4, np.float64)


def png(path: Path, image: np.ndarray[Any, Any]) -> Path:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def dicom(path: Path, pixels: np.ndarray[Any, Any], **elements: Any) -> Path:
    meta: Any = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = pixels.dtype.itemsize * 8
    values = {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": "1.2.3",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **elements,
    }
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)
    return path


def expected(levels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low, high = np.percentile(levels, (0.5, 99.5))
    return np.asarray(np.clip((levels - low) / (high - low), 0, 1) * 255)


def test_10_12_and_16_bit_films_come_out_alike(tmp_path: Path) -> None:
    films = [
        read_film(png(tmp_path / f"{bits}.png", np.round(scene() * (2**bits - 1)).astype(np.uint16)))
        for bits in (10, 12, 16)
    ]
    for film in films:
        assert film.dtype == np.uint8
        assert film.shape == (90, 120)
        assert np.abs(film - expected(scene())).max() <= 1.5
        assert np.abs(film.astype(int) - films[0]).max() <= 1


def test_8_bit_films_stay_as_they_are(tmp_path: Path) -> None:
    image = (scene() * 255).astype(np.uint8)
    np.testing.assert_array_equal(read_film(png(tmp_path / "a.png", image)), image)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_colour_and_transparency_are_accepted(tmp_path: Path, depth: Any) -> None:
    grey = (scene() * np.iinfo(depth).max).astype(depth)
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    alpha = np.random.default_rng(0).integers(0, 255, grey.shape).astype(depth)[:, :, None]
    plain = read_film(png(tmp_path / "grey.png", grey))
    np.testing.assert_array_equal(read_film(png(tmp_path / "rgb.png", rgb)), plain)
    np.testing.assert_array_equal(read_film(png(tmp_path / "rgba.png", np.concatenate([rgb, alpha], axis=2))), plain)


def test_jpeg_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    image = (scene() * 255).astype(np.uint8)
    path = tmp_path / "film.png"
    path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes())
    assert np.abs(read_film(path).astype(int) - image).max() < 8


def test_a_constant_film_is_read(tmp_path: Path) -> None:
    assert (read_film(png(tmp_path / "a.png", np.full((9, 9), 700, np.uint16))) == 0).all()


def test_dicom_and_png_of_one_film_are_one_film(tmp_path: Path) -> None:
    levels = np.round(scene() * 4095).astype(np.uint16)
    film = read_film(dicom(tmp_path / "a.dcm", levels, BitsStored=12, HighBit=11))
    assert np.abs(film.astype(int) - read_film(png(tmp_path / "a.png", levels))).max() <= 1


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    levels = np.round(scene() * 4095).astype(np.uint16)
    plain = read_film(dicom(tmp_path / "a.dcm", levels))
    inverted = read_film(dicom(tmp_path / "b.dcm", levels, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(inverted, 255 - plain)


def test_rescale_and_window_are_respected(tmp_path: Path) -> None:
    levels = np.arange(0, 4000, dtype=np.uint16).reshape(40, 100)
    path = dicom(
        tmp_path / "a.dcm", levels, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1000, WindowWidth=2001
    )
    # DICOM PS3.3 C.11.2.1.2: from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2
    rescaled = levels.astype(float) * 2 - 1000
    wanted = np.clip((rescaled - (999.5 - 1000)) / 2000, 0, 1) * 255
    assert np.abs(read_film(path) - wanted).max() <= 0.51


def test_other_window_functions(tmp_path: Path) -> None:
    levels = np.arange(0, 4000, dtype=np.uint16).reshape(40, 100)
    window = {"WindowCenter": [2000, 5], "WindowWidth": [1000, 5]}  # the first of several windows
    exact = read_film(dicom(tmp_path / "a.dcm", levels, VOILUTFunction="LINEAR_EXACT", **window))
    sigmoid = read_film(dicom(tmp_path / "b.dcm", levels, VOILUTFunction="SIGMOID", **window))
    assert np.abs(exact - np.clip((levels - 1500.0) / 1000, 0, 1) * 255).max() <= 0.51
    assert np.abs(sigmoid - 255 / (1 + np.exp(-4 * (levels - 2000.0) / 1000))).max() <= 0.51


def test_padding_is_black_and_does_not_count(tmp_path: Path) -> None:
    levels = np.round(scene() * 3000 + 500).astype(np.int16)
    padded = levels.copy()
    padded[:, :30] = -2000
    film = read_film(dicom(tmp_path / "a.dcm", padded, PixelPaddingValue=-2000))
    assert (film[:, :30] == 0).all()
    assert np.abs(film[:, 30:] - expected(levels[:, 30:])).max() <= 2


def test_signed_and_negative_slope(tmp_path: Path) -> None:
    levels = np.round(scene() * 2000 - 1000).astype(np.int16)
    film = read_film(dicom(tmp_path / "a.dcm", levels, RescaleSlope=-1, RescaleIntercept=0))
    assert np.abs(film - (255 - expected(levels))).max() <= 2


def test_empty_elements_are_as_good_as_none(tmp_path: Path) -> None:
    levels = np.round(scene() * 4095).astype(np.uint16)
    plain = read_film(dicom(tmp_path / "a.dcm", levels))
    empty: dict[str, Any] = {"RescaleSlope": None, "RescaleIntercept": None, "WindowCenter": None, "WindowWidth": None,
             "VOILUTSequence": [], "PixelPaddingValue": None}  # fmt: skip
    np.testing.assert_array_equal(read_film(dicom(tmp_path / "b.dcm", levels, **empty)), plain)


def test_a_window_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    """It would be scored as a black image."""
    levels = np.round(scene() * 4095).astype(np.uint16)
    with pytest.raises(FilmError, match=r"window .* shows none of its levels"):
        read_film(dicom(tmp_path / "a.dcm", levels, WindowCenter=60000, WindowWidth=10))


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded("jpg", tmp_path) + bytes(9000))
    assert read_film(tmp_path / "a.jpg").shape == (60, 80)


def test_a_dicom_of_several_frames_is_refused(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", np.zeros((3, 20, 20), np.uint16), NumberOfFrames=3)
    with pytest.raises(FilmError, match="3 frames"):
        read_film(path)


def test_a_dicom_without_pixels_is_refused(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", np.zeros((20, 20), np.uint16))
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    with pytest.raises(FilmError, match="without pixels"):
        read_film(path)


def encoded(kind: str, tmp_path: Path) -> bytes:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (60, 80)).astype(np.uint8)
    if kind == "dcm":
        return dicom(tmp_path / "x.dcm", noise.astype(np.uint16)).read_bytes()
    return bytes(cv2.imencode(f".{kind}", noise)[1].tobytes())


@pytest.mark.parametrize("kind", ["png", "jpg", "dcm"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_a_film_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    """OpenCV fills the rest of a JPEG with grey and says nothing."""
    data = encoded(kind, tmp_path)
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FilmError, match=rf"cut\.{kind}"):
        read_film(path)


def test_a_damaged_png_is_refused(tmp_path: Path) -> None:
    data = bytearray(encoded("png", tmp_path))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(FilmError, match="damaged"):
        read_film(tmp_path / "a.png")


def test_other_faults_say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "text.dcm").write_text("hello")
    (tmp_path / "folder.png").mkdir()
    for name, reason in (
        ("nothing.png", "does not exist"),
        ("empty.png", "is empty"),
        ("text.png", "neither PNG, JPEG nor DICOM"),
        ("text.dcm", "DICOM"),
        ("folder.png", "cannot be read"),
    ):
        with pytest.raises(FilmError, match=reason):
            read_film(tmp_path / name)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(FilmError, match="--max-pixels"):
        read_film(tmp_path / "bomb.png")
    (tmp_path / "film.jpg").write_bytes(encoded("jpg", tmp_path))
    (tmp_path / "film.dcm").write_bytes(encoded("dcm", tmp_path))
    for name in ("film.jpg", "film.dcm"):
        with pytest.raises(FilmError, match=r"4,800 pixels"):
            read_film(tmp_path / name, max_pixels=4799)
        read_film(tmp_path / name, max_pixels=4800)


def test_all_faults_are_found_and_five_are_shown(tmp_path: Path) -> None:
    paths = [png(tmp_path / f"{index}.png", np.zeros((8, 8), np.uint8)) for index in range(20)]
    for path in paths[::2]:
        path.write_bytes(path.read_bytes()[:30])
    seen: list[int] = []
    faults = find_faults(paths, max_pixels=10**6, num_threads=2, advance=seen.append)
    assert [fault.path for fault in faults] == paths[::2]
    assert sum(seen) == 20
    text = str(report_faults(faults, 20))
    assert text.startswith("10 of 20 films cannot be read")
    assert text.count("cut short") == 5
    assert "and 5 more" in text
    assert "--exclude" in text


def with_exif(kind: str, picture: np.ndarray[Any, Any], orientation: int, path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(path.with_suffix(f".{kind}"), exif=exif)
    return path.with_suffix(f".{kind}")


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_film_is_turned_as_exif_says(tmp_path: Path, kind: str, orientation: int) -> None:
    """As every viewer shows it; OpenCV and Pillow are asked what that is."""
    path = with_exif(kind, (scene() * 255).astype(np.uint8), orientation, tmp_path / "a")
    film = read_film(path)
    np.testing.assert_array_equal(film, np.asarray(ImageOps.exif_transpose(Image.open(path))))
    if kind == "jpg":
        np.testing.assert_array_equal(film, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def test_damaged_exif_says_nothing(tmp_path: Path) -> None:
    path = with_exif("jpg", (scene() * 255).astype(np.uint8), 6, tmp_path / "a")
    data = path.read_bytes()
    for place in range(data.index(b"Exif") + 6, data.index(b"Exif") + 32):
        path.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
        assert sorted(read_film(path).shape) == [90, 120]


def test_preprocessing_averages_when_it_shrinks() -> None:
    checkers = np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 * 255
    assert np.abs(Preprocessing(16)(checkers).astype(int) - 127).max() <= 1
    assert Preprocessing(16, "linear")(checkers).shape == (16, 16)
    np.testing.assert_array_equal(Preprocessing(64)(checkers), checkers)


def test_the_hash_tells_preprocessings_apart() -> None:
    hashes = {Preprocessing(64).hash, Preprocessing(65).hash, Preprocessing(64, "linear").hash}
    assert len(hashes) == 3
    assert Preprocessing(64).hash == Preprocessing(64).hash


def test_a_pipe_is_no_film(tmp_path: Path) -> None:
    """Reading it would wait for ever."""
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(FilmError, match="it is no file"):
        read_film(tmp_path / "a.png")


@pytest.mark.parametrize(("elements", "said"), [
    ({"RescaleSlope": "1e308", "RescaleIntercept": 0}, "levels are not finite"),
    ({"WindowCenter": "1e999", "WindowWidth": 10}, "window of width 10 at inf"),
    ({"WindowCenter": 0, "WindowWidth": "1e999"}, "window of width inf"),
    ({"WindowCenter": 0, "WindowWidth": 0}, "window of width 0"),
])  # fmt: skip
def test_numbers_beyond_all_numbers_are_refused(tmp_path: Path, elements: dict[str, Any], said: str) -> None:
    levels = np.round(scene() * 4095).astype(np.uint16)
    with pytest.raises(FilmError, match=said):
        read_film(dicom(tmp_path / "a.dcm", levels, **elements))


def test_a_lookup_table_of_impossible_depth_is_refused(tmp_path: Path) -> None:
    """Two to the power of what it says would be a number of gigabytes."""
    table = pydicom.Dataset()
    table.LUTDescriptor = [256, 0, 65535]
    table.LUTData = bytes(512)
    table["LUTData"].VR = "OW"
    with pytest.raises(FilmError, match="lookup table of 65535 bits"):
        read_film(dicom(tmp_path / "a.dcm", np.zeros((9, 9), np.uint16), VOILUTSequence=[table]))


def test_a_steep_sigmoid_is_black_and_white(tmp_path: Path) -> None:
    levels = np.array([[0, 999, 1001, 65535]], np.uint16)
    window = {"WindowCenter": 1000, "WindowWidth": 0.001, "VOILUTFunction": "SIGMOID"}
    assert read_film(dicom(tmp_path / "a.dcm", levels, **window)).tolist() == [[0, 0, 255, 255]]


@pytest.mark.parametrize(("shape", "inner"), [((50, 100), (16, 32)), ((100, 50), (40, 20)), ((7, 9), (25, 32))])
def test_a_film_that_is_padded_keeps_its_shape(shape: tuple[int, int], inner: tuple[int, int]) -> None:
    film = np.full(shape, 200, np.uint8)
    seen = Preprocessing((40, 32), fit="pad")(film)
    assert seen.shape == (40, 32)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert (len(rows), len(columns)) == inner
    assert (seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 200).all()
    for side, found in zip((40, 32), (rows, columns), strict=True):
        assert found[0] - (side - 1 - found[-1]) in (0, -1), "in the middle"


def test_height_stands_before_width() -> None:
    film = np.zeros((60, 60), np.uint8)
    film[:30] = 255
    seen = Preprocessing((20, 10))(film)
    assert seen.shape == (20, 10)
    assert (seen[:9] == 255).all()
    assert (seen[11:] == 0).all()


def test_what_a_square_is_kept_as_has_not_changed() -> None:
    assert Preprocessing(512).to_json() == {
        "image_size": 512, "interpolation": "area", "percentiles": [0.5, 99.5], "version": 1
    }  # fmt: skip
    hashes = {Preprocessing(size, fit=fit).hash for size in (64, (64, 32), (32, 64)) for fit in ("stretch", "pad")}
    assert len(hashes) == 6
