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
from cxrlt_cli.phantom.hospitals import FIRST, Hospital
from cxrlt_cli.phantom.lateral import build_lateral
from cxrlt_cli.phantom.lateral_signs import LATERAL
from cxrlt_cli.phantom.signs import SIGNS

SIDE_NAMES = {-1: "right", 0: "middle", 1: "left"}  # the patient's
SMALL = {"pleural effusion": 0.35, "vertebral degenerative changes": 0.35}  # less gross, it shows from the side alone
HIDDEN = {  # share of each that shows from the side alone, and from the front alone
    "Nodule": (0.25, 0.25),
    "Mass": (0.15, 0.15),
    "Hernia": (0.30, 0.10),
    "atelectasis": (0.20, 0.30),
    "alveolar pattern": (0.15, 0.25),
    "pleural effusion": (0.0, 0.25),
}


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
    lateral: bool = False,
    hospital: Hospital = FIRST,
) -> tuple[NDArray[np.uint16], tuple[Finding, ...]]:
    """A film, uint16 ``[size, size]`` with 12-bit levels, and what stands on it; the same arguments, the same bytes.

    ``patient_seed`` decides the chest, ``film_seed`` how it is taken and where the findings are. ``severity`` fixes
    what is sampled otherwise. ``from_front``: an AP film in place of a PA one. ``lateral``: the same chest and the same
    findings from the side, without those that do not show there. ``hospital``: where it is taken.
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
    vessels = np.random.default_rng([patient_seed, 3])
    if lateral:
        scene, boxes = build_lateral(anatomy, size, vessels), {}
    else:
        scene = build(anatomy, size, vessels)
    for name in chosen:
        change = LATERAL.get(name) if lateral else SIGNS[name].substance
        if name == "Support Devices" and hospital.devices:
            change = None if lateral else hospital.devices  # nobody who has them stands up
        if change:
            boxes[name] = change(scene, generators[name], *places[name])
    taken = np.random.default_rng([film_seed, 5 if lateral else 4])
    exposure = hospital.takes(Exposure.sample(taken, from_front=from_front), taken)
    if from_front and hospital.monitored:
        hospital.wires(scene, taken)
    film = expose(scene, exposure, taken)
    return film, tuple(
        Finding(name, SIDE_NAMES[places[name][1]], places[name][0], _on_film(boxes[name], exposure))
        for name in chosen
        if name in boxes
    )


def sex_of(patient_seed: int) -> str:
    """F or M, as the chest of this patient is drawn."""
    return "F" if Anatomy.sample(np.random.default_rng([patient_seed, 1])).breast else "M"


def shown_on(findings: Iterable[str], film_seed: int, *, lateral: bool) -> tuple[str, ...]:
    """Of the findings of a study, those that its frontal or its lateral film shows; each shows on one of them at least.

    A small effusion fills the angle behind before it fills the one beside; what lies behind the heart or below the dome
    shows from the side alone; what the shoulders or the other lung cover, from the front alone. Decided by the study's
    ``film_seed``, as how gross a finding is.
    """
    shown = []
    for name in findings:
        number, rare = list(SIGNS).index(name), HIDDEN.get(name, (0.0, 0.0))
        gross = float(np.random.default_rng([film_seed, 2, number]).beta(1.6, 1.4))
        place = float(np.random.default_rng([film_seed, 6, number]).random())
        side_alone = gross < SMALL.get(name, 0.0) or place < rare[0]
        front_alone = not side_alone and place >= 1 - rare[1]
        if not (front_alone if lateral else side_alone):
            shown.append(name)
    return tuple(shown)


def _on_film(box: tuple[float, float, float, float], exposure: Exposure) -> tuple[float, float, float, float]:
    """A box of the anatomy's coordinates on the film, in shares of its side, cut at its borders."""
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]]) @ exposure.matrix().T
    low, high = np.clip((corners.min(axis=0) + 1) / 2, 0, 1), np.clip((corners.max(axis=0) + 1) / 2, 0, 1)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
