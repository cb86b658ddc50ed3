"""Views of a film for test-time augmentation, and how their logits become one probability.

Letters: V views, N films, C findings, H x W pixels. A view takes levels from 0 to 255, before they are normalised: a
brightness that is clamped after normalisation wipes out every level below the mean.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, pad

from cxrlt_cli.scores.merging import merge_views


@dataclass(frozen=True)
class View:
    """``apply``: float levels ``[N, channels, H, W]`` to the same shape."""

    name: str
    apply: Callable[[Tensor], Tensor]


def identity(films: Tensor) -> Tensor:
    return films


def hflip(films: Tensor) -> Tensor:
    """Mirrored left to right; which side a finding is on is not what is asked for."""
    return films.flip(-1)


def zoom(films: Tensor, factor: float) -> Tensor:
    """Enlarged and cut at the borders, or reduced and filled up with what lies inside them, reflected."""
    height, width = films.shape[-2:]
    size = int(height * factor), int(width * factor)
    scaled = interpolate(films, size, mode="bilinear", align_corners=False)
    down, right = size[0] - height, size[1] - width
    if factor >= 1:
        return scaled[..., down // 2 : down // 2 + height, right // 2 : right // 2 + width]
    return pad(scaled, (-right // 2, -right - -right // 2, -down // 2, -down - -down // 2), mode="reflect")


def rotate(films: Tensor, degrees: float) -> Tensor:
    """Turned about the centre, the corners filled up by reflection; what is no square is sheared a little."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = films.new_tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(films), 2, 3)
    grid = affine_grid(turn, list(films.shape), align_corners=False)
    return grid_sample(films, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def brighten(films: Tensor, factor: float) -> Tensor:
    """Levels times ``factor``, at most 255."""
    return (films * factor).clamp(0, 255)


def _after(second: Callable[[Tensor], Tensor], first: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda films: second(first(films))


_IDENTITY, _HFLIP = View("identity", identity), View("hflip", hflip)
_LIGHT = (_IDENTITY, _HFLIP, *(View(f"rotate_{angle}", partial(rotate, degrees=angle)) for angle in (5, -5)))
_MEDIUM = (*_LIGHT, View("zoom_1.1", partial(zoom, factor=1.1)), View("zoom_0.9", partial(zoom, factor=0.9)))
_ZOOMS = tuple(View(f"zoom_{factor}", partial(zoom, factor=factor)) for factor in (1.05, 0.95))

VIEWS: Mapping[str, tuple[View, ...]] = MappingProxyType(
    {
        "none": (_IDENTITY,),
        "flip": (_IDENTITY, _HFLIP),
        "light": _LIGHT,
        "medium": _MEDIUM,
        "heavy": (
            *_MEDIUM,
            View("brightness_1.1", partial(brighten, factor=1.1)),
            View("brightness_0.9", partial(brighten, factor=0.9)),
        ),
        "flip_scale": (
            _IDENTITY,
            _HFLIP,
            *_ZOOMS,
            *(View(f"hflip_{view.name}", _after(view.apply, hflip)) for view in _ZOOMS),
        ),
    }
)


def merge(logits: Tensor, mode: str) -> Tensor:
    """Logits ``[V, N, C]`` of views to probabilities ``[N, C]`` in float64, by one of ``scores.merging.MERGES``.

    ``mean``, ``median`` and ``max`` of the probabilities; ``gmean``, their geometric mean; ``logit_mean``, the sigmoid
    of the mean logit. The sigmoid is taken once.
    """
    return torch.from_numpy(merge_views(logits.double().numpy(force=True), mode))
