"""Signs of shape: findings that change the chest itself. Each gives the box of what it changed.

``severity`` runs from 0, barely visible, to 1, gross.
"""

from cxrlt_cli.phantom.anatomy import SIDES, Anatomy, Generator, hilum, knob
from cxrlt_cli.phantom.drawing import Box, beside, mix


def cardiomegaly(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """A heart of more than half the chest's width."""
    a.heart *= mix(1.16, 1.5, severity)
    return -0.30 * a.heart, a.heart_base - 0.46 * a.heart, 0.50 * a.heart, a.heart_base + 0.10


def aortic_elongation(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """A high, wide arch and a descending aorta that swings out."""
    a.unfolding = mix(0.5, 1.6, severity)
    a.knob *= mix(1.08, 1.35, severity)
    a.arch -= 0.05 * severity
    x, y = knob(a)
    return -0.24, y - 1.3 * a.knob, max(x + a.knob, 0.16 + 0.14 * a.unfolding), 0.42


def hyperinflated_lung(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """Low, flat domes, a long narrow heart."""
    before = min(a.dome.values())
    for each in SIDES:
        a.dome[each] += mix(0.10, 0.24, severity)
    a.dome_depth *= mix(0.60, 0.15, severity)
    a.heart_base += mix(0.08, 0.18, severity)
    a.heart *= mix(0.93, 0.80, severity)
    a.apex -= 0.02
    return -a.width, before - 0.05, a.width, 0.85


def emphysema(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """Over-inflated lungs, black and poor in vessels."""
    hyperinflated_lung(a, rng, 0.25 + 0.6 * severity, side)
    a.density *= mix(0.70, 0.25, severity)
    a.vessels *= mix(0.75, 0.40, severity)
    return -a.width, a.apex, a.width, 0.85


def hypoexpansion(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """High domes, crowded vessels, a heart that lies broad."""
    lift = mix(0.13, 0.34, severity)
    before = max(a.dome.values())
    for each in SIDES:
        a.dome[each] -= lift
    a.heart_base -= 0.8 * lift
    a.heart *= mix(1.03, 1.12, severity)
    a.density *= mix(1.08, 1.30, severity)
    return -a.width, min(a.dome.values()) - 0.30, a.width, before + 0.12


def hemidiaphragm_elevation(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """One dome well above the other."""
    before = a.dome[side]
    a.dome[side] -= mix(0.14, 0.38, severity)
    return beside(side, 0.06, a.width, a.dome[side] - 0.04, before + 0.16)


def kyphosis(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """A bent upper spine: steep ribs, high domes, vertebrae seen from above (drawn on the film)."""
    a.stoop = mix(0.5, 1.6, severity)
    for each in SIDES:
        a.dome[each] -= mix(0.04, 0.10, severity)
    return -0.2, -0.9, 0.2, 0.3


def scoliosis(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """A spine curved to one side, the ribs closer together on the other."""
    height = float(rng.choice([-0.15, 0.0, 0.15]))
    a.curve = (round(side * mix(0.06, 0.20, severity), 2), height)
    reach = abs(a.curve[0])
    low, high = sorted((-side * (0.45 * reach + 0.1), side * (reach + 0.1)))
    return low, height - 0.6, high, 1.0


def osteopenia(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """Pale bones with thin, relatively bright cortices."""
    a.bone *= mix(0.68, 0.42, severity)
    a.cortex = mix(1.5, 2.1, severity)
    return -1.0, -0.8, 1.0, 1.0


def vascular_hilar_enlargement(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """Large hila and wide central vessels."""
    a.hila *= mix(1.4, 2.1, severity)
    a.vessels *= mix(1.25, 1.6, severity)
    y = hilum(a, 1)[1]
    return -0.42, y - 0.24, 0.44, y + 0.28


def displaced_trachea(a: Anatomy, rng: Generator, severity: float, side: int) -> Box:
    """The trachea gives way to a goiter (drawn on the film)."""
    a.trachea_shift = -side * mix(0.035, 0.11, severity)
    return -0.2, -1.0, 0.2, -0.4
