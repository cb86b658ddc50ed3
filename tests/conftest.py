import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: threads of each would only wait for cores

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from cxrlt_cli.config import ReportOptions, TrainOptions
from cxrlt_cli.verbs.paper import report
from cxrlt_cli.verbs.train import train
from tests.helpers import Recorder, make_films


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A value of millions of characters is no name: each worker is told the names of all tests."""
    return argname if isinstance(val, str | bytes) and len(val) > 200 else None


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


@pytest.fixture(scope="session")
def reported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report of that run, with every card."""
    out = tmp_path_factory.mktemp("reports") / "report"
    card = "model,claim,tripod-ai,chai"
    report(ReportOptions.model_validate({"runs": [run], "bootstrap": 20, "card": card, "out": out}), Recorder())
    return out


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    """A tiny open_clip model with random weights, as open_clip saves one."""
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    text = {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    folder = tmp_path / "clip"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(open_clip.model.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic"}
    content = {"model_cfg": config, "preprocess_cfg": {**preprocess, "resize_mode": "shortest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    return folder


def run_options(labels: Path, out: Path | None, **changes: object) -> TrainOptions:
    """A tiny network for a few steps, in this process alone."""
    options: dict[str, object] = {
        "csv": labels,
        "out": out,
        "preset": "challenge",
        "backbone": "test_convnext",
        "weights": "none",
        "image_size": 64,
        "drop_path": 0.0,
        "warmup_epochs": 1,
        "epochs": 2,
        "batch_size": 8,
        "val_fraction": 0.3,
        "workers": 0,
        "precision": "fp32",  # a trial on a busy machine may choose otherwise
        "device": "cpu",
        "track": "none",
        **changes,
    }
    if "folds" in options:
        del options["val_fraction"]
    return TrainOptions.model_validate(options)
