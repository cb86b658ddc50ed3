import numpy as np
import pytest

from cxrlt_cli.phantom.anatomy import SIDES, Anatomy, build, cage, diaphragm, ribs, spine_x


def test_lungs_lie_apart_inside_the_cage_and_above_the_diaphragm() -> None:
    anatomy = Anatomy()
    scene = build(anatomy, 128, np.random.default_rng(0))
    assert (scene.lungs[-1] * scene.lungs[1]).max() == 0
    for side in SIDES:
        inside = scene.lungs[side] > 0.9
        assert inside.mean() > 0.08
        assert (side * scene.x <= cage(anatomy, scene.y) + 0.01)[inside].all()
        assert (scene.y <= diaphragm(anatomy, side, scene.x) + 0.01)[inside].all()
    assert scene.air.min() >= 0


def test_the_right_dome_stands_higher() -> None:
    domes = [Anatomy.sample(np.random.default_rng(seed)).dome for seed in range(50)]
    assert np.mean([dome[-1] < dome[1] for dome in domes]) > 0.9


def test_a_curved_spine_carries_its_ribs() -> None:
    straight, bent = Anatomy(), Anatomy(curve=(0.15, 0.1))
    assert spine_x(straight, 0.1) == 0
    assert spine_x(bent, 0.1) == pytest.approx(0.15, abs=0.01)
    assert ribs(bent, 1)[0][5, 0, 0] > ribs(straight, 1)[0][5, 0, 0] + 0.05
