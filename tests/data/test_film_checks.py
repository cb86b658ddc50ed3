from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxrlt_cli.data.film_checks import Look, look_at, near_pairs
from cxrlt_cli.errors import FilmError


def chest() -> NDArray[np.uint8]:
    """Dark above and beside, bright in the middle: 256 x 256."""
    film = np.full((256, 256), 40, np.uint8)
    film[60:, 90:166] = 200
    film[200:, :] = 160
    return film


def look(film: NDArray[np.uint8], tmp_path: Path) -> Look:
    cv2.imwrite(str(tmp_path / "film.png"), film)
    (found,) = look_at([tmp_path / "film.png"], max_pixels=10**6, num_threads=1, advance=lambda _: None)
    assert isinstance(found, Look)
    return found


def test_a_plain_film_has_no_fault(tmp_path: Path) -> None:
    found = look(chest(), tmp_path)
    assert found.kind == "PNG, 8 bit"
    assert not any((found.small, found.long, found.constant, found.saturated, found.inverted, found.rotated))


@pytest.mark.parametrize(
    ("film", "fault"),
    [
        (np.full((256, 256), 9, np.uint8), "constant"),
        (np.where(np.arange(256)[:, None] < 100, 255, chest()).astype(np.uint8), "saturated"),
        (255 - chest(), "inverted"),
        (np.rot90(chest()).copy(), "rotated"),
        (chest()[:, 64:192].copy(), "small"),
        (np.tile(chest(), (1, 3)), "long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "film",
)
def test_a_fault_is_seen(film: NDArray[np.uint8], fault: str, tmp_path: Path) -> None:
    assert getattr(look(film, tmp_path), fault)


def test_what_cannot_be_read_is_given_back(tmp_path: Path) -> None:
    (tmp_path / "film.png").write_bytes(b"no film")
    done: list[int] = []
    (found,) = look_at([tmp_path / "film.png"], max_pixels=10**6, num_threads=2, advance=done.append)
    assert isinstance(found, FilmError)
    assert done == [1]


def test_near_pairs_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (60, 256))
    for copy, source, number in ((50, 3, 10), (51, 4, 11), (52, 5, 0)):
        bits[copy] = bits[source]
        bits[copy, rng.permutation(256)[:number]] ^= 1
    expected = [(a, b) for a in range(60) for b in range(a + 1, 60) if (bits[a] != bits[b]).sum() <= 10]
    assert near_pairs(np.packbits(bits, axis=1)) == expected
    assert {(3, 50), (5, 52)} <= set(expected)
    assert (4, 51) not in expected


def test_blur_and_few_pixels_make_a_film_less_sharp_and_contrast_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    film = cv2.resize(rng.random((300, 300)).astype(np.float32), (800, 800), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    plain = (200 * film + 20).astype(np.uint8)
    sharp = look(plain, tmp_path).sharpness
    assert sharp > 0.05
    assert look(np.asarray(cv2.GaussianBlur(plain, (0, 0), 4), np.uint8), tmp_path).sharpness < 0.5 * sharp
    assert (
        look(np.asarray(cv2.resize(plain, (100, 100), interpolation=cv2.INTER_AREA), np.uint8), tmp_path).sharpness
        < 0.5 * sharp
    )
    assert look((plain // 2 + 60).astype(np.uint8), tmp_path).sharpness == pytest.approx(sharp, rel=0.05)
    assert look(np.full((64, 64), 90, np.uint8), tmp_path).sharpness == 0
