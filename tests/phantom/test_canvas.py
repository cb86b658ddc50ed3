import numpy as np
import pytest

from cxrlt_cli.phantom.canvas import CIRCLE, Canvas, blurred, ellipse, grid, round_thickness, soft


def test_the_grid_runs_from_edge_to_edge() -> None:
    x, y = grid(4)
    assert x.tolist() == [[-0.75, -0.25, 0.25, 0.75]]
    assert y.shape == (4, 1)


def test_shapes_are_where_they_are_said_to_be() -> None:
    x, y = grid(200)
    value = ellipse(x, y, 0.2, -0.1, 0.3, 0.5)
    assert (value > 0).mean() == pytest.approx(np.pi * 0.3 * 0.5 / 4, rel=0.02)
    assert soft(np.array([-1.0, 0.0, 1.0])).tolist() == [0, 0.5, 1]


def test_thin_lines_are_faint_lines() -> None:
    wide, thin = Canvas(64), Canvas(64)
    line = np.array([[-0.5, 0.0], [0.5, 0.0]])
    wide.line(line, 2 / 32)
    thin.line(line, 0.25 / 32)
    assert 0 < thin.map().max() < 0.5 < wide.map().max()


def test_what_is_filled_has_its_area_and_blur_keeps_it() -> None:
    canvas = Canvas(200)
    canvas.fill(CIRCLE * 0.5)
    area = len(CIRCLE[:-1]) / 2 * np.sin(2 * np.pi / len(CIRCLE[:-1])) * 0.5**2 / 4  # of a regular polygon
    assert canvas.map().mean() == pytest.approx(area, rel=0.03)
    assert canvas.map(3.0).max() == 3
    assert blurred(canvas.map(), 0.05).sum() == pytest.approx(canvas.map().sum(), rel=0.001)


def test_a_ball_is_as_thick_as_its_chord() -> None:
    x, y = grid(200)
    thickness = round_thickness(ellipse(x, y, 0.0, 0.0, 0.5, 0.5))
    np.testing.assert_allclose(thickness, np.sqrt(np.maximum(0.25 - x**2 - y**2, 0)) / 0.5, atol=1e-3)
