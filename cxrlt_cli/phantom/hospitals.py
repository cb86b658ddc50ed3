"""Hospitals: whom they see, and how they take and keep their films.

The first is that of every set so far, and changes nothing. The second is a referral hospital whose patients are older
and sicker, many of them in bed, under monitors and on tubes, and whose archive keeps softer, noisier 8-bit JPEG films.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cxrlt_cli.phantom.anatomy import Generator, Scene
from cxrlt_cli.phantom.drawing import Box
from cxrlt_cli.phantom.exposure import Exposure
from cxrlt_cli.phantom.hardware import electrodes, tubes


@dataclass(frozen=True)
class Hospital:
    """One place: its patients, its devices, its machines."""

    in_bed: float = 0.15  # share of the patients, who get AP films
    age: float = 58.0  # years, on average
    times: Mapping[str, float] = field(default_factory=dict)  # as frequent as elsewhere, by finding
    devices: Callable[[Scene, Generator, float, int], Box] | None = None  # Support Devices, where they are other ones
    monitored: float = 0.0  # share of the films in bed with electrodes, which are no finding
    contrast: float = 1.0
    brightness: float = 0.0
    noise: float = 1.0  # times as much as elsewhere
    blur: float = 0.0  # of the detector and of movement, s.d. in the anatomy's units
    border: float = 0.25  # share of the films with a dark edge
    mark: str = ""  # lead letter, where it is another one
    jpeg: int | None = None  # quality of its 8-bit JPEG files; None: 12 bits in PNG

    def takes(self, exposure: Exposure, rng: Generator) -> Exposure:
        """The exposure of a film, as it is taken here; nothing is drawn from ``rng`` at the first hospital."""
        if self == FIRST:
            return exposure
        return replace(
            exposure,
            contrast=exposure.contrast * self.contrast,
            brightness=exposure.brightness + self.brightness,
            noise=exposure.noise * self.noise,
            blur=self.blur,
            border=rng.uniform(0.02, 0.08) if rng.random() < self.border else 0.0,
            mark=self.mark if exposure.mark else "",
            corner=(0.05, 0.14),
        )

    def wires(self, scene: Scene, rng: Generator) -> None:
        """Electrodes on a patient in bed, where there are monitors."""
        if rng.random() < self.monitored:
            electrodes(scene, rng)


FIRST = Hospital()
SECOND = Hospital(
    in_bed=0.45,
    age=66.0,
    times={
        "Support Devices": 2.6,
        "central venous catheter": 4.0,
        "sternotomy": 2.5,
        "pleural effusion": 2.0,
        "alveolar pattern": 2.2,
        "atelectasis": 1.8,
        "cardiomegaly": 1.6,
        "Pneumothorax": 3.0,
        "Nodule": 0.6,
        "hyperinflated lung": 0.6,
    },
    devices=tubes,
    monitored=0.8,
    contrast=1.35,
    brightness=-0.07,
    noise=1.8,
    blur=0.008,
    border=0.7,
    mark="R",
    jpeg=70,
)
HOSPITALS = {1: FIRST, 2: SECOND}
