"""Findings as they show from the side: for each that does, what it changes in a lateral film's maps, and its box.

Which finding, how gross and on which side is the study's: the numbers come from the same generators as the frontal
film's, so that what has a height has it on both films. Signs of shape are in the anatomy already, and have a box alone.
A finding that is not here does not show from the side.
"""

from collections.abc import Callable

import numpy as np

from cxrlt_cli.phantom.anatomy import Generator, Scene
from cxrlt_cli.phantom.canvas import CIRCLE, TURN, ellipse, soft
from cxrlt_cli.phantom.drawing import Box, around, disc, mix, place_in_lung, rough_disc, smooth_line
from cxrlt_cli.phantom.lateral import aorta, back, floor, front, hilum_from_side, spine_behind, vertebrae
from cxrlt_cli.phantom.substance import interstitial_pattern, replace_air

LateralSign = Callable[[Scene, Generator, float, int], Box]


def _place(
    scene: Scene, rng: Generator, side: int, margin: float, top: float = 0.0, bottom: float = 1.0
) -> tuple[float, float]:
    """A place in a lung, at the height that the frontal film has it."""
    _, y = place_in_lung(scene.anatomy, rng, side, margin, top, bottom)
    low, high = float(front(scene.anatomy, y)) + margin + 0.04, float(back(scene.anatomy, y)) - margin - 0.04
    return rng.uniform(low, high), y


def _effusion(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Fluid in the deep angle behind, from where it climbs: the first place that it fills."""
    a = scene.anatomy
    level = a.dome[side] + 1.35 * a.dome_depth + mix(-0.10, -0.62, severity)
    climb = 0.22 * np.exp(-(back(a, scene.y) - scene.x) / 0.16) + 0.10 * np.exp(-(scene.x - front(a, scene.y)) / 0.10)
    fluid = soft(scene.y - level + climb, 0.025) * scene.lungs[side]
    replace_air(scene, fluid, 0.5)
    scene.tissue += 1.6 * fluid
    return -0.5 if severity > 0.4 else 0.05, level - 0.22, 0.75, a.dome[side] + 1.9 * a.dome_depth


def _nodule(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    radius = mix(0.030, 0.072, severity)
    cx, cy = _place(scene, rng, side, radius)
    scene.tissue += mix(2.6, 6.0, severity) * rough_disc(scene, rng, cx, cy, radius, radius, 0.05)
    return disc(cx, cy, radius * 1.15)


def _mass(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    radius = mix(0.10, 0.20, severity)
    cx, cy = _place(scene, rng, side, radius * 0.9, 0.05, 0.9)
    scene.tissue += mix(3.4, 6.5, severity) * rough_disc(scene, rng, cx, cy, radius, radius, 0.16)
    return disc(cx, cy, radius * 1.2)


def _alveolar_pattern(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Consolidation over the spine, which should grow darker downward."""
    radius = mix(0.15, 0.33, severity)
    cx, cy = _place(scene, rng, side, radius * 0.6, 0.1, 1.0)
    clear = np.ones_like(scene.air)
    for _ in range(14):
        angle, distance = rng.uniform(0, 2 * np.pi), radius * 0.75 * np.sqrt(rng.random())
        px, py = cx + distance * np.cos(angle), cy + distance * np.sin(angle)
        rx, ry = radius * rng.uniform(0.25, 0.5, 2)
        clear *= 1 - 0.55 * rough_disc(scene, rng, px, py, rx, ry, 0.2)
    replace_air(scene, (1 - clear) * scene.lungs[side], mix(0.35, 0.55, severity))
    return disc(cx, cy, radius * 1.1)


def _atelectasis(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    canvas = scene.canvas()
    cx, cy = _place(scene, rng, side, 0.16, 0.55, 1.0)
    t = np.linspace(-0.5, 0.5, 10)
    plate = np.stack([cx + 0.36 * t, cy + rng.normal(0, 0.12) * t], axis=1)
    canvas.line(plate, mix(0.022, 0.040, severity))
    scene.tissue += mix(2.0, 5.0, severity) * canvas.map(blur=0.008) * scene.lung
    return around(plate, 0.03)


def _calcified_densities(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    cx, cy = _place(scene, rng, side, 0.10)
    places = np.array([cx, cy]) + rng.normal(0, 0.045, (int(mix(1, 5.9, severity)), 2))
    for px, py in places:
        radius = rng.uniform(0.014, 0.025)
        scene.bone += mix(2.2, 4.0, severity) * rough_disc(scene, rng, px, py, radius, radius, 0.15)
    return around(places, 0.03)


def _hernia(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Behind the heart, in what should be dark."""
    radius = mix(0.11, 0.21, severity)
    cx, cy = 0.17 + rng.uniform(-0.03, 0.06), scene.anatomy.heart_base - 0.10
    value = ellipse(scene.x, scene.y, cx, cy, radius, radius * 0.9)
    gas = soft(value - 0.12, 0.05) * soft(cy + 0.02 - scene.y, 0.005)
    replace_air(scene, soft(value, 0.06), 0.6)
    scene.tissue += 2.4 * np.sqrt(np.maximum(value, 0)) * (1 - gas) - mix(3.0, 5.0, severity) * gas
    return disc(cx, cy, radius * 1.06)


def _degenerative(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Beaks on the front edges of the vertebrae, dense end plates and narrow discs."""
    canvas, places = scene.canvas(), []
    levels = vertebrae()[4:13]
    for level in rng.permutation(9)[: int(mix(3, 8.9, severity))]:
        y = levels[level][0]
        x = float(spine_behind(scene.anatomy, y))
        beak = np.array([[-0.075, -0.024], [-mix(0.115, 0.15, severity), 0.0], [-0.075, 0.024]])
        canvas.fill(beak + np.array([x, y]))
        canvas.line(np.array([[x - 0.09, y], [x + 0.09, y]]), 0.026, 190)
        places.append((x, y))
    scene.bone += mix(1.4, 2.6, severity) * canvas.map()
    return around(np.array(places), 0.13)


def _sternotomy(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    canvas, heights = scene.canvas(), np.linspace(-0.46, 0.20, int(mix(4, 7.9, severity)))
    places = np.stack([front(scene.anatomy, heights) - 0.035, heights], axis=1)
    for place in places:
        canvas.line(np.stack([0.035 * np.cos(TURN), 0.014 * np.sin(TURN)], axis=1) + place, 0.011)
    scene.metal += 1.5 * canvas.map()
    return around(places, 0.06)


def _atheromatosis(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    canvas = scene.canvas()
    arch = aorta(scene.anatomy)[8:26] - [0, 0.75 * scene.anatomy.knob]
    canvas.line(arch, mix(0.010, 0.018, severity))
    scene.bone += mix(0.8, 1.8, severity) * canvas.map()
    return around(arch, 0.02)


def _devices(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A pacemaker before the chest with its lead, a feeding tube behind the heart, or a drain."""
    canvas, kind, a = scene.canvas(), rng.choice(3, p=[0.5, 0.35, 0.15]), scene.anatomy
    if kind == 0:
        case = CIRCLE * [0.045, 0.095] + [float(front(a, -0.42)) - 0.02, -0.42]
        canvas.fill(case, 235)
        lead = smooth_line([(-0.50, -0.45), (-0.20, -0.56), (-0.06, -0.30), (-0.12, 0.02), (-0.34, 0.28)])
        canvas.line(lead, 0.014, 235)
        box = around(np.concatenate([case, lead]), 0.02)
    else:
        deep = a.dome[1] + 0.2
        knots = [(0.03, -1.0), (0.10, -0.5), (0.22, 0.0), (0.22, 0.35), (0.12, deep), (-0.02, deep + 0.05)]
        line = smooth_line(knots if kind == 1 else [(0.7, 0.25), (0.45, 0.05), (0.20, -0.35)])
        canvas.line(line, 0.022, 190)
        canvas.line(line, 0.008, 60)
        box = around(line, 0.03)
    scene.metal += mix(0.8, 1.5, severity) * canvas.map()
    return box


def _pneumoperitoneum(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    a = scene.anatomy
    below = scene.y - floor(a, side, scene.x)
    depth = mix(0.045, 0.15, severity) * np.clip(1 - ((scene.x + 0.15) / 0.38) ** 2, 0, 1)
    scene.tissue -= 6.0 * soft(below - 0.016, 0.006) * soft(depth + 0.016 - below, 0.012) * (depth > 0.004)
    return -0.53, a.dome[side] - 0.05, 0.23, a.dome[side] + 0.22


def _heart(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    s, base = scene.anatomy.heart, scene.anatomy.heart_base
    return -0.27 - 0.33 * s, base - 0.46 * s, -0.27 + 0.33 * s, base + 0.08


def _stoop(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    return 0.3, -0.8, 0.85, 0.6


def _lungs(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    return -0.62, scene.anatomy.apex, 0.72, 0.85


def _dome(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    return -0.6, scene.anatomy.dome[side] - 0.06, 0.4, scene.anatomy.dome[side] + 0.25


def _aorta(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    return around(aorta(scene.anatomy)[:34], scene.anatomy.knob)


def _hila(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    return disc(*hilum_from_side(scene.anatomy), 0.11 * scene.anatomy.hila)


def _bones(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    return 0.3, -1.0, 0.8, 1.0


def _interstitial(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    interstitial_pattern(scene, rng, severity, side)
    return _lungs(scene, rng, severity, side)


LATERAL: dict[str, LateralSign] = {
    "aortic elongation": _aorta,
    "cardiomegaly": _heart,
    "pleural effusion": _effusion,
    "Nodule": _nodule,
    "atelectasis": _atelectasis,
    "aortic atheromatosis": _atheromatosis,
    "Support Devices": _devices,
    "alveolar pattern": _alveolar_pattern,
    "Hernia": _hernia,
    "Emphysema": _lungs,
    "Kyphosis": _stoop,
    "Mass": _mass,
    "pneumoperitoneo": _pneumoperitoneum,
    "vascular hilar enlargement": _hila,
    "vertebral degenerative changes": _degenerative,
    "hyperinflated lung": _lungs,
    "interstitial pattern": _interstitial,
    "hypoexpansion": _lungs,
    "hemidiaphragm elevation": _dome,
    "sternotomy": _sternotomy,
    "calcified densities": _calcified_densities,
    "Osteopenia": _bones,
}
