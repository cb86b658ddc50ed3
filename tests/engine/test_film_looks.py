"""Films for a page: what can be read, and where a model looked."""

from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.engine.film_looks import readable, seen_by
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.nets.classifier import load
from tests.helpers import Recorder, make_films


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four films, of which the second is cut short."""
    csv = make_films(tmp_path_factory.mktemp("looks") / "set", 4)
    cut = csv.parent / "images" / "film001.png"
    cut.write_bytes(cut.read_bytes()[:500])
    return csv


def test_what_cannot_be_read_is_told_and_left_out(films: Path) -> None:
    names = ["film000.png", "film001.png", "film009.png"]
    recorder = Recorder()
    where = finder(films, films.parent / "images", names, "follow", recorder.progress)
    found = where.find(lambda: [names])
    read = readable(names, found, recorder)
    assert list(read) == ["film000.png"]
    (told,) = recorder.warnings
    assert "film001.png" in told


def test_maps_and_features_are_those_of_the_model(run: Path) -> None:
    path = run / "best.safetensors"
    film = np.random.default_rng(0).integers(0, 256, (80, 70), np.uint8)
    seen = seen_by(Checkpoint.read(path), path, {"a": film, "b": film[::-1].copy()})
    model = load(path)
    assert set(seen["a"].maps) == set(model.findings)
    assert seen["a"].features.shape == (model.num_features,)
    assert not np.array_equal(seen["a"].features, seen["b"].features)
    again = seen_by(Checkpoint.read(path), path, {"b": film[::-1].copy()})["b"]
    np.testing.assert_array_equal(again.features, seen["b"].features)
