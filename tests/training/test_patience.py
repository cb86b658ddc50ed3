"""``--patience``: a phase ends when validation AP has not risen, the next begins as planned, and resuming is exact."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cxrlt_cli.losses import Criterion
from cxrlt_cli.training.resume import Position, ResumeFile
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder

# Rates at which nothing is learned, so that no epoch is better than the first of its phase.
STILL: dict[str, Any] = {"image_size": 32, "lr_warmup": 1e-30, "lr_head": 1e-30, "lr_backbone": 1e-30, "patience": 2,
                         "warmup_epochs": 6, "epochs": 5, "weight_decay": 0, "ema_decay": 0}  # fmt: skip


def epochs(folder: Path) -> list[tuple[str, int, int]]:
    lines = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
    return [(line["phase"], line["epoch"], line["num_epochs"]) for line in lines]


def hashes(folder: Path) -> list[str]:
    names = ("best.safetensors", "last.safetensors", "val_predictions.csv", "metrics.json")
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]


@pytest.fixture(scope="module")
def still(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorder]:
    out, recorder = tmp_path_factory.mktemp("still") / "run", Recorder()
    train(run_options(labels, out, **STILL), recorder)
    return out, recorder


def test_each_phase_ends_after_its_first_epoch_and_as_many_as_patience_has(still: tuple[Path, Recorder]) -> None:
    out, recorder = still
    assert epochs(out) == [(phase, epoch, number) for phase, number in (("head", 6), ("all", 5)) for epoch in (1, 2, 3)]
    assert "a phase ends when validation AP has not risen for 2 epochs" in recorder.plans[0]["schedule"]
    told = [note for note in recorder.notes if "ended early after" in note]
    assert told == [
        "Phase head ended early after 3 of 6 epochs: validation AP had not risen for 2.",
        "Phase all ended early after 3 of 5 epochs: validation AP had not risen for 2.",
    ]


def test_a_run_with_patience_goes_on_exactly(
    still: tuple[Path, Recorder], labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(BaseException):
        pass

    write, stops = ResumeFile.write, 0
    stopped_at: list[Position] = []  # a state that is written in a validation is where the epoch's learning ended

    def writing(resume: ResumeFile, position: Position, *arguments: Any) -> None:
        write(resume, position, *arguments)
        if not position.finished and not (position.num_epochs + position.batch) % 2 and position not in stopped_at:
            stopped_at.append(position)
            raise Stop

    monkeypatch.setattr(ResumeFile, "write", writing)
    while True:
        try:
            train(run_options(labels, tmp_path / "run", **STILL, checkpoint_minutes=0, resume=stops > 0), Recorder())
            break
        except Stop:
            stops += 1
        assert stops < 100, "it goes on"
    assert stops > 4
    assert epochs(tmp_path / "run") == epochs(still[0])
    assert hashes(tmp_path / "run") == hashes(still[0])


def test_what_changes_with_epochs_does_so_as_planned(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deferred weights begin at an epoch of the plan, whenever the phase before it ended."""
    told: list[int] = []
    monkeypatch.setattr(Criterion, "set_epoch", lambda _, epoch: told.append(epoch))
    train(run_options(labels, tmp_path / "run", **{**STILL, "average_last": 2}), recorder := Recorder())
    assert told == [0, 1, 2, 6, 7, 8]
    assert "Phase all ended early after 3 of 5 epochs, before --average-last began" in recorder.notes[-1]


def test_patience_that_is_never_spent_changes_nothing(labels: Path, tmp_path: Path) -> None:
    for name, changes in (("a", {}), ("b", {"patience": 9})):
        train(run_options(labels, tmp_path / name, image_size=32, **changes), Recorder())
    both = [(tmp_path / name / "val_predictions.csv").read_bytes() for name in ("a", "b")]
    assert both[0] == both[1]
