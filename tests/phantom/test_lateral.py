import numpy as np
import pytest

from cxrlt_cli.phantom import draw, shape
from cxrlt_cli.phantom.anatomy import SIDES, Anatomy
from cxrlt_cli.phantom.lateral import aorta, back, build_lateral, floor, front, spine_behind, vertebrae


def test_lungs_lie_between_the_sternum_and_the_back_above_the_diaphragm() -> None:
    a = Anatomy()
    scene = build_lateral(a, 128, np.random.default_rng(0))
    for side in SIDES:
        rows, columns = np.nonzero(scene.lungs[side] > 0.9)
        x, y = scene.x[0, columns], scene.y[rows, 0]
        assert (x > front(a, y)).all()
        assert (x < back(a, y)).all()
        assert (y < floor(a, side, x)).all()
        assert y.min() < a.apex + 0.1
    assert (scene.air >= 0).all()
    assert scene.air.max() > 8  # centimetres, of both lungs


def test_the_deepest_place_of_a_lung_is_behind() -> None:
    a, x = Anatomy(), np.linspace(-0.6, 0.6, 100)
    low = floor(a, 1, x)
    assert x[np.argmin(low)] == pytest.approx(-0.15, abs=0.05)
    assert low[-1] == low.max() > a.dome[1] + a.dome_depth


def test_the_heart_is_before_the_spine_and_the_aorta_between() -> None:
    a = Anatomy()
    film, _ = draw([], patient_seed=1, film_seed=1, size=128, lateral=True)
    level = film.astype(float)
    assert level[74, 36:50].mean() > 1.2 * level[74, 74:84].mean()  # heart, and the dark space behind it
    line = aorta(a)
    assert line[0, 0] < 0 < line[-1, 0] < spine_behind(a, 0.8)
    tops = [top for top, _ in vertebrae()]
    assert tops == sorted(tops)


def test_signs_of_shape_are_seen_from_the_side() -> None:
    rng = np.random.default_rng(0)
    plain, flat, bent, big = Anatomy(), Anatomy(), Anatomy(), Anatomy()
    shape.hyperinflated_lung(flat, rng, 0.8, 0)
    shape.kyphosis(bent, rng, 0.8, 0)
    shape.cardiomegaly(big, rng, 0.8, 0)
    depth = [float(floor(a, 1, 0.5) - floor(a, 1, -0.15)) for a in (plain, flat)]
    assert depth[1] < 0.5 * depth[0]
    bow = [float(spine_behind(a, 0.0) - spine_behind(a, -0.8)) for a in (plain, bent)]
    assert bow[1] > 2 * bow[0]
    hearts = [build_lateral(a, 96, np.random.default_rng(0)).tissue.sum() for a in (plain, big)]
    assert hearts[1] > hearts[0]


def test_a_film_from_the_side_is_of_the_same_chest() -> None:
    """The same arguments, the same bytes; another patient, another film; and not the frontal one."""
    first, again = (draw([], patient_seed=4, film_seed=9, size=96, lateral=True)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != draw([], patient_seed=4, film_seed=9, size=96)[0]).mean() > 0.5
    women = [seed for seed in range(12) if Anatomy.sample(np.random.default_rng([seed, 1])).breast > 0.5]
    men = [seed for seed in range(12) if not Anatomy.sample(np.random.default_rng([seed, 1])).breast]
    before = []  # what stands before the sternum
    for group in (women, men):
        anatomies = [Anatomy.sample(np.random.default_rng([seed, 1])) for seed in group]
        scenes = [build_lateral(anatomy, 96, np.random.default_rng(0)) for anatomy in anatomies]
        before.append(np.mean([scene.body[55:66, :16] for scene in scenes]))
    assert before[0] > 1.5 * before[1]
