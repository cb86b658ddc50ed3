"""What a film may go through between the machine and the model, each at five strengths.

The design is ImageNet-C's (Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261); kinds and strengths are ours, for
chest films. A perturbation acts on a film as the model sees it, at its size: noise and JPEG of the larger file are
partly averaged away before a model sees them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.data.levels import Film


@dataclass(frozen=True)
class Perturbation:
    """One kind: ``apply`` changes a film, uint8 ``[H, W]`` to the same, by a strength and numbers of the film's own."""

    name: str
    strengths: tuple[float, ...]  # from weak to strong
    unit: str
    apply: Callable[[Film, float, np.random.Generator], Film]


def noise(film: Film, deviation: float, rng: np.random.Generator) -> Film:
    """Gaussian noise of this standard deviation, in grey levels."""
    return _levels(film + deviation * rng.standard_normal(film.shape, dtype=np.float32))


def jpeg(film: Film, quality: float, rng: np.random.Generator) -> Film:
    """Once through a JPEG file of this quality, 100 to 1."""
    data = cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def bit_depth(film: Film, bits: float, rng: np.random.Generator) -> Film:
    """The highest ``bits`` of 8, spread over all levels again."""
    number = 2 ** int(bits)
    return _levels((film // (256 // number)) * (255 / (number - 1)))


def inversion(film: Film, percent: float, rng: np.random.Generator) -> Film:
    """Black for white, on this share of the films: as where an archive loses MONOCHROME1 of some."""
    return np.asarray(255 - film, np.uint8) if 100 * rng.random() < percent else film


def crop(film: Film, percent: float, rng: np.random.Generator) -> Film:
    """So much less on each of the four sides, and stretched to the old size."""
    height, width = film.shape
    top, left = round(height * percent / 100), round(width * percent / 100)
    inside = film[top : height - top, left : width - left]
    return np.asarray(cv2.resize(inside, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def tilt(film: Film, degrees: float, rng: np.random.Generator) -> Film:
    """Turned about its centre, one way or the other; black comes in at the corners."""
    height, width = film.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(rng.choice((-degrees, degrees))), 1.0)
    return np.asarray(cv2.warpAffine(film, turn, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def brightness(film: Film, levels: float, rng: np.random.Generator) -> Film:
    """Brighter or darker by so many grey levels, cut at black and white."""
    return _levels(film.astype(np.float32) + float(rng.choice((-levels, levels))))


PERTURBATIONS = (
    Perturbation("noise", (2, 5, 10, 20, 40), "s.d., grey levels", noise),
    Perturbation("JPEG", (80, 50, 25, 15, 7), "quality", jpeg),
    Perturbation("bit depth", (6, 5, 4, 3, 2), "bits", bit_depth),
    Perturbation("inversion", (5, 10, 25, 50, 100), "% of films", inversion),
    Perturbation("crop", (2, 5, 10, 15, 20), "% off each side", crop),
    Perturbation("tilt", (2, 5, 10, 15, 20), "degrees, either way", tilt),
    Perturbation("brightness", (10, 20, 40, 60, 80), "± grey levels", brightness),
)
NUM_STRENGTHS = 5
NUM_VERSIONS = 1 + NUM_STRENGTHS * len(PERTURBATIONS)


def versions(film: Film, name: str, seed: int) -> tuple[Film, ...]:
    """A film as it is, then at each strength of each of ``PERTURBATIONS``.

    What is drawn depends on ``seed``, on the kind and on the film's ``name`` alone; it is the same at each strength, so
    that a film that is tilted to the left is tilted farther to the left.
    """
    number = int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:8], "little")
    seen = [film]
    for kind, perturbation in enumerate(PERTURBATIONS):
        for strength in perturbation.strengths:
            seen.append(perturbation.apply(film, strength, np.random.default_rng([seed, number, kind])))
    return tuple(seen)


def _levels(values: NDArray[Any]) -> Film:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
