"""Signs of bone, calcium and metal: findings that change the bright maps of a chest. Each gives the box it changed.

``severity`` runs from 0, barely visible, to 1, gross.
"""

import cv2
import numpy as np

from cxrlt_cli.phantom.anatomy import SIDES, Generator, Scene, knob, ribs, spine_x
from cxrlt_cli.phantom.canvas import CIRCLE, TURN
from cxrlt_cli.phantom.drawing import Box, around, mix, place_in_lung, rough_disc, smooth_line


def aortic_atheromatosis(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A sickle of calcium in the wall of the aortic knob."""
    a, canvas = scene.anatomy, scene.canvas()
    turn = np.linspace(-0.5, 0.5, 18) * mix(1.3, 2.9, severity) - 0.4
    arc = np.array(knob(a)) + np.stack([0.95 * a.knob * np.cos(turn), 1.1 * a.knob * np.sin(turn)], axis=1)
    canvas.line(arc, mix(0.014, 0.024, severity))
    scene.bone += mix(1.8, 3.4, severity) * canvas.map()
    return around(arc, 0.02)


def calcified_densities(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A few grains of calcium: small, round, brighter than bone."""
    cx, cy = place_in_lung(scene.anatomy, rng, side, 0.10)
    places = np.array([cx, cy]) + rng.normal(0, 0.045, (int(mix(1, 5.9, severity)), 2))
    for px, py in places:
        radius = rng.uniform(0.014, 0.025)
        scene.bone += mix(2.2, 4.0, severity) * rough_disc(scene, rng, px, py, radius, radius, 0.15)
    return around(places, 0.03)


def fracture(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Ribs with a gap, a step and some callus."""
    places = []
    lines, angles = ribs(scene.anatomy, side)
    for number in rng.choice(np.arange(2, 8), 1 + int(severity * 2.5), replace=False):
        middle = int(np.argmin(np.abs(angles - rng.uniform(0.9, 1.4))))
        line = lines[number]
        centre, heading = line[middle], line[middle + 2] - line[middle - 2]
        heading = heading / np.linalg.norm(heading)
        across = np.array([-heading[1], heading[0]])
        dx, dy = scene.x - centre[0], scene.y - centre[1]
        beyond = (dx**2 + dy**2 < 0.07**2) & (dx * heading[0] + dy * heading[1] > 0)
        step = max(1.0, mix(0.014, 0.032, severity) * scene.size / 2) * across
        moved = cv2.warpAffine(scene.bone, np.array([[1, 0, step[0]], [0, 1, step[1]]]), scene.bone.shape)
        scene.bone[beyond] = moved[beyond]
        gap = scene.canvas()
        gap.line(centre + np.linspace(-0.036, 0.036, 4)[:, None] * across, mix(0.012, 0.018, severity))
        callus = rough_disc(scene, rng, centre[0], centre[1], 0.05, 0.04, 0.1)
        scene.bone += mix(0.5, 1.3, severity) * callus - gap.map(1.4)
        places.append(centre)
    return around(np.array(places), 0.07)


def vertebral_degenerative_changes(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Bony beaks and dense end plates at the discs."""
    canvas, places = scene.canvas(), []
    for y in np.linspace(-0.25, 0.80, 9)[rng.permutation(9)[: int(mix(3, 8.9, severity))]]:
        x = float(spine_x(scene.anatomy, y))
        for each in SIDES:
            beak = np.array([[0.055, -0.020], [mix(0.095, 0.125, severity), 0.0], [0.055, 0.020]])
            canvas.fill(beak * [each, 1] + [x, y])
        canvas.line(np.array([[x - 0.07, y], [x + 0.07, y]]), 0.018, 180)
        places.append((x, y))
    scene.bone += mix(1.2, 2.3, severity) * canvas.map()
    return around(np.array(places), 0.13)


def sternotomy(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Wire loops one below the other in the middle."""
    canvas, places = scene.canvas(), []
    for y in np.linspace(-0.46, 0.34, int(mix(4, 7.9, severity))):
        place = np.array([0.01 + rng.normal(0, 0.012), y])
        lean = rng.normal(0, 0.25)
        loop = np.stack([0.055 * np.cos(TURN), 0.024 * np.sin(TURN) + lean * 0.055 * np.cos(TURN)], axis=1)
        canvas.line(loop + place, 0.011)
        canvas.line(np.array([[0.010, -0.030], [0.024, -0.055]]) + place, 0.014)
        places.append(place)
    scene.metal += 1.5 * canvas.map()
    return around(np.array(places), 0.07)


def central_venous_catheter(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A fine line from the neck or the collar bone down the superior vena cava."""
    start = (-0.17, -1.0) if rng.random() < 0.5 else (-0.62, -0.56)
    line = smooth_line([start, (-0.20, -0.66), (-0.105, -0.50), (-0.10, mix(-0.18, 0.02, severity))])
    canvas = scene.canvas()
    canvas.line(line, mix(0.013, 0.019, severity))
    scene.metal += mix(0.5, 0.9, severity) * canvas.map()
    return around(line, 0.025)


def support_devices(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A pacemaker with its lead, a feeding tube or a chest drain."""
    canvas = scene.canvas()
    kind = rng.choice(3, p=[0.5, 0.35, 0.15])
    if kind == 0:
        rounded = np.sign(CIRCLE) * np.abs(CIRCLE) ** 0.6
        place = np.array([0.52, -0.42])
        case = rounded * [0.115, 0.095] + place
        canvas.fill(case, 220)
        canvas.fill(rounded * [0.085, 0.065] + place, 170)
        lead = smooth_line([(0.44, -0.50), (0.25, -0.62), (-0.05, -0.48), (-0.10, -0.05), (0.05, 0.22), (0.22, 0.30)])
        canvas.line(lead, 0.014, 235)
        canvas.line(lead[-3:], 0.024)
        box = around(np.concatenate([case, lead]), 0.02)
    elif kind == 1:
        deep = scene.anatomy.dome[1] + 0.2
        line = smooth_line([(0, -1), (0.01, -0.5), (0.03, 0), (0.06, 0.35), (0.20, deep), (0.36, deep + 0.05)])
        canvas.line(line, 0.022, 190)
        canvas.line(line, 0.008, 60)
        box = around(line, 0.03)
    else:
        line = smooth_line([(side * 0.98, 0.30), (side * 0.70, 0.18), (side * 0.48, -0.05), (side * 0.42, -0.45)])
        canvas.line(line, 0.036, 150)
        canvas.line(line, 0.010)
        box = around(line, 0.03)
    scene.metal += mix(0.8, 1.5, severity) * canvas.map()
    return box


def tubes(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """What a patient in intensive care has: a tube in the trachea, and often one to the stomach."""
    a, canvas = scene.anatomy, scene.canvas()
    lines = [
        smooth_line([(0.005, -1.0), (0.005 + a.trachea_shift, -0.65), (0.005, a.arch + mix(0.0, -0.12, severity))])
    ]
    canvas.line(lines[0], 0.030, 170)
    canvas.line(lines[0], 0.008)
    if rng.random() < 0.7:
        deep = a.dome[1] + 0.2
        lines.append(
            smooth_line([(0.02, -1), (0.03, -0.5), (0.05, 0), (0.08, 0.35), (0.22, deep), (0.40, deep + 0.05)])
        )
        canvas.line(lines[1], 0.022, 190)
    scene.metal += mix(0.8, 1.5, severity) * canvas.map()
    return around(np.concatenate(lines), 0.03)


def electrodes(scene: Scene, rng: Generator) -> None:
    """A monitor's electrodes on the skin with their wires: on the film, but no finding."""
    canvas = scene.canvas()
    for x, y in ((-0.55, -0.52), (0.55, -0.50), (0.60, 0.30), (-0.52, 0.34)):
        place = np.array([x, y]) + rng.normal(0, 0.05, 2)
        canvas.fill(CIRCLE * 0.030 + place, 150)
        canvas.fill(CIRCLE * 0.012 + place, 255)
        canvas.line(smooth_line([tuple(place), (0.5 * x, y + 0.15), (0.10 * x + 0.05, 0.75), (0.05, 1.0)]), 0.010, 170)
    scene.metal += 1.0 * canvas.map()
