import numpy as np
import pytest

from cxrlt_cli.phantom.anatomy import SIDES, Anatomy, build, cage
from cxrlt_cli.phantom.drawing import around, beside, disc, mix, place_in_lung, rough_disc, smooth_line


def test_boxes() -> None:
    assert around(np.array([[0.0, 0.1], [0.2, -0.1]]), 0.1) == pytest.approx((-0.1, -0.2, 0.3, 0.2))
    assert disc(0.1, 0.2, 0.05) == pytest.approx((0.05, 0.15, 0.15, 0.25))
    assert beside(-1, 0.1, 0.7, 0.0, 0.5) == (-0.7, 0.0, -0.1, 0.5)
    assert mix(1, 3, 0.5) == 2


@pytest.mark.parametrize("side", SIDES)
def test_places_are_in_the_lung(side: int) -> None:
    anatomy, rng = Anatomy(), np.random.default_rng(0)
    for _ in range(200):
        x, y = place_in_lung(anatomy, rng, side, 0.05)
        assert anatomy.apex < y < anatomy.dome[side]
        assert anatomy.mediastinum < side * x <= float(cage(anatomy, y)) - 0.04


def test_a_rough_disc_is_round_where_it_does_not_wobble() -> None:
    scene = build(Anatomy(), 128, np.random.default_rng(0))
    thickness = rough_disc(scene, np.random.default_rng(0), 0.3, -0.2, 0.2, 0.1, 0.0)
    assert thickness.max() == pytest.approx(1, abs=0.02)
    assert (thickness > 0).mean() == pytest.approx(np.pi * 0.2 * 0.1 / 4, rel=0.05)
    at_the_edge = rough_disc(scene, np.random.default_rng(0), 0.99, 0.99, 0.2, 0.2, 0.2)
    assert np.isfinite(at_the_edge).all()
    assert at_the_edge.max() > 0


def test_a_smooth_line_goes_through_its_knots() -> None:
    knots = [(0.0, 0.0), (0.3, 0.5), (0.6, -0.2)]
    line = smooth_line(knots, 201)
    for knot in knots:
        assert np.linalg.norm(line - knot, axis=1).min() < 0.01
