"""A contact sheet: each finding once, with its name; where there are studies, once more from the side."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.files import replacing
from cxrlt_cli.phantom import draw
from cxrlt_cli.phantom.hospitals import FIRST, Hospital
from cxrlt_cli.phantom.lateral_signs import LATERAL
from cxrlt_cli.phantom.signs import SIGNS

COLUMNS = 6
SEVERITY = 0.65
CAPTION = 26  # pixels


def write_sheet(path: Path, seed: int, panel: int = 256, *, studies: bool = False, hospital: Hospital = FIRST) -> None:
    """36 films of ``panel`` x ``panel`` pixels, a normal chest and one for each finding, as PNG or JPEG.

    ``studies``: behind them as many lateral films as there are findings that show on them, and a normal one.
    """
    names = list(enumerate(("Normal", *SIGNS)))
    panels = [_panel(name, seed, number, panel, False, hospital) for number, name in names]
    if studies:
        panels += [_panel(name, seed, n, panel, True, hospital) for n, name in names if name in ("Normal", *LATERAL)]
    panels += [np.zeros_like(panels[0])] * (-len(panels) % COLUMNS)
    rows = [np.hstack(panels[start : start + COLUMNS]) for start in range(0, len(panels), COLUMNS)]
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(path.suffix, np.vstack(rows))[1].tobytes())


def _panel(name: str, seed: int, number: int, size: int, lateral: bool, hospital: Hospital) -> NDArray[np.uint8]:
    one = seed * 100 + number
    film, _ = draw(
        [name], patient_seed=one, film_seed=one, size=size, severity=SEVERITY, lateral=lateral, hospital=hospital
    )
    caption = np.zeros((CAPTION, size), np.uint8)
    scale = 0.45 if len(name) < 28 else 0.40
    cv2.putText(caption, name, (6, CAPTION - 9), cv2.FONT_HERSHEY_SIMPLEX, scale, 255.0, 1, cv2.LINE_AA)
    return np.vstack([(film >> 4).astype(np.uint8), caption])
