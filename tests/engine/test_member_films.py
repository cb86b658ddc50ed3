"""What decides a blend is in its key, so that one that was stopped does not go on as another."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine.blending import Members
from cxrlt_cli.engine.member_films import Blend
from cxrlt_cli.engine.process import Process
from cxrlt_cli.scores.predictions import Predictions

FILMS: Any = SimpleNamespace(to_json=lambda: {"number": 2})
PROCESS = Process(torch.device("cpu"), torch.float32, 0)
NAMED_OTHERWISE = {"members", "by_view", "csv", "image_dir", "exclude"}  # by digests, routes and the list of films
HOW_NOT_WHAT = {"out", "workers", "quiet", "debug", "seed", "processes", "nodes", "device", "rendezvous", "run_id",
                "batch", "cache"}  # fmt: skip


def key(probability: float = 0.5, **changes: object) -> dict[str, object]:
    options = EnsembleOptions.model_validate({"members": ["a.csv", "b.csv"], "csv": "labels.csv"})
    file = Predictions(np.array(["1", "2"], object), ("Mass",), np.array([[probability], [0.5]]))
    members = Members((Path("a.csv"), Path("b.csv")), {}, {0: file, 1: file}, None)
    return Blend(members, options.model_copy(update=changes), ("Mass",), ("Mass",), None, None).key(FILMS, PROCESS)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("name", sorted(set(EnsembleOptions.model_fields) - NAMED_OTHERWISE))
def test_every_option_is_in_the_key_that_changes_what_is_written(name: str, tmp_path: Path) -> None:
    other: Any = tmp_path / "other"
    other.write_text("{}")
    assert (key(**{name: other}) == key()) == (name in HOW_NOT_WHAT)


def test_what_members_say_is_in_the_key() -> None:
    assert set(EnsembleOptions.model_fields) >= NAMED_OTHERWISE | HOW_NOT_WHAT
    assert key(0.5) == key()
    assert key(0.4) != key()
