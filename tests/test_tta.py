import math
from collections.abc import Callable
from functools import partial
from typing import get_args

import pytest
import torch

from cxrlt_cli import tta
from cxrlt_cli.config import InferOptions
from tests.helpers import golden

GEOMETRIC: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "hflip": tta.hflip,
    "zoom_1_05": partial(tta.zoom, factor=1.05),
    "zoom_0_95": partial(tta.zoom, factor=0.95),
    "zoom_1_1": partial(tta.zoom, factor=1.1),
    "zoom_0_9": partial(tta.zoom, factor=0.9),
    "rotate_5": partial(tta.rotate, degrees=5),
    "rotate_neg5": partial(tta.rotate, degrees=-5),
}


@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometric_views_equal_the_winners(name: str) -> None:
    views = golden()["views"]
    expected = torch.tensor(views[name], dtype=torch.float64)
    ours = GEOMETRIC[name](torch.tensor(views["x"], dtype=torch.float64))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)  # the reference is in float32


def test_configurations_are_those_of_the_contract() -> None:
    assert set(tta.VIEWS) == set(get_args(InferOptions.model_fields["tta"].annotation))
    names = {name: [view.name for view in views] for name, views in tta.VIEWS.items()}
    assert names["none"] == ["identity"]
    assert names["flip"] == ["identity", "hflip"]
    assert names["light"] == ["identity", "hflip", "rotate_5", "rotate_-5"]
    assert names["medium"] == [*names["light"], "zoom_1.1", "zoom_0.9"]
    assert names["heavy"] == [*names["medium"], "brightness_1.1", "brightness_0.9"]
    assert names["flip_scale"] == ["identity", "hflip", "zoom_1.05", "zoom_0.95", "hflip_zoom_1.05", "hflip_zoom_0.95"]


@pytest.mark.parametrize("name", tta.VIEWS)
@pytest.mark.parametrize("size", [32, 33])
def test_views_keep_shape_and_levels(name: str, size: int) -> None:
    films = 255 * torch.rand(2, 1, size, size)
    before = films.clone()
    for view in tta.VIEWS[name]:
        seen = view.apply(films)
        assert seen.shape == films.shape, view.name
        assert 0 <= seen.min() <= seen.max() <= 255, view.name
    assert torch.equal(films, before)


def test_a_mirrored_zoom_is_a_zoomed_mirror() -> None:
    films = torch.rand(1, 1, 20, 20)
    views = {view.name: view for view in tta.VIEWS["flip_scale"]}
    torch.testing.assert_close(views["hflip_zoom_1.05"].apply(films), tta.zoom(films.flip(-1), 1.05))


def test_brightness_is_of_pixels() -> None:
    """After normalisation, a clamp to [0, 1] would wipe out four fifths of the levels."""
    films = torch.tensor([[[[0.0, 100.0], [200.0, 250.0]]]])
    assert tta.brighten(films, 1.1).flatten().tolist() == pytest.approx([0, 110, 220, 255])
    assert tta.brighten(films, 0.9).flatten().tolist() == pytest.approx([0, 90, 180, 225])


def test_merges_equal_a_naive_loop() -> None:
    logits = torch.tensor([[[-1.0, 30.0]], [[0.5, -40.0]], [[2.0, 1.0]]])
    for c in range(2):
        z = logits[:, 0, c].double().tolist()
        p = [1 / (1 + math.exp(-value)) for value in z]
        expected = {
            "mean": sum(p) / 3,
            "logit_mean": 1 / (1 + math.exp(-sum(z) / 3)),
            "gmean": math.prod(p) ** (1 / 3),
            "median": sorted(p)[1],
            "max": max(p),
        }
        for mode, value in expected.items():
            assert tta.merge(logits, mode)[0, c].item() == pytest.approx(value), mode
    assert tta.merge(logits, "mean").dtype == torch.float64
    even = torch.tensor([[[0.0]], [[2.0]]])
    assert tta.merge(even, "median").item() == pytest.approx(even.sigmoid().mean().item())
