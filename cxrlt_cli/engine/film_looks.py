"""Films for a page: those that can be read, and what a model made of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.data.finder import Found
from cxrlt_cli.data.image import read_film
from cxrlt_cli.data.levels import Film
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import FilmError

if TYPE_CHECKING:
    from cxrlt_cli.nets.checkpoints import Checkpoint


@dataclass(frozen=True)
class Seen:
    """What a model made of a film."""

    kind: str  # of the maps
    maps: Mapping[str, NDArray[np.float32]]  # [H, W] of each finding
    features: NDArray[np.float32]  # [D]
    size: tuple[int, int]  # pixels of the network's input, height and width

    @property
    def grid(self) -> str:
        """How coarse the maps are, in a sentence."""
        shape = next(iter(self.maps.values())).shape
        sides = [f"{side / cells:.3g}" for side, cells in zip(self.size, shape, strict=True)]
        cell, whole = (" x ".join(dict.fromkeys(map(str, values))) for values in (sides, self.size))
        return (
            f"A heat map has {shape[0]} x {shape[1]} cells of {cell} px each, of a film of {whole} px: it does not "
            "show where in a cell a small finding is."
        )


def readable(names: Sequence[str], found: Found, reporter: Reporter) -> dict[str, Film]:
    """Those of the films that were found and can be read, by id; of the damaged ones is warned."""
    films = {}
    for name in names:
        try:
            if name not in found.lost:
                films[name] = read_film(found.naming.path(name))
        except FilmError as error:
            reporter.warn(f"Not in the report: {error}.")
    return films


def seen_by(checkpoint: "Checkpoint", path: Path, films: Mapping[str, NDArray[Any]]) -> dict[str, Seen]:
    """What the checkpoint at ``path`` made of each film."""
    import torch

    from cxrlt_cli.nets.classifier import from_checkpoint
    from cxrlt_cli.nets.heat_maps import heat_maps, kind_of

    model = from_checkpoint(checkpoint, path)
    seen = {}
    with torch.inference_mode():
        for name, film in films.items():
            levels = torch.from_numpy(np.ascontiguousarray(model.preprocessing(film)))[None, None]
            features = model.feature_map(model.normalize(levels))
            maps = heat_maps(model, features)[0].numpy()
            pooled = features.mean(dim=(2, 3))[0].numpy()
            seen[name] = Seen(
                kind_of(model), dict(zip(model.findings, maps, strict=True)), pooled, model.preprocessing.shape
            )
    return seen
