"""From levels of any depth to the 256 of a film.

Letters: H x W pixels of a film, V levels.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Film = NDArray[np.uint8]  # [H, W], dark air and bright bone

PERCENTILES = (0.5, 99.5)  # of a film's levels, between which those of more than 8 bits are stretched


def stretch(levels: NDArray[Any], low: float, high: float) -> Film:
    """Levels from ``low`` to ``high`` onto 0..255, cut outside; a constant film is 0."""
    return np.asarray(
        np.clip((levels.astype(np.float64) - low) * (255 / max(high - low, 1e-12)), 0, 255).round(), np.uint8
    )


def percentile_range(levels: NDArray[Any], counts: NDArray[Any]) -> tuple[float, float]:
    """The percentiles of a film that has ``counts [V]`` pixels of ``levels [V]``; its extremes where those are one."""
    order = np.argsort(levels, kind="stable")
    shares = np.cumsum(counts[order], dtype=np.float64) / counts.sum()
    low, high = levels[order][np.searchsorted(shares, np.array(PERCENTILES) / 100)]
    if low == high:
        there = levels[counts > 0]
        low, high = there.min(), there.max()
    return float(low), float(high)


def histogram(levels: NDArray[Any], number: int) -> NDArray[np.float32]:
    """How many pixels of ``[H, W]``, uint8 or uint16, have each of the first ``number`` levels."""
    top = 256**levels.dtype.itemsize
    return np.asarray(cv2.calcHist([levels], [0], None, [top], [0, top]).ravel()[:number], np.float32)


def look_up(levels: NDArray[Any], table: Film) -> Film:
    """The entries ``[V]`` of a table for the levels of ``[H, W]``, uint8 or uint16, below V."""
    whole = np.zeros(256**levels.dtype.itemsize, np.uint8)
    whole[: len(table)] = table
    return np.asarray(cv2.LUT(levels, whole), np.uint8)
