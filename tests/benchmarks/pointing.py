"""The pointing game: does a heat map peak in the box of what was drawn?

``python -m tests.benchmarks.pointing runs/train-1/best.safetensors ...``

Zhang et al., IJCV 2018, arXiv:1608.00507, without its tolerance: a hit is a peak of the map (the centre of its cell)
inside the box. A map that is 0 everywhere has no peak, and is a miss. A peak at a random place hits as often as the
box's share of the film.
"""

import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cxrlt_cli.data.image import read_film
from cxrlt_cli.nets.classifier import Classifier, load
from cxrlt_cli.nets.heat_maps import heat_maps, kind_of
from cxrlt_cli.phantom import draw
from cxrlt_cli.phantom.drawing import Box
from cxrlt_cli.phantom.signs import SIGNS

FIRST = 10**8  # of patients whom no training set has
NUM_FILMS = 60  # of each finding


@dataclass(frozen=True)
class Pointing:
    """Of one finding: share of the films whose map peaks inside its box, and the box's mean share of a film."""

    name: str
    hit_rate: float
    box_share: float


def pointing_game(model: Classifier, findings: Iterable[str], num_films: int, size: int) -> list[Pointing]:
    """The game on ``num_films`` phantoms of each finding, ``size`` pixels wide, with nothing else on them."""
    results = []
    for name in findings:
        drawn = [_drawn(name, seed, size) for seed in range(FIRST, FIRST + num_films)]
        films = torch.stack([_as_read(model, film) for film, _ in drawn])
        with torch.inference_mode():
            maps = heat_maps(model, model.feature_map(model.normalize(films)), [name])[:, 0]
        peaks = maps.flatten(1).argmax(dim=1).numpy()
        y, x = (np.stack(np.unravel_index(peaks, maps.shape[1:])) + 0.5) / np.array(maps.shape[1:])[:, None]
        boxes = np.array([box for _, box in drawn])
        x0, y0, x1, y1 = boxes.T
        hits = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1) & (maps.flatten(1).amax(dim=1) > 0).numpy()
        results.append(Pointing(name, float(hits.mean()), float(((x1 - x0) * (y1 - y0)).mean())))
    return results


@cache  # of several models, all look at the same films
def _drawn(name: str, seed: int, size: int) -> tuple[NDArray[np.uint16], Box]:
    film, (record,) = draw([name], patient_seed=seed, film_seed=seed, size=size)
    return film, record.box


def _as_read(model: Classifier, film: NDArray[np.uint16]) -> torch.Tensor:
    """The film as every command reads it from its file."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        cv2.imwrite(file.name, film)
        return torch.from_numpy(model.preprocessing(read_film(file.name)))[None]


def main(paths: Sequence[str]) -> None:
    for path in paths:
        model = load(path)
        focal = [name for name, sign in SIGNS.items() if sign.focal and name in model.findings]
        results = sorted(
            pointing_game(model, focal, NUM_FILMS, model.image_shape[0]), key=lambda result: -result.hit_rate
        )
        print(f"{path}: {model.architecture.head}, {kind_of(model)}\n")
        print("| finding | peak in the box | box's share of the film |\n| --- | ---: | ---: |")
        for result in results:
            print(f"| {result.name} | {result.hit_rate:.2f} | {result.box_share:.2f} |")
        means = np.mean([(result.hit_rate, result.box_share) for result in results], axis=0)
        print(f"| mean of {len(results)} focal findings | {means[0]:.2f} | {means[1]:.2f} |\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
