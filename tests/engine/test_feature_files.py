from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlt_cli.config import InferOptions
from cxrlt_cli.engine import disk_space
from cxrlt_cli.engine.feature_files import FeatureFiles, digest_of
from cxrlt_cli.engine.predict import Outputs
from cxrlt_cli.errors import OptionError
from cxrlt_cli.nets.manifest import sha256


def files(run: Path, **changes: object) -> FeatureFiles:
    return FeatureFiles.of(InferOptions.model_validate({"checkpoint": run, **changes}), 64)


def test_a_run_stands_for_its_best_checkpoint(run: Path) -> None:
    assert digest_of(run) == digest_of(run / "best.safetensors") == sha256(run / "best.safetensors")
    assert digest_of(run / "last.safetensors") != digest_of(run)


def test_nothing_is_written_where_nothing_is_wanted(run: Path) -> None:
    none = files(run)
    assert not none.wanted
    assert none.outputs() == []
    assert none.rows(np.array(["a"], object), Outputs(torch.zeros(1, 1, 3), None), True) == []


def test_a_full_disk_is_told_for_features_twice(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 films of 64 features in 4 bytes, and ids of 8: 264 kB, as rows and as the file made of them."""
    wanted = files(run, embeddings=tmp_path / "e.npz")
    monkeypatch.setattr(disk_space, "free_bytes", lambda _: 527_999)
    with pytest.raises(OptionError, match=r"--embeddings .*e.npz: features of 1,000 films take about 528 kB"):
        wanted.require_room(1000)
    monkeypatch.setattr(disk_space, "free_bytes", lambda _: 528_000)
    wanted.require_room(1000)
