"""``ensemble`` of checkpoints goes on after a stop, and never holds more than a stretch of films."""

from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs import ensemble_films as engine
from cxrlt_cli.verbs.ensemble import ensemble
from tests.helpers import FINDINGS, Recorder

LOCAL = {"workers": 0, "device": "cpu", "batch_size": 5}


@pytest.fixture
def members(run: Path, labels: Path, tmp_path: Path) -> list[Path]:
    """Two checkpoints, and a CSV whose films and findings stand in another order."""
    first = tmp_path / "members" / "c.csv"
    first.parent.mkdir()
    carry_out([run / "best.safetensors"], labels, first)
    said = Predictions.read(first)
    Predictions(said.ids[::-1], said.findings[::-1], said.probabilities[::-1, ::-1]).write(first)
    return [run / "best.safetensors", first, run / "last.safetensors"]


def carry_out(members: list[Path], labels: Path, out: Path, **changes: Any) -> Recorder:
    recorder = Recorder()
    given = {"members": members, "csv": labels, "out": out, **LOCAL, **changes}
    ensemble(EnsembleOptions.model_validate(given), recorder)
    return recorder


def stopped_after(number: int, monkeypatch: pytest.MonkeyPatch, *arguments: Any, **changes: Any) -> None:
    seen: list[int] = []

    def stopping(*given: Any, **settings: Any) -> Any:
        if len(seen) == number:
            raise KeyboardInterrupt
        seen.append(1)
        return predict(*given, **settings)

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr(engine, "predict", stopping)
        carry_out(*arguments, **changes)


def test_it_goes_on_after_a_stop(
    members: list[Path], labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(10))
    given: dict[str, Any] = {"tta": "flip", "postprocess": "normal_gating", "weights": "1,2,1", "merge": "gmean"}
    whole, out = tmp_path / "whole.csv", tmp_path / "p.csv"
    carry_out(members, labels, whole, **given)
    stopped_after(3, monkeypatch, members, labels, out, **given)
    assert not out.exists()
    recorder = carry_out(members, labels, out, **given)
    assert "Going on after 30 films that were predicted before." in recorder.notes
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["members", "p.csv", "whole.csv"]


def test_another_blend_begins_anew(
    members: list[Path], labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(10))
    out = tmp_path / "p.csv"
    stopped_after(1, monkeypatch, members, labels, out)
    for changes in ({"weights": "1,2,1"}, {"merge": "max"}, {"tta": "flip"}, {"findings": FINDINGS[:2]}):
        stopped_after(0, monkeypatch, members, labels, out, **changes)
        assert not (tmp_path / ".p.csv.partial").exists(), changes
        stopped_after(1, monkeypatch, members, labels, out)
    other = Predictions.read(members[1])
    Predictions(other.ids, other.findings, other.probabilities / 2).write(members[1])
    stopped_after(0, monkeypatch, members, labels, out)
    assert not (tmp_path / ".p.csv.partial").exists(), "a member that says something else"


def test_only_a_stretch_of_films_is_held(
    members: list[Path], labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(10))
    sizes: list[int] = []

    def watched(*given: Any, **settings: Any) -> Any:
        outputs = predict(*given, **settings)
        sizes.append(outputs[0].logits.shape[1])
        return outputs

    monkeypatch.setattr(engine, "predict", watched)
    carry_out(members, labels, tmp_path / "p.csv")
    assert sizes == [10, 10, 10, 10, 8]
