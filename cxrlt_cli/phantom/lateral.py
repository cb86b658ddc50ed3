"""The chest from the side: maps of a lateral film of the same anatomy, the patient facing left.

Coordinates and maps are those of ``phantom.anatomy``, but x runs from the front (-1) to the back (1), and both lungs
lie one over the other: a side of the patient is told by its hemidiaphragm alone.
"""

from typing import Any

import numpy as np

from cxrlt_cli.phantom.anatomy import SIDES, Anatomy, Generator, Scene, grow_vessels
from cxrlt_cli.phantom.canvas import Map, ellipse, grid, round_thickness, soft
from cxrlt_cli.phantom.drawing import smooth_line

THICKER = 1.22  # times as much tissue as from front to back


def spine_behind(anatomy: Anatomy, y: Any) -> Any:
    """Where the middle of the vertebral bodies is at height y: bent backward, more so where the patient stoops."""
    bend = 0.06 + 0.10 * anatomy.stoop
    return 0.47 + bend * np.cos(1.5 * (y + 0.1)) - 0.05 * anatomy.stoop


def front(anatomy: Anatomy, y: Any) -> Any:
    """The inside of the sternum and the ribs before the lungs."""
    return -0.53 - 0.13 * np.clip(y + 0.5, 0, 1.2) + 0.9 * np.clip(-0.35 - y, 0, 1) ** 2


def back(anatomy: Anatomy, y: Any) -> Any:
    """The inside of the ribs behind the lungs."""
    return spine_behind(anatomy, y) + 0.19 - 1.6 * np.clip(anatomy.apex + 0.36 - y, 0, 0.5) ** 2


def floor(anatomy: Anatomy, side: int, x: Any) -> Any:
    """Height of a hemidiaphragm at x: a dome before the middle, and a deep angle behind."""
    behind, before = np.clip((x + 0.15) / 0.72, 0, 1.2), np.clip((-0.15 - x) / 0.5, 0, 1.2)
    return anatomy.dome[side] - 0.02 + 1.75 * anatomy.dome_depth * behind**2.2 + 0.45 * anatomy.dome_depth * before**2


def heart_from_side(anatomy: Anatomy, x: Map, y: Map) -> Map:
    """Thickness of the heart, 0 to 1: on the diaphragm, behind the sternum."""
    s = anatomy.heart
    return np.asarray(
        round_thickness(ellipse(x, y, -0.27 + 0.10 * (s - 1), anatomy.heart_base - 0.19 * s, 0.31 * s, 0.235 * s, -0.5))
    )


def build_lateral(anatomy: Anatomy, size: int, rng: Generator) -> Scene:
    """The maps of a chest from the side on ``size`` x ``size`` pixels; ``rng`` places the vessels."""
    x, y = grid(size)
    a = anatomy
    skin = front(a, y) - 0.09 + 0.3 * np.clip(-0.70 - y, 0, 1)
    spine = back(a, y) + 0.15
    middle, half = (skin + spine) / 2, np.maximum((spine - skin) / 2, 0.05)
    across = np.clip(1 - ((x - middle) / half) ** 4, 0.0, 1)
    shoulders = 1 + 0.35 * soft(-0.62 - y, 0.16) - 0.45 * soft(-0.88 - y, 0.06)
    body = soft(across, 0.02) * np.sqrt(across) * shoulders * (THICKER * a.thickness)
    lungs, air = {}, np.zeros((size, size), np.float32)
    reach = np.maximum((back(a, y) - front(a, y)) / 2, 0.03)
    centre = (back(a, y) + front(a, y)) / 2
    for side in SIDES:
        below = floor(a, side, x) - y
        outline = soft(x - front(a, y), 0.012) * soft(back(a, y) - x, 0.012) * soft(below, 0.01)
        outline = outline * soft(y - a.apex, 0.02)
        depth = np.sqrt(np.maximum(1 - 0.85 * np.minimum(((x - centre) / reach) ** 2, 1), 0))
        depth = depth * np.sqrt(np.clip((y - a.apex) / 0.4, 0, 1)) * (0.5 + 0.5 * np.clip(below / 0.3, 0, 1))
        lungs[side] = np.asarray(outline, np.float32)
        air += np.asarray(outline * depth, np.float32)
    air *= np.float32(0.40 * THICKER * a.thickness * (1 - a.density))
    empty = [np.zeros((size, size), np.float32) for _ in range(4)]
    scene = Scene(a, size, x, y, np.asarray(body, np.float32), lungs, air, *empty)
    _add_middle(scene)
    _add_bones(scene)
    canvas = scene.canvas()
    grow_vessels(canvas, hilum_from_side(a), np.linspace(-np.pi, np.pi, 16)[:-1], 1, 0.022 * a.vessels, rng)
    scene.vessels += canvas.map(2.4, blur=0.005) * scene.lung * (0.35 + 0.65 * np.clip(scene.air / 9, 0, 1))
    return scene


def hilum_from_side(anatomy: Anatomy) -> tuple[float, float]:
    return 0.03, anatomy.arch + 0.24


def aorta(anatomy: Anatomy) -> Any:
    """The line ``[P, 2]`` from the heart over the arch down before the spine."""
    top, swing = anatomy.arch - 0.03, 0.06 * anatomy.unfolding
    return smooth_line(
        [
            (-0.17 - swing, top + 0.36),
            (-0.13 - swing, top + 0.12),
            (0.04, top - swing),
            (0.22 + 0.5 * swing, top + 0.10),
            (0.32 + swing, top + 0.36),
            (0.37 + swing, 0.42),
            (0.37, 0.8),
        ]
    )


def _add_middle(scene: Scene) -> None:
    """Heart, aorta, hila and trachea between the lungs; breasts before them, gas in the stomach below."""
    a, x, y = scene.anatomy, scene.x, scene.y
    heart, canvas = heart_from_side(a, x, y), scene.canvas()
    canvas.line(aorta(a), 1.7 * a.knob)
    vessel = canvas.map(blur=0.025)
    hx, hy = hilum_from_side(a)
    hila = round_thickness(ellipse(x, y, hx, hy, 0.085 * a.hila, 0.12 * a.hila))
    pedicle = soft(0.30 - np.abs(x + 0.02), 0.10) * soft(a.arch - y, 0.10)
    scene.air *= (1 - 0.62 * heart) * (1 - 0.28 * vessel) * (1 - min(0.6, 0.28 * a.hila**1.3) * hila)
    scene.air *= 1 - 0.45 * pedicle
    scene.tissue += 1.6 * heart + 0.7 * vessel
    carina = a.arch + 0.12
    path = 0.02 + 0.10 * np.clip(y + 0.8, 0, 1)
    scene.tissue -= 3.0 * round_thickness(1 - ((x - path) / 0.045) ** 2) * soft(carina - y, 0.03)
    if a.breast:
        edge = front(a, 0.25) - 0.04
        scene.body += np.asarray(
            9 * a.breast * round_thickness(ellipse(x, y, edge, 0.27, 0.13 * a.breast, 0.26)) * soft(edge - x, 0.03),
            np.float32,
        )
    scene.tissue -= 4.5 * soft(ellipse(x, y, 0.08, a.dome[1] + 0.17, 0.15, 0.07, 0.2), 0.25)


def _add_bones(scene: Scene) -> None:
    """Vertebrae, the sternum, and the ribs of both sides, which run forward and down."""
    a, spine, ribs = scene.anatomy, scene.canvas(), scene.canvas()
    inside = 1 - 0.30 * a.cortex
    for level, (top, height) in enumerate(vertebrae()):
        middle = float(spine_behind(a, top + height / 2))
        lean = float(spine_behind(a, top + height) - spine_behind(a, top)) / height
        half = 0.078 + 0.0022 * level
        block = np.array([[-half, 0.0], [-half, height], [half, height], [half, 0.0]])
        place, shear = np.array([middle, top]), np.array([[1, lean], [0, 1]])
        spine.fill((block - [0, height / 2]) @ shear + [0, height / 2] + place, 185)
        small = (block - [0, height / 2]) * [0.86, 0.78]
        spine.fill(small @ shear + [0, height / 2] + place, 185 * inside)
        process = np.array([[half + 0.03, 0.02], [half + 0.17, 0.08], [half + 0.16, 0.11], [half + 0.03, 0.06]])
        spine.fill(process + place, 90)
    t = np.linspace(0, 1, 20)
    for number in range(1, 11):
        for offset in (0.0, 0.035):
            start = a.apex + 0.02 + 0.118 * number + offset
            ahead = float(front(a, start + 0.3)) + 0.03 + 0.02 * max(0, number - 6)
            behind = float(back(a, start))
            line = np.stack([behind + (ahead - behind) * t, start + 0.30 * t - 0.06 * np.sin(np.pi * t)], axis=1)
            ribs.line(line[: 20 if number < 8 else 13], 0.036, 110)
            ribs.line(line[: 20 if number < 8 else 13], 0.022, 110 * inside)
    sternum = np.stack([front(a, np.linspace(-0.52, 0.22, 12)) - 0.035, np.linspace(-0.52, 0.22, 12)], axis=1)
    spine.line(sternum, 0.05, 150)
    spine.line(sternum, 0.03, 150 * inside)
    scene.bone += a.bone * (spine.map(2.1, blur=0.004) + ribs.map(1.0))


def vertebrae() -> list[tuple[float, float]]:
    """Top and height of each vertebral body, from above."""
    return [(-0.98 + level * (0.125 + 0.0016 * level), 0.100 + 0.0016 * level) for level in range(15)]
