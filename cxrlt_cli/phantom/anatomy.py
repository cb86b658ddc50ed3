"""The body of a digital phantom: parameters of one chest, and maps of what X-rays pass through in it.

Coordinates: x from -1 (left on the film, the patient's right) to 1, y from -1 (top) to 1; lengths are in these units. A
map ``[S, S]`` holds centimetres of water on the way of each ray; bone and metal have maps of their own. A side is -1 on
the left of the film, 1 on its right. Everything is drawn from parametric shapes: no film was used to make it.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.phantom.canvas import CIRCLE, Canvas, Map, Points, ellipse, grid, round_thickness, soft

Generator = np.random.Generator

SIDES = (-1, 1)
NUM_RIBS = 10


@dataclass
class Anatomy:
    """One chest. Signs of shape change it before it is drawn."""

    width: float = 0.77  # half of the rib cage's
    apex: float = -0.70  # top of the lungs
    dome: dict[int, float] = field(default_factory=lambda: {-1: 0.42, 1: 0.47})  # top of each hemidiaphragm
    dome_depth: float = 0.22  # from there to the costophrenic angle
    mediastinum: float = 0.12  # half of its width
    heart: float = 1.0
    heart_base: float = 0.47  # height that the heart rests at
    knob: float = 0.085  # radius of the aortic knob
    arch: float = -0.34  # height of the aortic arch
    unfolding: float = 0.0  # how far the aorta swings out
    hila: float = 1.0
    vessels: float = 1.0
    trachea_shift: float = 0.0
    curve: tuple[float, float] = (0.0, 0.0)  # of the spine: amplitude, height
    stoop: float = 0.0  # forward bend of the upper spine
    bone: float = 1.0
    cortex: float = 1.0  # brightness of the edges of bones against their inside
    thickness: float = 20.0  # of the body, cm
    breast: float = 0.0
    density: float = 0.26  # of lung tissue, against water

    @classmethod
    def sample(cls, rng: Generator, *, from_front: bool = False) -> "Anatomy":
        """A patient. ``from_front``: an AP film, where heart and mediastinum stand farther from the detector."""
        lift = rng.normal(0, 0.03)
        near = 1.12 if from_front else 1.0
        return cls(
            width=0.77 + rng.normal(0, 0.022),
            apex=-0.70 + rng.normal(0, 0.02),
            dome={-1: 0.42 + lift + rng.normal(0, 0.012), 1: 0.47 + lift + rng.normal(0, 0.012)},
            dome_depth=0.22 + rng.normal(0, 0.02),
            mediastinum=0.12 * near * (1 + rng.normal(0, 0.06)),
            heart=near * (1 + rng.normal(0, 0.045)),
            heart_base=0.47 + lift,
            knob=0.085 * (1 + rng.normal(0, 0.08)),
            arch=-0.34 + rng.normal(0, 0.015),
            hila=1 + rng.normal(0, 0.06),
            vessels=1 + rng.normal(0, 0.08),
            bone=1 + rng.normal(0, 0.06),
            thickness=20 + rng.normal(0, 1.2),
            breast=max(0.0, rng.normal(0.6, 0.35)) if rng.random() < 0.5 else 0.0,
            density=0.26 + rng.normal(0, 0.015),
        )


@dataclass
class Scene:
    """The maps of one chest, before the exposure. Signs of substance change them."""

    anatomy: Anatomy
    size: int
    x: Map  # [1, S]
    y: Map  # [S, 1]
    body: Map
    lungs: dict[int, Map]  # where each lung is, 0 to 1
    air: Map  # centimetres of tissue that the lungs lack
    vessels: Map
    tissue: Map  # added to the body
    bone: Map
    metal: Map

    @property
    def lung(self) -> Map:
        return np.asarray(np.maximum(self.lungs[-1], self.lungs[1]), np.float32)

    def canvas(self) -> Canvas:
        return Canvas(self.size)

    def zeros(self) -> Map:
        return np.zeros((self.size, self.size), np.float32)


def spine_x(anatomy: Anatomy, y: Any) -> Any:
    """Where the spine is at height y: a curve one way, and back the other way below."""
    amplitude, height = anatomy.curve
    return amplitude * (np.exp(-(((y - height) / 0.5) ** 2)) - 0.35 * np.exp(-(((y - height - 1.0) / 0.45) ** 2)))


def diaphragm(anatomy: Anatomy, side: int, x: Any) -> Any:
    """Height of a hemidiaphragm at x."""
    return anatomy.dome[side] + anatomy.dome_depth * np.minimum(((x - side * 0.36) / 0.36) ** 2, 2.2)


def cage(anatomy: Anatomy, y: Any) -> Any:
    """Half-width of the inside of the rib cage at height y."""
    share = np.clip((y - anatomy.apex) / (0.45 - anatomy.apex), 0, 1)
    return anatomy.width * (1 - (1 - share) ** 2.3) ** 0.62


def ribs(anatomy: Anatomy, side: int) -> tuple[Points, NDArray[np.float64]]:
    """The lines ``[R, P, 2]`` of the ribs of a side from the spine to the front, and the angle ``[P]`` along them."""
    angle = np.linspace(0.05, 2.55, 32)
    number = np.arange(1, NUM_RIBS + 1)[:, None]
    top = anatomy.apex - 0.03 + number * 0.118
    drop = 0.20 + 0.035 * np.minimum(number, 7) + 0.10 * anatomy.stoop
    y = top + drop * (1 - np.cos(angle)) / 2 - 0.045 * np.sin(angle)
    lateral = cage(anatomy, top + drop * 0.42) + 0.025
    x = 0.05 + (lateral - 0.05) * np.sin(angle) ** np.where(angle < np.pi / 2, 0.8, 0.9)
    return np.stack([side * x + spine_x(anatomy, top) * (1 - np.sin(angle)), y], axis=2), angle


def build(anatomy: Anatomy, size: int, rng: Generator) -> Scene:
    """The maps of a chest on ``size`` x ``size`` pixels; ``rng`` places the vessels."""
    x, y = grid(size)
    a = anatomy
    shoulder = -0.70 - 0.55 * np.exp(-((np.abs(x) / 0.32) ** 4)) - 0.17 * np.exp(-((np.abs(x) / 0.70) ** 4))
    below = y - shoulder
    flank = np.sqrt(np.clip(1.15 - (x / 1.02) ** 4, 0.02, 1))
    body = soft(below, 0.01) * np.sqrt(np.clip(below / 0.5, 0.02, 1)) * (a.thickness * flank)
    half = cage(a, y)
    inner = np.where(y > 0, a.mediastinum * 0.55 + 0.02, a.mediastinum * 0.55)
    middle, reach = (half + inner) / 2, np.maximum((half - inner) / 2, 0.03)
    lungs, air = {}, np.zeros((size, size), np.float32)
    for side in SIDES:
        across = side * x
        floor = diaphragm(a, side, x) - y
        outline = soft(half - across, 0.009) * soft(across - inner, 0.02) * soft(floor, 0.01) * soft(y - a.apex, 0.02)
        depth = np.sqrt(np.maximum(1 - 0.9 * np.minimum(((across - middle) / reach) ** 2, 1), 0))
        depth = depth * np.sqrt(np.clip((y - a.apex) / 0.35, 0, 1)) * (0.55 + 0.45 * np.clip(floor / 0.25, 0, 1))
        lungs[side] = np.asarray(outline, np.float32)
        air += np.asarray(outline * depth, np.float32)
    air *= np.float32(0.74 * a.thickness * (1 - a.density))
    empty = [np.zeros((size, size), np.float32) for _ in range(4)]
    scene = Scene(a, size, x, y, np.asarray(body, np.float32), lungs, air, *empty)
    _add_mediastinum(scene)
    _add_airways(scene)
    _add_soft_parts(scene)
    _add_bones(scene)
    _add_vessels(scene, rng)
    return scene


def hilum(anatomy: Anatomy, side: int) -> tuple[float, float]:
    return side * 0.18 + 0.02, anatomy.arch + (0.31 if side < 0 else 0.27)


def _add_mediastinum(scene: Scene) -> None:
    """Heart, great vessels and hila: tissue in the place of air."""
    a, x, y, s = scene.anatomy, scene.x, scene.y, scene.anatomy.heart
    left = ellipse(x, y, 0.17 * s, a.heart_base - 0.17 * s, 0.30 * s, 0.235 * s, 0.55)
    right = ellipse(x, y, -0.085 * s, a.heart_base - 0.20 * s, 0.175 * s, 0.23 * s, -0.1)
    heart = np.maximum(round_thickness(left), 0.85 * round_thickness(right))
    cx, cy = knob(a)
    arch = round_thickness(ellipse(x, y, cx, cy, a.knob, a.knob * 1.15))
    trunk = round_thickness(ellipse(x, y, 0.14, a.arch + 0.21, 0.085, 0.10))
    ascending = round_thickness(ellipse(x, y, -0.07 - 0.05 * a.unfolding, a.arch + 0.17, 0.085, 0.22))
    swing = 0.07 + a.unfolding * 0.14 * np.sin(np.clip(y + 0.35, 0, 1) * np.pi)
    descending = round_thickness(1 - ((x - swing) / (0.075 + 0.01 * a.unfolding)) ** 2) * soft(y - a.arch, 0.05)
    pedicle = soft(a.mediastinum * 0.95 - np.abs(x - 0.015), 0.035) * soft(y + 0.95, 0.03)
    left_air = (1 - 0.92 * heart) * (1 - 0.93 * pedicle) * (1 - 0.72 * arch) * (1 - 0.6 * trunk)
    left_air = left_air * (1 - 0.45 * descending) * (1 - 0.6 * ascending)
    for side in SIDES:
        hx, hy = hilum(a, side)
        hila = round_thickness(ellipse(x, y, hx, hy, 0.085 * a.hila, 0.13 * a.hila))
        left_air = left_air * (1 - min(0.75, 0.3 * a.hila**1.3) * hila)
    scene.air *= left_air
    scene.tissue += 2.2 * heart + 1.0 * arch + 0.7 * descending


def knob(anatomy: Anatomy) -> tuple[float, float]:
    """Centre of the aortic knob."""
    return 0.075 + 0.06 * anatomy.unfolding + 0.5 * anatomy.knob, anatomy.arch


def _add_airways(scene: Scene) -> None:
    a, x, y = scene.anatomy, scene.x, scene.y
    carina = a.arch + 0.10
    path = 0.005 + a.trachea_shift * np.exp(-(((y + 0.65) / 0.25) ** 2))
    tube = round_thickness(1 - ((x - path) / 0.042) ** 2) * soft(carina - y, 0.02)
    for side, slope in ((-1, 1.25), (1, 0.85)):
        down = y - carina
        bronchus = round_thickness(1 - ((x - 0.005 - side * down / slope) / 0.032) ** 2)
        bronchus = (
            bronchus * soft(down + 0.015, 0.02) * soft(0.16 - down, 0.05) * (1 - 0.5 * np.clip(down / 0.16, 0, 1))
        )
        tube = np.maximum(tube, bronchus)
    scene.tissue -= 3.2 * tube


def _add_soft_parts(scene: Scene) -> None:
    """Breasts, and gas in the stomach."""
    a, x, y = scene.anatomy, scene.x, scene.y
    if a.breast:
        for side in SIDES:
            breast = round_thickness(ellipse(x, y, side * 0.45, 0.34, 0.36, 0.34)) * soft(y + 0.2, 0.2)
            scene.tissue += 2.4 * a.breast * breast
    scene.tissue -= 4.0 * soft(ellipse(x, y, 0.34, a.dome[1] + 0.16, 0.13, 0.075, 0.2), 0.25)


def _add_bones(scene: Scene) -> None:
    a = scene.anatomy
    behind, front = scene.canvas(), scene.canvas()
    inside = 1 - 0.33 * a.cortex
    for side in SIDES:
        lines, angle = ribs(a, side)
        back, fore = lines[:, angle < 1.65], lines[:7, angle > 1.5]
        behind.lines(back, 0.046, 200)
        behind.lines(back, 0.029, 200 * inside)
        front.lines(fore, 0.050, 150)
        front.lines(fore, 0.033, 150 * inside)
    scene.bone += a.bone * (behind.map(1.45) + front.map(1.15) + _girdle(scene.size, a.cortex))
    scene.bone += a.bone * _spine(scene.size, a.curve, a.cortex)


@lru_cache(maxsize=32)
def _spine(size: int, curve: tuple[float, float], cortex: float) -> Map:
    """Vertebral bodies with discs between, pedicles and spinous processes."""
    bent, canvas = Anatomy(curve=curve), Canvas(size)
    for level in range(18):
        height, half = 0.088 + 0.0008 * level, 0.060 + 0.0013 * level
        top = -1.02 + level * (0.112 + 0.0008 * level)
        middle = np.array([float(spine_x(bent, top + height / 2)), top])
        lean = float(spine_x(bent, top + height) - spine_x(bent, top)) / height
        outline = [
            [-half, 0],
            [-0.9 * half, height / 2],
            [-half, height],
            [half, height],
            [0.9 * half, height / 2],
            [half, 0],
        ]
        body = np.array(outline) @ np.array([[1, lean], [0, 1]]) + middle
        canvas.fill(body, 190)
        canvas.fill((body - body.mean(axis=0)) * [0.86, 0.80] + body.mean(axis=0), 190 * (1 - 0.27 * cortex))
        for side in SIDES:
            canvas.fill(CIRCLE * [0.014, 0.020] + middle + [side * half * 0.62, height * 0.45], 205)
        process = np.array([[-0.010, 0.02], [0.010, 0.02], [0.012, 0.06], [-0.012, 0.06]])
        canvas.fill(process + middle + [0, height * 0.4], 205)
    return canvas.map(1.25)


@lru_cache(maxsize=8)
def _girdle(size: int, cortex: float) -> Map:
    """Clavicles, scapulae and upper arms."""
    canvas, blades = Canvas(size), Canvas(size)
    t = np.linspace(0, 1, 24)
    for side in SIDES:
        clavicle = np.stack([side * (0.055 + 0.60 * t), -0.64 - 0.03 * np.sin(t * 5.2) - 0.10 * t], axis=1)
        canvas.line(clavicle, 0.056, 200)
        canvas.line(clavicle, 0.036, 200 * (1 - 0.25 * cortex))
        blade = [[0.60, -0.66], [0.78, -0.60], [0.90, -0.52], [0.86, -0.30], [0.76, -0.02], [0.70, 0.02], [0.67, -0.15]]
        blades.fill(np.array([*blade, [0.63, -0.4]]) * [side, 1], 255)
        canvas.fill(CIRCLE * 0.12 + [side * 0.985, -0.56], 180)
        canvas.line(np.array([[side * 0.97, -0.50], [side * 1.05, 0.1]]), 0.13, 120)
    return np.asarray(canvas.map(2.0) + blades.map(0.55, blur=0.012), np.float32)


def _add_vessels(scene: Scene, rng: Generator) -> None:
    """Trees from the hila that fork, thin out and fade toward the pleura."""
    a, canvas = scene.anatomy, scene.canvas()
    for side in SIDES:
        heading = np.linspace(-1.45, 1.5, 11) + rng.normal(0, 0.09, 11)
        grow_vessels(canvas, hilum(a, side), heading, side, 0.026 * a.vessels, rng)
    scene.vessels += canvas.map(2.6, blur=0.005) * scene.lung * (0.35 + 0.65 * np.clip(scene.air / 9, 0, 1))


def grow_vessels(
    canvas: Canvas, root: tuple[float, float], heading: NDArray[np.float64], side: int, width: float, rng: Generator
) -> None:
    """Draw branches that start from ``root`` at the angles ``heading [B]``, mirrored for side -1, and fork."""
    start, length = np.tile(root, (len(heading), 1)), 0.25
    for _ in range(4):
        turn = heading[:, None] + rng.normal(0, 0.45, (len(heading), 1)) * np.linspace(0, 1, 6)
        steps = np.stack([side * np.cos(turn), np.sin(turn)], axis=2) * (length / 5)
        lines = start[:, None] + np.concatenate([np.zeros_like(steps[:, :1]), np.cumsum(steps[:, 1:], axis=1)], axis=1)
        canvas.lines(lines, width, min(255.0, 60 + 5600 * width))
        start = np.repeat(lines[:, -1], 2, axis=0)
        fork = rng.uniform(0.2, 0.5, len(start)) * np.tile([-1, 1], len(lines))
        heading = np.repeat(turn[:, -1], 2) + fork
        width, length = width * 0.62, length * 0.74
