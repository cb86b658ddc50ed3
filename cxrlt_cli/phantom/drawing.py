"""What the signs are drawn with: boxes, places in a lung, rough shapes, smooth lines."""

import numpy as np

from cxrlt_cli.phantom.anatomy import Anatomy, Generator, Scene, cage
from cxrlt_cli.phantom.canvas import Map, Points, round_thickness

Box = tuple[float, float, float, float]  # x0, y0, x1, y1


def mix(low: float, high: float, severity: float) -> float:
    return low + (high - low) * severity


def around(points: Points, margin: float) -> Box:
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def disc(x: float, y: float, radius: float) -> Box:
    return x - radius, y - radius, x + radius, y + radius


def beside(side: int, inner: float, outer: float, top: float, bottom: float) -> Box:
    """A box on one side, from ``inner`` to ``outer`` away from the middle."""
    low, high = sorted((side * inner, side * outer))
    return low, top, high, bottom


def place_in_lung(
    anatomy: Anatomy, rng: Generator, side: int, margin: float, top: float = 0.0, bottom: float = 1.0
) -> tuple[float, float]:
    """A place in a lung, clear of heart and walls by ``margin``; ``top``, ``bottom``: shares of the lung's height."""
    upper, lower = anatomy.apex + 0.16, anatomy.dome[side] - margin
    y = rng.uniform(mix(upper, lower, top), mix(upper, lower, bottom))
    heart = 0.30 * anatomy.heart if side > 0 and y > anatomy.heart_base - 0.42 * anatomy.heart else 0.0
    inner = max(anatomy.mediastinum + 0.10, heart + 0.06) + 0.5 * margin
    outer = float(cage(anatomy, y)) - margin
    return side * (rng.uniform(inner, outer) if inner < outer else (inner + outer) / 2), y


def rough_disc(scene: Scene, rng: Generator, cx: float, cy: float, rx: float, ry: float, wobble: float) -> Map:
    """Thickness of a round body, 0 to 1, whose outline wobbles."""
    phases = rng.uniform(0, 2 * np.pi, 3)
    thickness, reach = scene.zeros(), 1 + 1.1 * wobble
    to_pixel = scene.size / 2
    columns = slice(
        max(0, int((cx - rx * reach + 1) * to_pixel) - 1), max(0, int((cx + rx * reach + 1) * to_pixel) + 2)
    )
    rows = slice(max(0, int((cy - ry * reach + 1) * to_pixel) - 1), max(0, int((cy + ry * reach + 1) * to_pixel) + 2))
    dx, dy = (scene.x[:, columns] - cx) / rx, (scene.y[rows] - cy) / ry
    angle = np.arctan2(dy, dx)
    edge = 1 + sum(wobble / k * np.cos(k * angle + phase) for k, phase in zip((2, 3, 5), phases, strict=True))
    thickness[rows, columns] = round_thickness(1 - (dx * dx + dy * dy) / edge**2)
    return thickness


def smooth_line(knots: list[tuple[float, float]], count: int = 40) -> Points:
    """A Catmull-Rom curve through knots."""
    points = np.array(knots)
    padded = np.concatenate([points[:1] * 2 - points[1:2], points, points[-1:] * 2 - points[-2:-1]])
    place = np.linspace(0, len(points) - 1 - 1e-9, count)
    first, u = place.astype(int), (place % 1)[:, None]
    p0, p1, p2, p3 = (padded[first + k] for k in range(4))
    curve = 2 * p1 + (p2 - p0) * u + (2 * p0 - 5 * p1 + 4 * p2 - p3) * u**2 + (3 * p1 - p0 - 3 * p2 + p3) * u**3
    return np.asarray(curve / 2, np.float64)
