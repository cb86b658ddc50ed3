import numpy as np
import pytest

from cxrlt_cli.labels import CXR_LT_2026, UNSEEN
from cxrlt_cli.phantom import draw
from cxrlt_cli.phantom.signs import SIGNS

SIZE = 128


def film(*findings: str, patient: int = 3, seed: int = 5, **settings: float) -> np.ndarray:
    image, _ = draw(findings, patient_seed=patient, film_seed=seed, size=SIZE, **settings)  # type: ignore[arg-type]
    return image.astype(float)


def test_every_finding_of_the_challenge_has_a_sign() -> None:
    assert set(SIGNS) == {*CXR_LT_2026, *UNSEEN} - {"Normal"}


def test_films_are_12_bit_levels_in_16_bits() -> None:
    image, findings = draw([], patient_seed=1, film_seed=1, size=SIZE)
    assert image.dtype == np.uint16
    assert image.shape == (SIZE, SIZE)
    assert 2048 < image.max() <= 4095
    assert findings == ()


def test_the_same_seeds_give_the_same_bytes() -> None:
    names = ["Mass", "cardiomegaly", "sternotomy"]
    first, again = (draw(order, patient_seed=7, film_seed=8, size=SIZE) for order in (names, names[::-1]))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1] == again[1]
    assert (film(seed=1) != film(seed=2)).mean() > 0.5
    assert (film(patient=1) != film(patient=2)).mean() > 0.5


@pytest.mark.parametrize("name", SIGNS)
def test_a_finding_changes_its_box_far_more_than_the_rest(name: str) -> None:
    ratios = []
    for seed in range(6):
        _, (record,) = draw([name], patient_seed=seed, film_seed=seed, size=SIZE, severity=0.6)
        assert 0 <= record.box[0] < record.box[2] <= 1
        assert 0 <= record.box[1] < record.box[3] <= 1
        change = np.abs(film(name, patient=seed, seed=seed, severity=0.6) - film(patient=seed, seed=seed))
        x0, y0, x1, y1 = (round(value * SIZE) for value in record.box)
        inside = np.zeros((SIZE, SIZE), bool)
        inside[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
        ratios.append(change[inside].mean() / max(change[~inside].mean(), 1.0))
    assert np.median(ratios) > (3 if SIGNS[name].focal else 1.3), ratios


@pytest.mark.parametrize("name", SIGNS)
def test_what_is_gross_shows_more_than_what_is_barely_visible(name: str) -> None:
    plain = [film(patient=seed, seed=seed) for seed in range(4)]
    faint, gross = (
        np.mean(
            [np.abs(film(name, patient=seed, seed=seed, severity=severity) - plain[seed]).mean() for seed in range(4)]
        )
        for severity in (0.0, 1.0)
    )
    assert 0 < faint < gross


def test_sides_are_the_patients() -> None:
    for seed in range(8):
        _, (record,) = draw(["pleural effusion"], patient_seed=seed, film_seed=seed, size=SIZE)
        middle = (record.box[0] + record.box[2]) / 2
        assert record.side == ("right" if middle < 0.5 else "left")
