import numpy as np
import pytest

from cxrlt_cli.phantom.anatomy import Anatomy, build
from cxrlt_cli.phantom.exposure import Exposure, expose


def test_boxes_follow_the_film_that_is_turned_and_shifted() -> None:
    exposure = Exposure(turn=5, shift=(0.1, -0.05), zoom=1.1)
    corner = exposure.matrix() @ [0.5, 0.5, 1]
    assert corner == pytest.approx(
        [1.1 * (0.5 * np.cos(np.deg2rad(5)) + 0.5 * np.sin(np.deg2rad(5))) + 0.1,
         1.1 * (-0.5 * np.sin(np.deg2rad(5)) + 0.5 * np.cos(np.deg2rad(5))) - 0.05]
    )  # fmt: skip


def test_dense_parts_are_bright_and_air_is_dark() -> None:
    scene = build(Anatomy(), 128, np.random.default_rng(0))
    film = expose(scene, Exposure(noise=0.0), np.random.default_rng(0)).astype(float)
    heart, lung, outside = film[78, 72], film[60, 30:36].mean(), film[2, 2]
    assert outside < lung < heart


def test_a_border_and_a_mark_are_on_the_film() -> None:
    scene = build(Anatomy(), 128, np.random.default_rng(0))
    plain, marked = (expose(scene, Exposure(noise=0.0, **more), np.random.default_rng(0))  # type: ignore[arg-type]
                     for more in ({}, {"border": 0.05, "mark": "L"}))  # fmt: skip
    assert (marked[:3] == round(0.02 * 4095 - 0.5)).all()
    assert marked[5:20, 110:125].max() > plain[5:20, 110:125].max()
