"""What a phantom is drawn with: a canvas of bytes for shapes, and soft shapes as maps.

Coordinates and maps are those of ``phantom.anatomy``.
"""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Points = NDArray[np.float64]  # [P, 2]: x, y

SHIFT = 4  # cv2 places corners to 1/16 of a pixel
TURN = np.linspace(0, 2 * np.pi, 20)
CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)], axis=1)


class Canvas:
    """A byte map that shapes are drawn on with smooth edges."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._bytes = np.zeros((size, size), np.uint8)

    def fill(self, points: Points, level: float = 255) -> None:
        """A polygon."""
        cv2.fillPoly(self._bytes, [self._pixels(points)], float(level), cv2.LINE_AA, SHIFT)

    def line(self, points: Points, width: float, level: float = 255) -> None:
        self.lines(points[None], width, level)

    def lines(self, lines: Points, width: float, level: float = 255) -> None:
        """Lines ``[L, P, 2]`` of one width; one thinner than a pixel is a pixel wide and as much fainter."""
        pixels = width * self.size / 2
        thickness = max(1, round(pixels))
        shown = float(level * min(1.0, pixels / thickness))
        cv2.polylines(self._bytes, list(self._pixels(lines)), False, shown, thickness, cv2.LINE_AA, SHIFT)

    def map(self, gain: float = 1.0, blur: float = 0.0) -> Map:
        """The drawing as a map where level 255 is ``gain``; ``blur`` is in the anatomy's units."""
        drawn = self._bytes.astype(np.float32) * np.float32(gain / 255)
        return blurred(drawn, blur) if blur else drawn

    def _pixels(self, points: Points) -> NDArray[np.int32]:
        return np.ascontiguousarray(np.round(((points + 1) / 2 * self.size - 0.5) * (1 << SHIFT)), np.int32)


@lru_cache(maxsize=4)
def grid(size: int) -> tuple[Map, Map]:
    """x ``[1, S]`` and y ``[S, 1]`` of the pixels' centres."""
    axis = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    return axis[None, :], axis[:, None]


def soft(distance: Any, width: float = 0.008) -> Any:
    """1 where ``distance`` is positive, 0 where it is negative, with an edge of ``width``."""
    return np.clip(distance / (2 * width) + 0.5, 0, 1)


def ellipse(x: Map, y: Map, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Map:
    """1 - r^2: 1 at the centre, 0 at the edge, negative outside."""
    c, s = float(np.cos(angle)), float(np.sin(angle))
    dx, dy = x - cx, y - cy
    return np.asarray(1 - ((dx * c + dy * s) / rx) ** 2 - ((dy * c - dx * s) / ry) ** 2, np.float32)


def round_thickness(value: Any) -> Any:
    """Thickness of an ellipsoid, 0 to 1, from its 1 - r^2."""
    return np.sqrt(np.maximum(value, 0))


def blurred(image: Map, sigma: float) -> Map:
    """Gaussian blur; sigma is in the anatomy's units."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma * image.shape[0] / 2, 0.3)), np.float32)
