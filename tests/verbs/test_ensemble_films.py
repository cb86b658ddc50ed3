"""``ensemble`` of checkpoints goes on after a stop, and never holds more than a stretch of films."""

from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine import member_films
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs import ensemble_films as engine
from cxrlt_cli.verbs import ensemble_held as held
from cxrlt_cli.verbs.ensemble import ensemble
from tests.helpers import FINDINGS, Recorder, write_csv

LOCAL = {"workers": 0, "device": "cpu", "batch_size": 5}
VIEWS = ("frontal", "lateral")


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
        patched.setattr(member_films, "predict", stopping)
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


def test_members_of_other_views_begin_anew(
    run: Path, labels: Path, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(10))
    best, last = run / "best.safetensors", run / "last.safetensors"
    given: dict[str, Any] = {"image_dir": labels.parent / "images", "by_view": (f"other={last}",)}
    routes, swapped = ([Path(f"{one}={best}"), Path(f"{two}={last}")] for one, two in (VIEWS, VIEWS[::-1]))
    stopped_after(1, monkeypatch, routes, studies, tmp_path / "p.csv", **given)
    assert (tmp_path / ".p.csv.partial").exists()
    stopped_after(0, monkeypatch, swapped, studies, tmp_path / "p.csv", **given)
    assert not (tmp_path / ".p.csv.partial").exists()


def test_only_a_stretch_of_films_is_held(
    members: list[Path], labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(10))
    sizes: list[int] = []

    def watched(*given: Any, **settings: Any) -> Any:
        outputs = predict(*given, **settings)
        sizes.append(outputs[0].logits.shape[1])
        return outputs

    monkeypatch.setattr(member_films, "predict", watched)
    carry_out(members, labels, tmp_path / "p.csv")
    assert sizes == [10, 10, 10, 10, 8]


@pytest.fixture
def studies(labels: Path, tmp_path: Path) -> Path:
    """The labels, with studies of three films that do not stand together, of which one is lateral."""
    header, *lines = labels.read_text().splitlines()
    rows = [[*line.split(","), f"s{row % 16}", "LL" if row < 16 else "PA"] for row, line in enumerate(lines)]
    names = ["ViewOfFile" if name == "ViewPosition" else name for name in header.split(",")]
    (tmp_path / "members").mkdir(exist_ok=True)
    return write_csv(tmp_path / "members" / "studies.csv", [*names, "StudyID", "ViewPosition"], rows)


HELD: dict[str, dict[str, Any]] = {
    "rank": {"merge": "rank", "tta": "flip", "weights": "1,2,1"},
    "studies": {"merge": "gmean", "tta": "flip", "per_study": "noisy-or", "postprocess": "normal_gating"},
    "fit": {"fit": True, "tta": "flip"},
}


@pytest.mark.parametrize("way", HELD)
def test_what_needs_all_films_goes_on_after_a_stop_too(
    members: list[Path], labels: Path, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    given = {"image_dir": labels.parent / "images", **HELD[way]}
    monkeypatch.setattr(held, "stretches", lambda *_: repeat(10))
    whole, out = tmp_path / "whole.csv", tmp_path / "p.csv"
    carry_out(members, studies, whole, **given)
    stopped_after(3, monkeypatch, members, studies, out, **given)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes[".p.csv.partial"] == 30 * 2 * 2 * 3 * 4, "films, models, views, findings, bytes"
    recorder = carry_out(members, studies, out, **given)
    assert "Going on after 30 films that were predicted before." in recorder.notes
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*")), "logits are gone"


def test_a_stop_while_all_is_blended_loses_no_film(
    members: list[Path], labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr(held, "finished", stops)
        carry_out(members, labels, tmp_path / "p.csv", merge="rank")
    recorder = carry_out(members, labels, tmp_path / "p.csv", merge="rank")
    assert "Going on after 48 films that were predicted before." in recorder.notes


@pytest.mark.parametrize("per_study", [None, "mean"])
def test_members_by_view_go_on_after_a_stop_as_well(
    members: list[Path],
    labels: Path,
    studies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    per_study: str | None,
) -> None:
    """A stretch with films of one view and of both; the lateral member is a CSV."""
    monkeypatch.setattr(engine, "stretches", lambda *_: repeat(10))
    checkpoint, csv, _ = members
    routes = [Path(f"frontal={checkpoint}"), Path(f"lateral={csv}")]
    given = {"image_dir": labels.parent / "images", "by_view": (str(routes[0]),), "per_study": per_study}
    whole, out = tmp_path / "whole.csv", tmp_path / "p.csv"
    carry_out(routes[1:], studies, whole, **given)
    stopped_after(1, monkeypatch, routes[1:], studies, out, **given)
    recorder = carry_out(routes[1:], studies, out, **given)
    assert "Going on after 20 films that were predicted before." in recorder.notes
    assert out.read_bytes() == whole.read_bytes()
