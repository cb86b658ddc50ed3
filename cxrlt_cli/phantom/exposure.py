"""From the maps of a chest to a film: attenuation, scatter, the detector's curve, noise, how it was taken."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.phantom.anatomy import Generator, Scene
from cxrlt_cli.phantom.canvas import Map, blurred

BITS = 12  # of the levels, in a 16-bit file, as most of PadChest has them
WATER, BONE = 0.19, 0.42  # attenuation a centimetre
DARKEST, BRIGHTEST = 0.2, 5.0  # attenuation at the ends of the detector's curve


@dataclass(frozen=True)
class Exposure:
    """How one film was taken."""

    contrast: float = 1.0
    brightness: float = 0.0
    noise: float = 0.012
    turn: float = 0.0  # degrees
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    border: float = 0.0  # collimation, in the anatomy's units
    mark: str = ""
    corner: tuple[float, float] = (0.89, 0.10)  # where the mark begins, in shares of the film's side
    blur: float = 0.0  # in the anatomy's units

    @classmethod
    def sample(cls, rng: Generator, *, from_front: bool = False) -> "Exposure":
        """``from_front``: an AP film of a patient in bed: flatter, noisier, less straight."""
        loose = 1.6 if from_front else 1.0
        return cls(
            contrast=(0.92 if from_front else 1.0) + rng.normal(0, 0.05),
            brightness=rng.normal(0, 0.025),
            noise=0.012 * loose * float(np.exp(rng.normal(0, 0.2))),
            turn=rng.normal(0, 1.1 * loose),
            shift=(rng.normal(0, 0.015 * loose), rng.normal(0, 0.015 * loose)),
            zoom=1 + rng.normal(0, 0.02),
            border=rng.uniform(0.01, 0.05) if rng.random() < 0.25 else 0.0,
            mark=("AP" if from_front else "L") if rng.random() < 0.6 else "",
        )

    def matrix(self) -> NDArray[np.float64]:
        """``[2, 3]``: where a point of the anatomy comes to lie on the film."""
        angle = np.deg2rad(self.turn)
        c, s = self.zoom * np.cos(angle), self.zoom * np.sin(angle)
        return np.array([[c, s, self.shift[0]], [-s, c, self.shift[1]]])


def expose(scene: Scene, exposure: Exposure, rng: Generator) -> NDArray[np.uint16]:
    """The film, uint16 ``[S, S]`` with 12-bit levels, bright where much is absorbed."""
    flesh = np.clip(scene.body / 7, 0, 1)
    water = np.maximum(scene.body - scene.air + (scene.tissue + scene.vessels) * flesh, 0)
    absorbed = WATER * water + BONE * np.maximum(scene.bone, 0) * flesh + scene.metal
    size = scene.size
    pixels = exposure.matrix() * [1, 1, size / 2]  # about the film's centre
    pixels[:, 2] += (size - 1) / 2 * (1 - pixels[:, :2].sum(axis=1))
    moved = cv2.warpAffine(absorbed, pixels, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    attenuation: Map = np.asarray(moved, np.float32)
    small = np.asarray(cv2.resize(attenuation, (size // 4, size // 4), interpolation=cv2.INTER_AREA), np.float32)
    scatter = cv2.resize(blurred(small, 0.14), (size, size), interpolation=cv2.INTER_LINEAR)
    signal = (0.86 * attenuation + 0.14 * scatter - DARKEST) / (BRIGHTEST - DARKEST) + exposure.brightness
    if exposure.blur:
        signal = blurred(signal.astype(np.float32), exposure.blur).astype(np.float64)
    shown = 1 / (1 + np.exp((0.5 - signal) * np.float32(4.6 * exposure.contrast)))
    shown = (shown - 0.07) / 0.86 + _grain(size, rng) * (exposure.noise * (0.5 + np.clip(shown, 0, 1)))
    if exposure.mark:
        shown = np.maximum(shown, _mark(size, exposure.mark, exposure.corner))
    edge = round(exposure.border * size / 2)
    if edge:
        for side in (np.s_[:edge], np.s_[-edge:], np.s_[:, :edge], np.s_[:, -edge:]):
            shown[side] = 0.02
    return np.asarray(np.clip(shown, 0, 1) * (2**BITS - 1), np.uint16)


@lru_cache(maxsize=8)
def _mark(size: int, text: str, corner: tuple[float, float]) -> Map:
    """The lead letters that tell the side or the view."""
    letters, scale = np.zeros((size, size), np.uint8), size / 512
    place = (int(corner[0] * size), int(corner[1] * size))
    cv2.putText(letters, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255.0, max(1, round(2 * scale)), cv2.LINE_AA)
    return np.asarray(letters / 255, np.float32)


def _grain(size: int, rng: Generator) -> Map:
    """Noise of unit strength, some of it shared by neighbouring pixels."""
    white = rng.standard_normal((size, size), dtype=np.float32)
    return np.asarray(0.6 * white + 0.9 * cv2.GaussianBlur(white, (0, 0), 0.8), np.float32)
