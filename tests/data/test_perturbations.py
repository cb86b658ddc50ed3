import cv2
import numpy as np
import pytest

from cxrlt_cli.data.levels import Film
from cxrlt_cli.data.perturbations import NUM_STRENGTHS, NUM_VERSIONS, PERTURBATIONS, Perturbation, versions
from cxrlt_cli.phantom import draw

KINDS = {one.name: one for one in PERTURBATIONS}


def film(seed: int = 1, size: int = 96) -> Film:
    return np.asarray(draw(["Mass"], patient_seed=seed, film_seed=seed, size=size)[0] >> 4, np.uint8)


def at(name: str, strength: float, seed: int = 0, image: Film | None = None) -> Film:
    return KINDS[name].apply(film() if image is None else image, strength, np.random.default_rng(seed))


def distance(one: Film, other: Film) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("kind", PERTURBATIONS, ids=lambda kind: kind.name)
def test_a_film_is_changed_more_and_more_and_stays_a_film(kind: Perturbation) -> None:
    films = [film(seed) for seed in range(12)]
    assert len(kind.strengths) == NUM_STRENGTHS
    away = []
    for strength in kind.strengths:
        changed = [kind.apply(one, strength, np.random.default_rng(seed)) for seed, one in enumerate(films)]
        assert all(one.dtype == np.uint8 and one.shape == (96, 96) for one in changed)
        away.append(np.mean([distance(*pair) for pair in zip(films, changed, strict=True)]))
    assert away == sorted(away)
    assert away[0] < away[-1]


@pytest.mark.parametrize(
    ("name", "strength"),
    [("noise", 0), ("bit depth", 8), ("inversion", 0), ("crop", 0), ("tilt", 0), ("brightness", 0)],
)
def test_no_strength_is_no_change(name: str, strength: float) -> None:
    np.testing.assert_array_equal(at(name, strength), film())


def test_jpeg_of_the_best_quality_is_nearly_the_film() -> None:
    assert distance(at("JPEG", 100), film()) < 1 < distance(at("JPEG", 7), film())


def test_strengths_are_in_their_units() -> None:
    grey = np.full((128, 128), 120, np.uint8)
    assert at("noise", 20, image=grey).std() == pytest.approx(20, rel=0.05)
    assert {int(at("brightness", 40, seed, grey)[0, 0]) for seed in range(20)} == {80, 160}
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    for bits in (2, 6):
        levels = np.unique(at("bit depth", bits, image=ramp))
        assert (len(levels), levels[0], levels[-1]) == (2**bits, 0, 255)
    np.testing.assert_array_equal(at("inversion", 100), 255 - film())
    inverted = [at("inversion", 25, seed, grey)[0, 0] == 135 for seed in range(2000)]
    assert np.mean(inverted) == pytest.approx(0.25, abs=0.03)


def test_a_crop_shows_the_middle_and_a_tilt_turns_about_it() -> None:
    framed = np.zeros((100, 100), np.uint8)
    framed[10:90, 10:90] = 200
    assert (at("crop", 10, image=framed) == 200).all()
    assert (at("crop", 5, image=framed)[:4] == 0).all()
    bar = np.zeros((101, 101), np.uint8)
    bar[:, 50] = 255
    angles = set()
    for seed in range(12):
        turned = at("tilt", 20, seed, bar)
        assert turned[50, 50] > 200
        rows, columns = np.nonzero(turned > 100)
        angles.add(round(float(np.degrees(np.arctan(np.polyfit(rows, columns, 1)[0])))))
    assert angles == {-20, 20}


def test_versions_begin_with_the_film_and_depend_on_its_name_and_the_seed_alone() -> None:
    image = film()
    first, again, other, reseeded = (
        versions(image, name, seed) for name, seed in (("a", 1), ("a", 1), ("b", 1), ("a", 2))
    )
    assert len(first) == NUM_VERSIONS == 36
    np.testing.assert_array_equal(first[0], image)
    np.testing.assert_array_equal(image, film())  # which nothing was written to
    assert all((one == same).all() for one, same in zip(first, again, strict=True))
    assert (first[1] != other[1]).any()
    assert (first[1] != reseeded[1]).any()


def test_a_film_that_is_inverted_or_tilted_is_so_at_every_greater_strength() -> None:
    image = film(size=64)
    start = 1 + NUM_STRENGTHS * list(KINDS).index("inversion")
    turned = 1 + NUM_STRENGTHS * list(KINDS).index("tilt")
    sides = set()
    for number in range(60):
        seen = versions(image, f"{number}.png", 0)
        inverted = [bool((one == 255 - image).all()) for one in seen[start : start + 5]]
        assert inverted == sorted(inverted)
        back = []
        for angle, one in zip(KINDS["tilt"].strengths, seen[turned : turned + 5], strict=True):
            matrices = [cv2.getRotationMatrix2D((31.5, 31.5), side * angle, 1) for side in (-1, 1)]
            both = [np.asarray(cv2.warpAffine(image, matrix, (64, 64)), np.uint8) for matrix in matrices]
            back.append(int(np.argmin([distance(one, other) for other in both])))
        assert len(set(back)) == 1
        sides |= set(back)
    assert sides == {0, 1}
