import numpy as np
import pytest

from cxrlt_cli.phantom.anatomy import SIDES, Anatomy, build, cage, diaphragm, ribs, spine_x
from cxrlt_cli.phantom.canvas import Canvas, ellipse, grid, soft


def test_the_grid_runs_from_edge_to_edge() -> None:
    x, y = grid(4)
    assert x.tolist() == [[-0.75, -0.25, 0.25, 0.75]]
    assert y.shape == (4, 1)


def test_shapes_are_where_they_are_said_to_be() -> None:
    x, y = grid(200)
    value = ellipse(x, y, 0.2, -0.1, 0.3, 0.5)
    assert (value > 0).mean() == pytest.approx(np.pi * 0.3 * 0.5 / 4, rel=0.02)
    assert soft(np.array([-1.0, 0.0, 1.0])).tolist() == [0, 0.5, 1]


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


def test_thin_lines_are_faint_lines() -> None:
    wide, thin = Canvas(64), Canvas(64)
    line = np.array([[-0.5, 0.0], [0.5, 0.0]])
    wide.line(line, 2 / 32)
    thin.line(line, 0.25 / 32)
    assert 0 < thin.map().max() < 0.5 < wide.map().max()
