"""What a training film goes through: small changes of place, scale, contrast and noise, and holes.

Film for film a function of a seed alone: the same whichever process reads the film, and after a resume.
"""

import os
import random

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # before the import: it would ask the network for news

import albumentations as A  # noqa: N812
import numpy as np

from cxrlt_cli.data.image import Film


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
                A.GaussNoise(std_range=(1 / 255, 5**0.5 / 255), p=0.15),  # variance of 1 to 5 grey levels
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
