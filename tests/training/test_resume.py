"""A run that is stopped and goes on ends with the same bytes as one that was not stopped."""

import hashlib
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrlt_cli.config import TrainOptions, keys
from cxrlt_cli.documents import read_yaml
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import CheckpointError, OptionError
from cxrlt_cli.training.resume import CHANGEABLE, Position, ResumeFile
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.engine.test_launch import command
from tests.helpers import Recorder, flipped

# Everything that has a state: two phases, dropout, smoothed and averaged weights, steps of two batches.
RECIPE: dict[str, Any] = {
    "preset": "challenge",
    "backbone": "test_convnext",
    "head": "mlp",
    "image_size": 32,
    "drop_path": 0.0,
    "warmup_epochs": 1,
    "epochs": 3,
    "batch_size": 4,
    "accumulate": 2,
    "ema_decay": 0.9,
    "average_last": 2,
    "sampler": "cas",
    "sampler_options": "epoch_length=32",
    "checkpoint_minutes": 0,
}
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in RECIPE.items()]


def hashes(folder: Path) -> dict[str, str]:
    names = ("best.safetensors", "last.safetensors", "val_predictions.csv", "metrics.json")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture(scope="module")
def whole(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(run_options(labels, out, **RECIPE), Recorder())
    return out


class Stop(BaseException):
    """What no code expects, as a power cut."""


def test_a_stop_after_any_step_changes_nothing(
    whole: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped again and again, each time a few steps or batches of a validation later, with other workers."""
    out, stops = tmp_path / "run", 0
    write = ResumeFile.write
    left = [0]
    in_validation: list[int] = []

    def writing(resume: ResumeFile, position: Position, *arguments: Any) -> None:
        write(resume, position, *arguments)
        left[0] -= 1
        if left[0] == 0:
            in_validation.append(position.learned)
            raise Stop

    monkeypatch.setattr(ResumeFile, "write", writing)
    while True:
        left[0] = 5 + stops % 2
        try:
            train(run_options(labels, out, **RECIPE, resume=stops > 0, workers=stops % 2), Recorder())
            break
        except Stop:
            stops += 1
    assert stops > 3
    assert 0 < sum(in_validation) < stops
    assert hashes(out) == hashes(whole)
    lines = [(folder / "history.jsonl").read_text().splitlines() for folder in (out, whole)]
    assert len(lines[0]) == len(lines[1]) == 4


def test_an_epoch_that_was_stopped_in_its_validation_is_averaged_once(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, out = ResumeFile.write, tmp_path / "run"
    numbers = []
    for num_epochs in (2, 3):  # that have ended; the next one is averaged

        def writing(resume: ResumeFile, position: Position, *arguments: Any, num_epochs: int = num_epochs) -> None:
            write(resume, position, *arguments)
            if position.learned and position.num_epochs == num_epochs:
                raise Stop

        monkeypatch.setattr(ResumeFile, "write", writing)
        with pytest.raises(Stop):
            train(run_options(labels, out, **RECIPE, resume=num_epochs > 2), Recorder())
        numbers.append(torch.load(out / "resume.pt", weights_only=True)["learner"]["num_averaged"])
    assert numbers == [1, 2]


def written(folder: Path) -> int:
    """When the state was written last."""
    state = folder / "resume.pt"
    return state.stat().st_mtime_ns if state.exists() else 0


@pytest.mark.parametrize(
    ("seed", "times"), [(0, 1), *(pytest.param(seed, 6, marks=pytest.mark.soak) for seed in range(1, 9))]
)
def test_kill_9_at_any_moment_changes_nothing(whole: Path, labels: Path, tmp_path: Path, seed: int, times: int) -> None:
    out, rng = tmp_path / "run", random.Random(seed)
    arguments = ["train", "--csv", labels, "--out", out, "--weights=none", "--val-fraction=0.3", "--workers=0"]
    for _ in range(times):
        process = command(*arguments, "--device=cpu", "--resume", *FLAGS)
        before = written(out)
        while written(out) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 1.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = command(*arguments, "--device=cpu", "--resume", *FLAGS)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert hashes(out) == hashes(whole)


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.soak), (signal.SIGINT, 130)]
)
def test_a_signal_keeps_what_was_learned_and_ends(labels: Path, tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "run"
    arguments = ["train", "--csv", labels, "--out", out, "--weights=none", "--val-fraction=0.3", "--workers=2"]
    process = command(*arguments, "--device=cpu", *FLAGS, "--checkpoint-minutes=60", "--epochs=500")
    while not (out / "history.jsonl").exists() and process.poll() is None:
        time.sleep(0.05)
    assert not (out / "resume.pt").exists()
    os.killpg(process.pid, signal.SIGUSR1)  # as systemd does: those that read films hear it too
    while not (out / "resume.pt").exists() and process.poll() is None:
        time.sleep(0.05)
    before = (out / "resume.pt").stat().st_mtime_ns
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Resume with --resume" in err
    assert (out / "resume.pt").stat().st_mtime_ns > before
    position = torch.load(out / "resume.pt", weights_only=True)["position"]
    assert position["num_epochs"] >= 1


def test_a_finished_run_is_not_run_again(whole: Path, labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = Recorder()
    before = hashes(whole)
    scores = train(run_options(labels, whole, **RECIPE, resume=True), reporter)
    assert scores is not None
    assert "is finished" in reporter.results[0]
    assert hashes(whole) == before


def test_another_command_does_not_go_on_with_a_run(whole: Path, labels: Path) -> None:
    with pytest.raises(OptionError, match=r"--loss was db, is bce; --epochs was 3, is 4"):
        train(run_options(labels, whole, **{**RECIPE, "loss": "bce", "epochs": 4}, resume=True), Recorder())
    with pytest.raises(OptionError, match=r"--batch-size was 4, is 8\)"):
        train(run_options(labels, whole, **{**RECIPE, "batch_size": 8}, resume=True), Recorder())
    with pytest.raises(OptionError, match="already holds a run"):
        train(run_options(labels, whole, **RECIPE), Recorder())


def test_a_state_names_its_options_as_the_files_of_a_run_do(whole: Path) -> None:
    """So that what is renamed inside the program is still found."""
    named = torch.load(whole / "resume.pt", weights_only=True)["options"].keys()
    assert named <= set(keys(TrainOptions).values())
    assert {key for key, value in read_yaml(whole / "run.yaml").items() if value is not None} - set(CHANGEABLE) <= named


def test_a_state_cut_anywhere_is_told(whole: Path, labels: Path, tmp_path: Path) -> None:
    options = run_options(labels, tmp_path, **RECIPE, resume=True).resolved()
    process = Process.of(options)
    resume = ResumeFile(tmp_path / "resume.pt", options, process, "data")
    assert resume.read() is None
    resume.write(Position(phase=1, epoch=2), {"model": {"weight": torch.ones(3)}, "step": 4})
    data = (tmp_path / "resume.pt").read_bytes()
    kept = resume.read()
    assert kept is not None
    assert (kept[0].phase, kept[0].epoch, kept[1]["step"]) == (1, 2, 4)
    for length in (0, 1, 10, len(data) // 3, len(data) // 2, len(data) - 30, len(data) - 1):
        (tmp_path / "resume.pt").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"resume\.pt is damaged"):
            resume.read()


def test_every_flipped_bit_of_a_state_is_noticed(labels: Path, tmp_path: Path) -> None:
    options = run_options(labels, tmp_path, **RECIPE).resolved()
    path = tmp_path / "resume.pt"
    resume = ResumeFile(path, options, Process.of(options), "data")
    resume.write(Position(phase=1, epoch=2), {"model": {"weight": torch.ones(300)}, "step": 4})
    data = path.read_bytes()
    assert torch.load(path, weights_only=True)["learner"]["step"] == 4, "other programs read it"
    for spoilt in [*flipped(data, 200), *(data[:-60] + end for end in flipped(data[-60:], 60))]:
        path.write_bytes(spoilt)
        with pytest.raises(CheckpointError, match=r"resume\.pt is (damaged|of format)"):
            resume.read()


@pytest.mark.parametrize("number", [1, 3, 99, "2"])
def test_a_state_of_another_format_is_refused_in_words(
    labels: Path, tmp_path: Path, number: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = run_options(labels, tmp_path, **RECIPE).resolved()
    resume = ResumeFile(tmp_path / "resume.pt", options, Process.of(options), "data")
    with monkeypatch.context() as changed:
        changed.setattr("cxrlt_cli.training.resume.FORMAT", number)
        if number == 1:
            changed.setattr("cxrlt_cli.training.resume._seal", lambda _: None)
        resume.write(Position(), {})
    with pytest.raises(CheckpointError, match=f"is of format {number}; this cxrlt reads 2"):
        resume.read()


def test_a_path_is_the_same_however_it_is_written(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``run.yaml`` has it, from another folder, and by way of a link."""
    monkeypatch.chdir(labels.parent)
    out = tmp_path / "run"
    train(run_options(Path("labels.csv"), out, **RECIPE), Recorder())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(labels.parent)
    for csv in (labels, tmp_path / "link" / "labels.csv", Path("link") / labels.name):
        reporter = Recorder()
        train(run_options(csv, out, **RECIPE, resume=True), reporter)
        assert "is finished" in reporter.results[0]


def wait_for(told: list[str]) -> None:
    start = time.monotonic()
    while not told and time.monotonic() < start + 10:
        time.sleep(0.01)
    assert told


def test_ctrl_c_is_not_told_by_who_may_be_printing(labels: Path, tmp_path: Path) -> None:
    """What a signal's handler prints while its thread prints comes between, or makes a line come twice."""
    told: list[str] = []
    options = run_options(labels, tmp_path)

    def note(_: str) -> None:
        told.append(threading.current_thread().name)

    resume = ResumeFile(tmp_path / "resume.pt", options, Process.of(options), "data", note)
    with resume.listening():
        signal.raise_signal(signal.SIGINT)
        wait_for(told)
    assert told != [threading.main_thread().name]
    at_once = ResumeFile(tmp_path / "resume.pt", options, Process.of(options), "data", note)
    with at_once.listening():
        signal.raise_signal(signal.SIGINT)
        assert at_once.due() == "stop"
    with ResumeFile(tmp_path / "resume.pt", options, Process.of(options), "data", note).listening():
        pass
    assert len(told) == 1, "neither a stop that comes at once is announced, nor an end without Ctrl-C"


@pytest.mark.soak
def test_a_second_ctrl_c_stops_at_once(labels: Path, tmp_path: Path) -> None:
    options = run_options(labels, tmp_path)
    notes: list[str] = []
    resume = ResumeFile(tmp_path / "resume.pt", options, Process.of(options), "data", notes.append)
    with resume.listening():
        signal.raise_signal(signal.SIGINT)
        wait_for(notes)
        assert resume.due() == "stop"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert len(notes) == 1
    with pytest.raises(KeyboardInterrupt):
        resume.write(Position(), {}, "stop")
    assert (tmp_path / "resume.pt").exists()


def test_ctrl_c_that_torchrun_passes_on_is_no_second_one(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where each process trains members of its own, and computes alone; who was started alone hears two."""
    options = run_options(labels, tmp_path)
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    passed_on = ResumeFile(tmp_path / "resume.pt", options, Process.of(options), "data")
    with passed_on.listening():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert passed_on.due() == "stop"
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    alone = ResumeFile(tmp_path / "resume.pt", options, Process.of(options), "data")
    with alone.listening(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_the_state_is_written_when_it_is_due(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    options = run_options(labels, tmp_path, checkpoint_minutes=2)
    resume = ResumeFile(tmp_path / "resume.pt", options, Process.of(options), "data")
    assert resume.due() == "continue"
    now[0] += 121
    assert resume.due() == "write"
    resume.write(Position(), {})
    assert resume.due() == "continue"
    with resume.listening():
        signal.raise_signal(signal.SIGUSR1)
        assert resume.due() == "write"
        signal.raise_signal(signal.SIGTERM)
        assert resume.due() == resume.due() == "stop", "it is not forgotten"
    with pytest.raises(SystemExit) as caught:
        resume.write(Position(), {}, "stop")
    assert caught.value.code == 143
    other = ResumeFile(tmp_path / "resume.pt", options, Process.of(options), "other labels")
    with pytest.raises(OptionError, match="films or labels changed"):
        other.read()
