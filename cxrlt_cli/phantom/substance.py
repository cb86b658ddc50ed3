"""Signs of lung, pleura, gas and soft tissue: findings that change the maps of a chest. Each gives the box it changed.

``severity`` runs from 0, barely visible, to 1, gross.
"""

import numpy as np

from cxrlt_cli.phantom.anatomy import SIDES, Generator, Scene, cage, diaphragm, hilum
from cxrlt_cli.phantom.canvas import CIRCLE, Map, blurred, ellipse, round_thickness, soft
from cxrlt_cli.phantom.drawing import Box, around, beside, disc, mix, place_in_lung, rough_disc


def replace_air(scene: Scene, where: Map, share: float) -> None:
    """Something airless in the lung: it hides the vessels that it borders on, too."""
    scene.air *= 1 - share * where
    scene.vessels *= 1 - share * where


def pleural_effusion(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Fluid with a meniscus that climbs on the chest wall and blunts the costophrenic angle."""
    a = scene.anatomy
    level = a.dome[side] + mix(0.16, -0.55, severity)
    from_wall, from_middle = cage(a, scene.y) - side * scene.x, side * scene.x - a.mediastinum
    climb = 0.16 * np.exp(-from_wall / 0.10) + 0.05 * np.exp(-np.maximum(from_middle, 0) / 0.08)
    fluid = soft(scene.y - level + climb, 0.025) * scene.lungs[side]
    replace_air(scene, fluid, 0.95)
    return beside(side, a.mediastinum, a.width, level - 0.17, a.dome[side] + a.dome_depth + 0.1)


def pneumothorax(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A visceral pleural line, and beyond it gas without vessels."""
    a = scene.anatomy
    gap = mix(0.07, 0.32, severity) * (0.55 + 0.45 * np.clip((0.35 - scene.y) / 0.9, 0, 1))
    retreat = a.apex + mix(0.10, 0.30, severity)
    lung = scene.lungs[side]
    surface = np.minimum(cage(a, scene.y) - side * scene.x - gap, (scene.y - retreat) * 0.8)  # positive in the lung
    free = soft(-surface, 0.006) * lung
    scene.vessels *= 1 - free
    scene.air += 2.2 * free
    scene.air *= 1 - (1 - free) * lung * 0.14 * (1 + severity)  # what is left of the lung is denser
    scene.tissue += 1.5 * np.exp(-((surface / 0.007) ** 2)) * lung
    return beside(side, 0.12, a.width, a.apex, a.dome[side] + 0.1)


def hydropneumothorax(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A pneumothorax over fluid: a level as straight as a ruler from wall to wall."""
    box = pneumothorax(scene, rng, 0.35 + 0.65 * severity, side)
    a = scene.anatomy
    fluid = soft(scene.y - a.dome[side] - mix(0.10, -0.42, severity), 0.004) * scene.lungs[side]
    replace_air(scene, fluid, 0.96)
    scene.tissue *= 1 - 0.8 * fluid
    return box[0], box[1], box[2], a.dome[side] + a.dome_depth


def pleural_thickening(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A strip or a cap along the inside of the chest wall."""
    a = scene.anatomy
    if rng.random() < 0.45:
        top, bottom = a.apex - 0.02, a.apex + 0.30
    else:
        top = rng.uniform(-0.4, 0.1)
        bottom = top + rng.uniform(0.3, 0.5)
    uneven = 1 + 0.35 * np.sin(scene.y * 23 + rng.uniform(0, 6))
    within = soft(scene.y - top, 0.06) * soft(bottom - scene.y, 0.06) * scene.lungs[side]
    strip = soft(mix(0.030, 0.085, severity) * uneven - cage(a, scene.y) + side * scene.x, 0.012) * within
    replace_air(scene, strip, 0.8)
    scene.tissue += strip
    reach = [float(cage(a, y)) for y in (top + 0.05, bottom)]
    return beside(side, reach[0] - 0.14, max(reach) + 0.02, top, bottom)


def subcutaneous_emphysema(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Streaks of gas in the soft tissue of the chest wall."""
    a, canvas = scene.anatomy, scene.canvas()
    t = np.linspace(-0.5, 0.5, 6)
    for _ in range(int(mix(14, 46, severity))):
        y = rng.uniform(-0.60, 0.25)
        x = side * (float(cage(a, y)) + rng.uniform(0.08, 0.22))
        heading = side * 1.35 + rng.normal(0, 0.35)
        streak = np.stack(
            [x + 0.16 * np.cos(heading) * t + 0.01 * np.sin(14 * t), y + 0.16 * np.sin(heading) * t], axis=1
        )
        canvas.line(streak, rng.uniform(0.008, 0.022))
    scene.tissue -= mix(3.5, 6.5, severity) * canvas.map(blur=0.006) * (1 - scene.lung)
    return beside(side, 0.42, min(1.0, a.width + 0.25), -0.72, 0.36)


def pneumoperitoneum(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A crescent of gas between a thin diaphragm and the liver."""
    a = scene.anatomy
    below = scene.y - diaphragm(a, side, scene.x)
    depth = mix(0.045, 0.15, severity) * np.clip(1 - ((scene.x - side * 0.36) / 0.30) ** 2, 0, 1)
    scene.tissue -= 8.5 * soft(below - 0.016, 0.006) * soft(depth + 0.016 - below, 0.012) * (depth > 0.004)
    return side * 0.36 - 0.31, a.dome[side] - 0.03, side * 0.36 + 0.31, a.dome[side] + 0.20


def bulla(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A black round space without vessels, with a wall as thin as a hair."""
    radius = mix(0.085, 0.21, severity)
    cx, cy = place_in_lung(scene.anatomy, rng, side, radius * 0.75, 0.0, 0.75)
    tall = radius * rng.uniform(0.85, 1.2)
    value = ellipse(scene.x, scene.y, cx, cy, radius, tall)
    inside = soft(value, 0.06) * scene.lungs[side]
    scene.vessels *= 1 - inside
    scene.air += 2.6 * inside
    canvas = scene.canvas()
    canvas.line(CIRCLE * [radius, tall] + [cx, cy], 0.014)
    scene.tissue += canvas.map(2.2) * scene.lungs[side]
    return around(CIRCLE * [radius, tall] + [cx, cy], 0.015)


def nodule(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A small round shadow, at most 3 cm."""
    radius = mix(0.030, 0.072, severity)
    cx, cy = place_in_lung(scene.anatomy, rng, side, radius)
    scene.tissue += mix(2.6, 6.0, severity) * rough_disc(scene, rng, cx, cy, radius, radius, 0.05)
    return disc(cx, cy, radius * 1.15)


def mass(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A lobulated shadow of more than 3 cm, with spicules."""
    radius = mix(0.10, 0.20, severity)
    cx, cy = place_in_lung(scene.anatomy, rng, side, radius * 0.9, 0.05, 0.9)
    tall = radius * rng.uniform(0.85, 1.15)
    scene.tissue += mix(3.6, 7.0, severity) * rough_disc(scene, rng, cx, cy, radius, tall, 0.16)
    canvas = scene.canvas()
    for angle in rng.uniform(0, 2 * np.pi, 14):
        reach = np.linspace(0.85, rng.uniform(1.15, 1.5), 4)[:, None] * radius
        canvas.line(np.array([[cx, cy]]) + reach * [np.cos(angle), np.sin(angle)], 0.012)
    scene.tissue += canvas.map(0.9) * scene.lung
    return disc(cx, cy, radius * 1.35)


def atelectasis(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Plates: flat dense lines low in the lung."""
    canvas, plates = scene.canvas(), []
    cx, cy = place_in_lung(scene.anatomy, rng, side, 0.16, 0.55, 1.0)
    length, t = mix(0.24, 0.42, severity), np.linspace(-0.5, 0.5, 10)
    for number in range(1 + int(severity * 2.5)):
        slope = rng.normal(0, 0.18)
        plate = np.stack([cx + length * t, cy - number * 0.07 + length * slope * t - 0.03 * (1 - 4 * t * t)], axis=1)
        canvas.line(plate, mix(0.022, 0.040, severity))
        plates.append(plate)
    scene.tissue += mix(2.4, 6.0, severity) * canvas.map(blur=0.008) * scene.lung
    return around(np.concatenate(plates), 0.03)


def alveolar_pattern(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Fluffy consolidation through which air-filled bronchi show."""
    radius = mix(0.15, 0.33, severity)
    cx, cy = place_in_lung(scene.anatomy, rng, side, radius * 0.6, 0.1, 1.0)
    clear = np.ones_like(scene.air)
    for _ in range(14):
        angle, distance = rng.uniform(0, 2 * np.pi), radius * 0.75 * np.sqrt(rng.random())
        px, py = cx + distance * np.cos(angle), cy + distance * np.sin(angle)
        rx, ry = radius * rng.uniform(0.25, 0.5, 2)
        clear *= 1 - 0.55 * rough_disc(scene, rng, px, py, rx, ry, 0.2)
    bronchi, t = scene.canvas(), np.linspace(0, 0.8, 5)
    for angle in rng.uniform(0, 2 * np.pi, 4):
        bronchi.line(
            np.stack([cx + radius * t * np.cos(angle), cy + radius * t * np.sin(angle + 0.2 * t)], axis=1), 0.014
        )
    patch = (1 - clear) * scene.lungs[side] * (1 - bronchi.map(0.6, blur=0.005))
    replace_air(scene, patch, mix(0.55, 0.92, severity))
    return disc(cx, cy, radius * 1.1)


def interstitial_pattern(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A net of fine lines, denser toward the bases."""
    a = scene.anatomy
    noise = rng.standard_normal((scene.size, scene.size), dtype=np.float32)
    fine = blurred(noise, 0.013) - blurred(noise, 0.033)
    net = np.exp(-((fine / (0.35 * fine.std())) ** 2))  # lines where the noise crosses zero
    base = np.clip((scene.y - a.apex) / (a.dome[1] - a.apex), 0.15, 1)
    scene.tissue += mix(1.1, 2.4, severity) * net * scene.lung * base
    return -a.width, a.apex + 0.3, a.width, a.dome[1] + 0.2


def infarction(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Hampton's hump: a wedge on the pleura with a rounded tip toward the hilum."""
    a = scene.anatomy
    cy = rng.uniform(-0.05, 0.30)
    depth, half = mix(0.17, 0.36, severity), mix(0.09, 0.17, severity)
    inward = (cage(a, scene.y) - side * scene.x) / depth  # 0 at the pleura, 1 at the tip
    wedge = soft(half * np.sqrt(np.clip(1 - inward, 0, 1)) - np.abs(scene.y - cy), 0.012) * soft(1 - inward, 0.05)
    replace_air(scene, wedge * scene.lungs[side], mix(0.55, 0.85, severity))
    wall = float(cage(a, cy))
    return beside(side, wall - depth, wall, cy - half, cy + half)


def bronchiectasis(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Rings and tram lines: wide bronchi with thick walls."""
    canvas = scene.canvas()
    cx, cy = place_in_lung(scene.anatomy, rng, side, 0.20, 0.5, 1.0)
    root = np.array(hilum(scene.anatomy, side))
    for _ in range(int(mix(6, 14, severity))):
        place = np.array([cx, cy]) + rng.uniform(-0.16, 0.16, 2)
        radius = mix(0.022, 0.040, severity) * rng.uniform(0.8, 1.3)
        if rng.random() < 0.6:
            canvas.line(CIRCLE * radius + place, 0.011)
        else:
            along = (place - root) / (np.linalg.norm(place - root) + 1e-6)
            across = np.array([-along[1], along[0]]) * radius * 0.6
            for each in SIDES:
                canvas.line(place + along * np.linspace(-0.07, 0.07, 5)[:, None] + across * each, 0.011)
    scene.tissue += mix(1.6, 2.8, severity) * canvas.map() * scene.lung
    return disc(cx, cy, 0.23)


def adenopathy(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Lumps at both hila and beside the trachea."""
    a = scene.anatomy
    places = []
    for each in SIDES:
        for _ in range(3):
            px, py = each * rng.uniform(0.19, 0.27) + 0.02, hilum(a, each)[1] + rng.uniform(-0.14, 0.12)
            radius = mix(0.050, 0.095, severity) * rng.uniform(0.8, 1.2)
            lump = rough_disc(scene, rng, px, py, radius, radius, 0.06)
            replace_air(scene, lump, 0.75)
            scene.tissue += 1.2 * lump
            places.append((px, py))
    width = mix(0.05, 0.10, severity)
    node = rough_disc(scene, rng, -a.mediastinum - 0.015, a.arch - 0.03, width, width * 1.5, 0.05)
    replace_air(scene, node, 0.8)
    scene.tissue += node
    return around(np.array([*places, (-a.mediastinum, a.arch - 0.10)]), 0.10)


def goiter(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A mass in the upper mediastinum that pushes the trachea aside."""
    rx, ry = mix(0.13, 0.24, severity), mix(0.16, 0.27, severity)
    cx, cy = side * (0.06 + 0.25 * rx), -0.72
    gland = rough_disc(scene, rng, cx, cy, rx, ry, 0.05)
    lobe = 0.7 * rough_disc(scene, rng, -side * 0.08, cy - 0.04, rx * 0.7, ry * 0.8, 0.05)
    gland = np.maximum(gland, lobe)
    replace_air(scene, gland, 0.85)
    scene.tissue += 3.0 * gland
    return around(np.array([[cx - rx, cy - ry], [cx + rx, cy + ry], [-side * (0.08 + 0.7 * rx), cy]]), 0.02)


def hernia(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A hiatal hernia: a round shadow behind the heart with a level of gas."""
    radius = mix(0.11, 0.21, severity)
    cx, cy = 0.05 + rng.uniform(-0.03, 0.06), scene.anatomy.heart_base - 0.10
    value = ellipse(scene.x, scene.y, cx, cy, radius, radius * 0.9)
    gas = soft(value - 0.12, 0.05) * soft(cy + 0.02 - scene.y, 0.005)
    wall = np.exp(-(((value - 0.06) / 0.10) ** 2))
    scene.tissue += 2.4 * round_thickness(value) * (1 - gas) + 1.6 * wall - mix(4.0, 6.5, severity) * gas
    replace_air(scene, soft(value, 0.06), 0.8)
    return disc(cx, cy, radius * 1.06)


def azygos_lobe(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """A fissure like a bent hair from the right apex to the azygos vein, seen end on as a drop."""
    a, canvas, t = scene.anatomy, scene.canvas(), np.linspace(0, 1, 24)
    bow = mix(-0.02, 0.08, severity)
    x = -0.30 + 0.02 * t - bow * np.sin(np.pi * t) + 0.14 * t**2
    y = a.apex + 0.05 + (a.arch + 0.05 - a.apex) * t
    fissure = np.stack([x, y], axis=1)
    canvas.line(fissure, mix(0.011, 0.016, severity))
    drop = round_thickness(ellipse(scene.x, scene.y, float(x[-1]), float(y[-1]) + 0.02, 0.030, 0.050))
    scene.tissue += mix(2.0, 3.0, severity) * canvas.map() * scene.lung + 3.0 * drop
    return around(fissure, 0.05)


def stooped_spine(scene: Scene, rng: Generator, severity: float, side: int) -> Box:
    """Kyphosis from the front: the chin on the film, and the upper vertebrae one behind the other."""
    chin = round_thickness(ellipse(scene.x, scene.y, 0.0, -1.0, 0.30, mix(0.16, 0.34, severity)))
    crowded = round_thickness(ellipse(scene.x, scene.y, 0.0, -0.35, 0.10, 0.50))
    scene.tissue += 5.0 * chin
    scene.bone += mix(0.7, 1.9, severity) * crowded
    return -0.30, -1.0, 0.30, 0.15
