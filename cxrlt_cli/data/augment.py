"""What a training film goes through: small changes of place, scale, contrast and noise, and holes.

Film for film a function of a seed alone: the same whichever process reads the film, and after a resume.
"""

import os
import random
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # before the import: it would ask the network for news

import albumentations as A  # noqa: N812
import cv2
import numpy as np

from cxrlt_cli.data.levels import Film


class _Noise(A.ImageOnlyTransform):  # type: ignore[misc]
    """Gaussian noise with a standard deviation of 1 to the root of 5 grey levels, rounded to whole ones.

    albumentations' own, in floats, takes three times as long, as much as all the other transforms of a film together.
    """

    def get_params(self) -> dict[str, Any]:
        seed = int(self.random_generator.integers(2**31))
        return {"deviation": self.py_random.uniform(1, 5**0.5), "seed": seed}

    def apply(self, img: Film, deviation: float, seed: int, **_: Any) -> Film:
        cv2.setRNGSeed(seed)  # of this thread
        noise = cv2.randn(np.empty(img.shape, np.int16), np.zeros(1), np.full(1, deviation))
        return np.asarray(cv2.add(img, noise, dtype=cv2.CV_8U), np.uint8)


class Augmentation:
    """The challenge winner's augmentation for CSRA heads, with its sizes as shares of the film's side.

    Left and right may be swapped: no finding's name has a side. ``strict=True``: an argument that albumentations does
    not know is an error, where it would be passed over otherwise (the winner's noise was 83 grey levels for that).
    """

    def __init__(self) -> None:
        self._pipeline = A.Compose(
            [
                A.HorizontalFlip(p=0.5),
                A.Affine(translate_percent=(-0.03, 0.03), scale=(0.95, 1.05), rotate=(-7, 7), p=0.4),
                A.CLAHE(clip_limit=(1, 2), tile_grid_size=(8, 8), p=0.2),
                A.RandomBrightnessContrast(brightness_limit=0.08, contrast_limit=0.08, p=0.2),
                _Noise(p=0.15),
                A.CoarseDropout(
                    num_holes_range=(1, 6),
                    hole_height_range=(0.02, 24 / 512),
                    hole_width_range=(0.02, 24 / 512),
                    fill=0,
                    p=0.15,
                ),
            ],
            strict=True,
        )

    def __call__(self, film: Film, seed: int) -> Film:
        """uint8 ``[H, W]`` to uint8 ``[H, W]``."""
        # set_random_seed would give every transform a generator of the same seed: all would decide alike
        self._pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return np.asarray(self._pipeline(image=film)["image"], np.uint8)
