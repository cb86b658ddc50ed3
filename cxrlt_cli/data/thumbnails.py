"""Small pictures of films, and of where a model looked, for a page."""

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 320  # pixels
ORANGE = (30, 120, 255)  # blue, green, red
STRENGTH = 0.65  # of the colour where a heat map is highest


def thumbnail(film: NDArray[Any], size: int = SIZE) -> NDArray[np.uint8]:
    """A film of any shape as a small square."""
    return np.asarray(cv2.resize(film, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def overlaid(film: NDArray[Any], heat_map: NDArray[Any]) -> NDArray[np.uint8]:
    """The film in grey, with what was looked at in orange; all in grey where a map is the same everywhere."""
    heat = cv2.resize(heat_map.astype(np.float32), film.shape[::-1], interpolation=cv2.INTER_LINEAR)
    low, high = float(heat.min()), float(heat.max())
    weight = STRENGTH * np.clip((heat - low) / max(high - low, 1e-12), 0, 1)[..., None]
    grey = np.repeat(film[..., None], 3, axis=2).astype(np.float32)
    mixed = (1 - weight) * grey + weight * np.array(ORANGE, np.float32)
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def data_uri(image: NDArray[Any]) -> str:
    """A JPEG that stands in the page itself."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def shrunk(film: NDArray[Any], longest: int) -> NDArray[np.uint8]:
    """A film in its own shape, its longer side of at most so many pixels."""
    factor = min(1.0, longest / max(film.shape))
    width, height = (max(1, round(factor * side)) for side in film.shape[::-1])
    return np.asarray(cv2.resize(film, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def heat_uri(heat_map: NDArray[Any]) -> str:
    """A small PNG to lay over a film: orange, the less to be seen through the more was looked at."""
    low, high = float(heat_map.min()), float(heat_map.max())
    alpha = 255 * STRENGTH * (heat_map - low) / max(high - low, 1e-12)
    colours = np.broadcast_to(np.array(ORANGE, np.float32), (*heat_map.shape, 3))
    image = np.concatenate([colours, alpha[..., None]], axis=2).round().astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
