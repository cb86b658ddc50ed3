"""Logits that were written a stretch at a time are merged as those in memory are, to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrlt_cli.engine import logit_file
from cxrlt_cli.engine.logit_file import LogitFile
from cxrlt_cli.tta import merge


@pytest.mark.parametrize("mode", ["mean", "logit_mean", "gmean", "median", "max"])
def test_a_file_says_what_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Two models with different findings; seven films, written three and four, read two at a time."""
    torch.manual_seed(0)
    logits = [torch.randn(6, 7, number) for number in (3, 2)]
    kept = LogitFile(tmp_path / "logits", 6, (3, 2))
    with kept.path.open("wb") as file:
        for part in (slice(0, 3), slice(3, 7)):
            file.write(kept.rows([one[:, part] for one in logits]))
    assert kept.path.stat().st_size == 7 * kept.film_bytes == 7 * 6 * 5 * 4
    monkeypatch.setattr(logit_file, "STRETCH_BYTES", 2 * kept.film_bytes)
    for columns in ([[2, 0], [0, 1]], [[1], []]):
        merged = kept.probabilities(mode, columns)
        for one, mine, values in zip(logits, columns, merged, strict=True):
            np.testing.assert_array_equal(values, merge(one[:, :, mine], mode).numpy())


def test_a_film_is_read_once_for_all_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = LogitFile(tmp_path / "logits", 1, (1,) * 20)
    kept.path.write_bytes(kept.rows([torch.zeros(1, 9, 1)] * 20))
    monkeypatch.setattr(logit_file, "STRETCH_BYTES", 3 * kept.film_bytes)
    read: list[int] = []
    from_file = np.fromfile

    def watched(*given: Any) -> Any:
        cells = from_file(*given)
        read.append(cells.nbytes)
        return cells

    monkeypatch.setattr(np, "fromfile", watched)
    kept.probabilities("mean", [[0]] * 20)
    assert read == [3 * kept.film_bytes] * 3 + [0]
