import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.engine.train import train
from tests.helpers import Recorder, make_films


@pytest.fixture(autouse=True)
def _global_state() -> Iterator[None]:
    """Random generators and the number of threads, put back after each test."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state(), torch.get_num_threads()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    torch.set_num_threads(states[3])


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CSV of a small made-up set of films."""
    return make_films(tmp_path_factory.mktemp("films") / "set")


@pytest.fixture(scope="session")
def run(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run on these films."""
    out = tmp_path_factory.mktemp("runs") / "first"
    train(run_options(labels, out), Recorder())
    return out


def run_options(labels: Path, out: Path | None, **changes: object) -> TrainOptions:
    """A tiny network for a few steps, in this process alone."""
    options: dict[str, object] = {
        "csv": labels,
        "out": out,
        "backbone": "test_convnext",
        "weights": "none",
        "image_size": 64,
        "drop_path": 0.0,
        "warmup_epochs": 1,
        "epochs": 2,
        "batch_size": 8,
        "val_fraction": 0.3,
        "workers": 0,
        "device": "cpu",
        **changes,
    }
    return TrainOptions.model_validate(options)
