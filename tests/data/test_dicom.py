"""DICOM against a renderer in numpy alone: pydicom's own test files, and small ones of every corner of the standard."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxrlt_cli.data.dicom import HEAD, instance_uid, is_dicom
from cxrlt_cli.data.image import read_film
from cxrlt_cli.errors import FilmError
from tests.data.test_image import dicom, scene

Pixels = np.ndarray[Any, Any]
GREY = [0.299, 0.587, 0.114]
FOLDER = Path(pydicom.data.__file__).parent / "test_files"
# Without a film of its own: several frames, no pixels, cut short, a shape that cannot be, a window beside all levels.
REFUSED = {
    "2frame", "examples_ybr_color", "rtdose.dcm", "rtdose_expb.dcm", "rtdose_rle.dcm", "MR_truncated", "badVR",
    "JPEG2000-embedded", "17166", "17196", "nested_priv_SQ", "meta_missing_tsyntax",
}  # fmt: skip
BY_OUR_DECODERS = {  # and JPEG-LS: pydicom alone reads none of them; see ``test_codecs``
    "JPEG-lossy.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm", "GDCMJ2K_TextGBR.dcm",
}  # fmt: skip


def oracle(dataset: Dataset, stored: Pixels) -> Pixels:
    """PS3.3 step by step on the film itself, in float64; ``stored``: samples by other decoders."""
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        tables = [
            np.frombuffer(dataset[f"{color}PaletteColorLookupTableData"].value, "<u2")
            for color in ("Red", "Green", "Blue")
        ]
        return np.asarray(np.stack([table[stored] for table in tables], -1) @ GREY / 65535 * 255)
    if stored.ndim == 3:
        return np.asarray(stored.astype(np.float64) @ GREY / (2**bits - 1) * 255)
    levels = stored.astype(np.float64) % 2**bits
    levels = np.where(signed & (levels >= 2 ** (bits - 1)), levels - 2**bits, levels)
    if "RescaleSlope" in dataset:
        levels = levels * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    if dataset.get("WindowWidth"):
        center = float(np.atleast_1d(dataset.WindowCenter)[0]) - 0.5
        width = float(np.atleast_1d(dataset.WindowWidth)[0]) - 1
        film = np.clip((levels - center) / width + 0.5, 0, 1) * 255
    elif bits <= 8:
        film = levels / (2**bits - 1) * 255
    else:
        low, high = np.percentile(levels, (0.5, 99.5), method="inverted_cdf")
        film = np.clip((levels - low) / max(high - low, 1e-12), 0, 1) * 255
    return np.asarray(255 - film if dataset.PhotometricInterpretation == "MONOCHROME1" else film)


def files_of_pydicom() -> list[Path]:
    """Those that hold a film."""
    found = []
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file() and not any(name in path.name for name in REFUSED):
            try:
                has_pixels = "PixelData" in pydicom.dcmread(path)
            except pydicom.errors.InvalidDicomError:
                continue
            if has_pixels:
                found.append(path)
    return found


def test_every_film_of_pydicom_comes_out_as_the_standard_has_it() -> None:
    paths = files_of_pydicom()
    assert len(paths) > 75
    for path in paths:
        dataset = pydicom.dcmread(path)
        film = read_film(path)
        if path.name in BY_OUR_DECODERS or "JPEG-LS" in dataset.file_meta.TransferSyntaxUID.name:
            continue
        difference = np.abs(film - oracle(dataset, pixel_array(dataset)))
        assert difference.max() <= 2, path


def test_what_is_no_film_is_refused() -> None:
    refused = [path for path in FOLDER.rglob("*") if path.is_file() and any(name in path.name for name in REFUSED)]
    assert len(refused) >= len(REFUSED)
    for path in refused:
        with pytest.raises(FilmError, match=r"is a DICOM|has .* pixels"):
            read_film(path)


LEVELS = np.round(scene() * 4095).astype(np.uint16)
STRETCHED = {"BitsStored": 12, "HighBit": 11}


def read(tmp_path: Path, pixels: Pixels, **elements: Any) -> Pixels:
    return read_film(dicom(tmp_path / "film.dcm", pixels, **elements)).astype(int)


def lookup(entries: Pixels, first: int, bits: int, kind: str = "<u2") -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 2**16, first % 2**16, bits]
    data = entries.astype(kind).tobytes()
    item.LUTData = data + b"\0" * (len(data) % 2)
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    return [item]


@pytest.mark.parametrize("seed", range(8))
def test_bits_outside_of_the_sample_are_none_of_it(tmp_path: Path, seed: int) -> None:
    """Overlays in them; whatever BitsStored, HighBit and sign are."""
    rng = np.random.default_rng(seed)
    bits = int(rng.integers(9, 16))
    high = int(rng.integers(bits - 1, 16))
    samples = np.round(scene() * (2**bits - 1)).astype(np.uint16)
    shift = high + 1 - bits
    noise = rng.integers(0, 2**16, samples.shape).astype(np.uint16) & ~np.uint16((2**bits - 1) << shift)
    layout = {"BitsStored": bits, "HighBit": high}
    window = {"WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits - 3}
    clean = read(tmp_path, samples, BitsStored=bits, HighBit=bits - 1, **window)
    np.testing.assert_array_equal(read(tmp_path, (samples << shift) | noise, **layout, **window), clean)
    offset = 2 ** (bits - 1)
    negative = (samples.astype(int) - offset) % 2**bits  # two's complement of so many bits
    cells = ((negative.astype(np.uint16) << shift) | noise).astype(np.uint16)
    signed = read(tmp_path, cells, **layout, PixelRepresentation=1, **{**window, "WindowCenter": 0})
    np.testing.assert_array_equal(signed, clean)


@pytest.mark.parametrize("bits", [1, 6, 8])
def test_without_a_window_the_range_of_few_bits_is_black_to_white(tmp_path: Path, bits: int) -> None:
    samples = np.round(scene() * (2**bits - 1)).astype(np.uint8)
    film = read(tmp_path, samples, BitsStored=bits, HighBit=bits - 1)
    assert np.abs(film - samples * (255 / (2**bits - 1))).max() <= 0.5
    moved = read(tmp_path, samples, BitsStored=bits, HighBit=bits - 1, RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_array_equal(moved, film)


@pytest.mark.parametrize(("bits", "kind"), [(8, "u1"), (8, "<u2"), (10, "<u2"), (12, "<u2"), (16, "<u2")])
def test_a_voi_lookup_table_of_any_width(tmp_path: Path, bits: int, kind: str) -> None:
    """PS3.3 C.11.2.1.1: packed or in words."""
    entries = np.round((np.linspace(0, 1, 4001) ** 2) * (2**bits - 1))
    film = read(tmp_path, LEVELS, **STRETCHED, VOILUTSequence=lookup(entries, 50, bits, kind))
    wanted = entries[np.clip(LEVELS.astype(int) - 50, 0, 4000)] / (2**bits - 1) * 255
    assert np.abs(film - wanted).max() <= 0.51


def test_a_voi_lookup_table_that_says_more_bits_than_it_holds(tmp_path: Path) -> None:
    entries = np.arange(4096)
    film = read(tmp_path, LEVELS, **STRETCHED, VOILUTSequence=lookup(entries, 0, 16))
    assert np.abs(film - LEVELS / 4095 * 255).max() <= 0.51


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_modality_lookup_table_of_any_width(tmp_path: Path, bits: int) -> None:
    """And a window on what it gives; the rescale beside it does not count (PS3.3 C.11.1)."""
    top = 2**bits - 1
    entries = np.round(np.linspace(top, 0, 4096))
    window = {"WindowCenter": top / 2 + 0.5, "WindowWidth": top + 1, "RescaleSlope": 7, "RescaleIntercept": 7}
    film = read(tmp_path, LEVELS, **STRETCHED, ModalityLUTSequence=lookup(entries, 0, bits), **window)
    assert np.abs(film - entries[LEVELS] / top * 255).max() <= 0.51


def test_a_lookup_table_may_begin_below_zero(tmp_path: Path) -> None:
    entries, signed = np.arange(0, 65536, 16), (LEVELS.astype(int) - 2048).astype(np.int16)
    film = read(tmp_path, signed, **STRETCHED, VOILUTSequence=lookup(entries, -2048, 16))
    assert np.abs(film - entries[LEVELS] / 65535 * 255).max() <= 0.51


@pytest.mark.parametrize(("entries", "bits"), [(np.arange(100), 12), (np.zeros(0), 8)])
def test_a_lookup_table_that_is_not_whole_is_refused(tmp_path: Path, entries: Pixels, bits: int) -> None:
    table = lookup(entries, 0, bits)
    table[0].LUTDescriptor = [4096, 0, bits]
    with pytest.raises(FilmError, match=r"lookup table of \d+ bytes that says 4096 entries"):
        read(tmp_path, LEVELS, VOILUTSequence=table)


@pytest.mark.parametrize("pixel", [np.uint16, np.uint32])
def test_few_bits_in_wide_cells_have_their_own_range(tmp_path: Path, pixel: Any) -> None:
    levels = np.array([[50, 60], [70, 80]])
    film = read(tmp_path, levels.astype(pixel), BitsStored=8, HighBit=7)
    np.testing.assert_array_equal(film, levels)


def test_the_narrowest_window_is_black_or_white(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.2.1: at or below the center less a half, and above."""
    film = read(tmp_path, np.array([[98, 99, 100, 101]], np.uint16), WindowCenter=100, WindowWidth=1)
    assert film.tolist() == [[0, 0, 255, 255]]


@pytest.mark.parametrize("name", ["sigmoid", "Sigmoid ", "SIGMOID"])
def test_window_functions_are_told_in_any_case(tmp_path: Path, name: str) -> None:
    film = read(tmp_path, LEVELS, **STRETCHED, VOILUTFunction=name, WindowCenter=2000, WindowWidth=1000)
    assert np.abs(film - 255 / (1 + np.exp(-4 * (LEVELS - 2000.0) / 1000))).max() <= 0.51


def test_an_unknown_window_function_is_said(tmp_path: Path) -> None:
    with pytest.raises(FilmError, match="window function 'CUBIC', which is not known"):
        read(tmp_path, LEVELS, VOILUTFunction="CUBIC", WindowCenter=2000, WindowWidth=1000)


@pytest.mark.parametrize("limits", [(0, 99), (99, 0), (65000, 65535)])
def test_the_whole_range_of_padding_is_black_and_out_of_the_stretch(tmp_path: Path, limits: tuple[int, int]) -> None:
    """PS3.3 C.7.5.1.1.2."""
    levels = np.round(scene() * 3000 + 500).astype(np.uint16)
    padded = levels.copy()
    padded[:, :30] = np.random.default_rng(0).integers(min(limits), max(limits) + 1, (90, 30))
    film = read(tmp_path, padded, PixelPaddingValue=limits[0], PixelPaddingRangeLimit=limits[1])
    assert (film[:, :30] == 0).all()
    low, high = np.percentile(levels[:, 30:], (0.5, 99.5))
    assert np.abs(film[:, 30:] - np.clip((levels[:, 30:] - low) / (high - low), 0, 1) * 255).max() <= 2


@pytest.mark.parametrize(("photometric", "shape", "inverted"), [
    ("MONOCHROME1", None, True), ("MONOCHROME1", "INVERSE", True), ("MONOCHROME2", "INVERSE", True),
    ("MONOCHROME2", "IDENTITY", False), ("MONOCHROME2", "inverse ", True),
])  # fmt: skip
def test_polarity_by_photometric_interpretation_or_presentation(
    tmp_path: Path, photometric: str, shape: str | None, inverted: bool
) -> None:
    plain = read(tmp_path, LEVELS)
    film = read(tmp_path, LEVELS, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    np.testing.assert_array_equal(film, 255 - plain if inverted else plain)


COLOURS = np.stack([scene(), scene()[::-1], scene()[:, ::-1]], -1)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.uint32])
def test_on_colours_rescale_and_window_have_no_meaning(tmp_path: Path, depth: Any) -> None:
    """PS3.3 C.11.2.1.2.2."""
    pixels = np.round(COLOURS * np.iinfo(depth).max).astype(depth)
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    shape = {"Rows": 90, "Columns": 120}
    window = {"WindowCenter": 5, "WindowWidth": 3, "RescaleSlope": 9, "RescaleIntercept": -2000}
    film = read(tmp_path, pixels, **colour, **shape, **window)
    assert np.abs(film - COLOURS @ GREY * 255).max() <= 1.01


def test_unread_colours_are_named(tmp_path: Path) -> None:
    pixels = np.zeros((90, 120, 3), np.uint8)
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "HSV", "PlanarConfiguration": 0}
    with pytest.raises(FilmError, match=r"colours that are not read \(HSV\)"):
        read(tmp_path, pixels, **colour, Rows=90, Columns=120)


@pytest.mark.parametrize(("kind", "bits"), [("u1", 8), ("<u2", 8), ("<u2", 16)])
def test_a_palette_is_looked_up(tmp_path: Path, kind: str, bits: int) -> None:
    """PS3.3 C.7.6.3.1.5: entries of 8 bits in bytes or words, or of 16."""
    index = np.round(scene() * 199).astype(np.uint8)
    top = 2**bits - 1
    tables = [np.round(np.linspace(0, top, 200)), np.round(np.linspace(top, 0, 200)), np.full(200, top // 2)]
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR", "RescaleSlope": 3, "RescaleIntercept": 1}
    for color, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        elements[f"{color}PaletteColorLookupTableDescriptor"] = [200, 0, bits]
        elements[f"{color}PaletteColorLookupTableData"] = table.astype(kind).tobytes()
    wanted = np.stack([table[index] for table in tables], -1) @ GREY / top * 255
    assert np.abs(read(tmp_path, index, **elements) - wanted).max() <= 1.01


def rewritten(tmp_path: Path, *, syntax: Any, named: bool, preamble: bool) -> Path:
    """The same film under another syntax, with less around it."""
    dataset = pydicom.dcmread(dicom(tmp_path / "plain.dcm", LEVELS))
    buffer = io.BytesIO()
    little = syntax != ExplicitVRBigEndian
    bare = Dataset(dataset)
    if not little:
        bare.PixelData = LEVELS.byteswap().tobytes()
        bare["PixelData"].VR = "OW"
    pydicom.dcmwrite(buffer, bare, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little)
    name = str(syntax).encode() + b"\0" * (len(syntax) % 2)
    meta = struct.pack("<HH2sH", 0x0002, 0x0010, b"UI", len(name)) + name if named else b""
    path = tmp_path / "film"
    path.write_bytes((bytes(128) + b"DICM" if preamble else b"") + meta + buffer.getvalue())
    return path


@pytest.mark.parametrize(("syntax", "named"), [
    (ImplicitVRLittleEndian, True), (ImplicitVRLittleEndian, False),
    (ExplicitVRLittleEndian, True), (ExplicitVRLittleEndian, False), (ExplicitVRBigEndian, True),
])  # fmt: skip
@pytest.mark.parametrize("preamble", [True, False])
def test_without_preamble_or_transfer_syntax(tmp_path: Path, syntax: Any, named: bool, preamble: bool) -> None:
    """PS3.5 10.1: without a name it is implicit, little endian; explicit is told by the elements."""
    path = rewritten(tmp_path, syntax=syntax, named=named, preamble=preamble)
    assert is_dicom(path.read_bytes()[:HEAD])
    assert instance_uid(path) == "1.2.3"
    np.testing.assert_array_equal(read_film(path), read_film(tmp_path / "plain.dcm"))


def test_other_files_are_no_dicom(tmp_path: Path) -> None:
    heads = [b"", b"\x02", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"ImageID,PatientID", b"PK\3\4", bytes(200)]
    assert not any(map(is_dicom, heads))
    (tmp_path / "text").write_text("hello")
    assert instance_uid(tmp_path / "text") == ""
    assert instance_uid(tmp_path / "nothing") == ""


@pytest.mark.parametrize(("elements", "said"), [
    ({"BitsStored": 17}, "17 bits up to bit 15 in 16"),
    ({"BitsStored": 12, "HighBit": 3}, "12 bits up to bit 3 in 16"),
    ({"PhotometricInterpretation": "RGB"}, "one sample a pixel that calls it RGB"),
    ({"PhotometricInterpretation": None}, "does not say its PhotometricInterpretation"),
    ({"RescaleSlope": 0, "RescaleIntercept": 0}, "rescale slope of 0"),
])  # fmt: skip
def test_what_cannot_be_is_said(tmp_path: Path, elements: dict[str, Any], said: str) -> None:
    with pytest.raises(FilmError, match=said):
        read(tmp_path, LEVELS, **elements)
