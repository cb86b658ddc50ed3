"""A digital phantom: synthetic chest films whose findings, and their places, are known exactly.

Research input, drawn from parametric shapes alone. Not a likeness of any patient, and no substitute for real films.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.phantom.anatomy import Anatomy, build
from cxrlt_cli.phantom.exposure import Exposure, expose
from cxrlt_cli.phantom.signs import SIGNS

SIDE_NAMES = {-1: "right", 0: "middle", 1: "left"}  # the patient's


@dataclass(frozen=True)
class Finding:
    """What was drawn: which finding, on which side, how gross (0 to 1), and its box in shares of the film's side."""

    name: str
    side: str
    severity: float
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 from 0 to 1

    def to_json(self) -> dict[str, Any]:
        box = [round(value, 4) for value in self.box]
        return {"name": self.name, "side": self.side, "severity": round(self.severity, 3), "box": box}


def draw(
    findings: Iterable[str],
    *,
    patient_seed: int,
    film_seed: int,
    size: int = 256,
    severity: float | None = None,
    from_front: bool = False,
) -> tuple[NDArray[np.uint16], tuple[Finding, ...]]:
    """A film, uint16 ``[size, size]`` with 12-bit levels, and what stands on it; the same arguments, the same bytes.

    ``patient_seed`` decides the chest, ``film_seed`` how it is taken and where the findings are. ``severity`` fixes
    what is sampled otherwise. ``from_front``: an AP film in place of a PA one.
    """
    anatomy = Anatomy.sample(np.random.default_rng([patient_seed, 1]), from_front=from_front)
    chosen = [name for name in SIGNS if name in set(findings)]  # in the order of the table, whatever the caller's
    generators = {name: np.random.default_rng([film_seed, 2, list(SIGNS).index(name)]) for name in chosen}
    places: dict[str, tuple[float, int]] = {}
    boxes = {}
    for name in chosen:
        rng, sign = generators[name], SIGNS[name]
        gross = float(rng.beta(1.6, 1.4)) if severity is None else severity
        places[name] = gross, int(rng.choice(sign.sides))
        if sign.shape:
            boxes[name] = sign.shape(anatomy, rng, *places[name])
    scene = build(anatomy, size, np.random.default_rng([patient_seed, 3]))
    for name in chosen:
        if change := SIGNS[name].substance:
            boxes[name] = change(scene, generators[name], *places[name])
    taken = np.random.default_rng([film_seed, 4])
    exposure = Exposure.sample(taken, from_front=from_front)
    film = expose(scene, exposure, taken)
    return film, tuple(
        Finding(name, SIDE_NAMES[places[name][1]], places[name][0], _on_film(boxes[name], exposure)) for name in chosen
    )


def _on_film(box: tuple[float, float, float, float], exposure: Exposure) -> tuple[float, float, float, float]:
    """A box of the anatomy's coordinates on the film, in shares of its side, cut at its borders."""
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]]) @ exposure.matrix().T
    low, high = np.clip((corners.min(axis=0) + 1) / 2, 0, 1), np.clip((corners.max(axis=0) + 1) / 2, 0, 1)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
