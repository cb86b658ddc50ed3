"""Runs are followed by the trackers themselves, which keep what they are told in folders here."""

import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cxrlt_cli.config import Track
from cxrlt_cli.errors import InstallError, OptionError
from cxrlt_cli.training import tracking
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import FINDINGS, Recorder


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def shown_by_tensorboard(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_follows_where_it_is_installed(labels: Path, tmp_path: Path) -> None:
    train(run_options(labels, tmp_path, track=None), Recorder())
    shown, epochs = shown_by_tensorboard(tmp_path), history(tmp_path)
    for name, key in {"train/loss": "loss", "val/ap": "val_ap", "train/lr_head": "lr_head"}.items():
        assert [step for step, _ in shown[name]] == [1, 2, 3]
        assert [value for _, value in shown[name]] == pytest.approx([epoch[key] for epoch in epochs])
    assert {f"val_ap_finding/{name}" for name in FINDINGS} < set(shown)


def test_a_run_that_goes_on_is_followed_once(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch that was told and not kept, since the run was stopped, is told again and shown once."""
    stopped: list[str] = []

    def stop(self: Any, *arguments: Any) -> None:
        if len(history(tmp_path)) == 2 and not stopped:
            stopped.append("here")
            raise KeyboardInterrupt
        written(self, *arguments)

    written = tracking.TensorBoard.log
    monkeypatch.setattr(tracking.TensorBoard, "log", stop)
    options = {"track": "tensorboard", "checkpoint_minutes": 0}
    with pytest.raises(KeyboardInterrupt):
        train(run_options(labels, tmp_path, **options), Recorder())
    train(run_options(labels, tmp_path, **options, resume=True), Recorder())
    assert [step for step, _ in shown_by_tensorboard(tmp_path)["val/ap"]] == [1, 2, 3]


@pytest.mark.soak
def test_wandb_follows_without_a_network(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(run_options(labels, tmp_path, track="wandb", max_steps=1), Recorder())
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    name = json.loads((tmp_path / tracking.REMEMBERED).read_text())["wandb"]
    assert folder.name.endswith(name)
    told = next(folder.glob("*.wandb")).read_bytes()
    assert b"val_ap_finding/nodule" in told
    assert b"test_convnext" in told, "the options"


def test_mlflow_follows_a_run_that_goes_on(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    out = tmp_path / "run"
    monkeypatch.setattr(tracking.Mlflow, "log", stopping_at(2, tracking.Mlflow.log))
    options = {"track": "mlflow", "checkpoint_minutes": 0}
    with pytest.raises(KeyboardInterrupt):
        train(run_options(labels, out, **options), Recorder())
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    train(run_options(labels, out, **options, resume=True), Recorder())
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.data.params["backbone"] == "test_convnext"
    assert run.info.status == "FINISHED"
    metrics = client.get_metric_history(run.info.run_id, "val/ap")
    assert [metric.step for metric in metrics] == [1, 2, 3]
    assert [metric.value for metric in metrics] == pytest.approx([epoch["val_ap"] for epoch in history(out)])


def stopping_at(epoch: int, log: Any) -> Any:
    def told(self: Any, number: int, values: Any) -> None:
        if number == epoch:
            raise KeyboardInterrupt
        log(self, number, values)

    return told


def test_a_run_that_failed_is_not_told_as_finished(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setattr(tracking.Mlflow, "log", stopping_at(1, tracking.Mlflow.log))
    with pytest.raises(KeyboardInterrupt):
        train(run_options(labels, tmp_path / "run", track="mlflow"), Recorder())
    name = json.loads((tmp_path / "run" / tracking.REMEMBERED).read_text())["mlflow"]
    assert mlflow.MlflowClient().get_run(name).info.status == "FAILED"


@pytest.mark.soak
def test_another_tracker_may_follow_the_rest_of_a_run(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    out = tmp_path / "run"
    monkeypatch.setattr(tracking.Wandb, "log", stopping_at(2, tracking.Wandb.log))
    with pytest.raises(KeyboardInterrupt):
        train(run_options(labels, out, track="wandb", checkpoint_minutes=0), Recorder())
    train(run_options(labels, out, track="mlflow", checkpoint_minutes=0, resume=True), Recorder())
    assert set(json.loads((out / tracking.REMEMBERED).read_text())) == {"wandb", "mlflow"}


def test_names_of_findings_suit_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    tracker = tracking.Mlflow(tmp_path, {}, 0)
    tracker.log(1, {"val_ap_finding/Größe (a, b)": 0.5})
    tracker.close(failed=False)


@pytest.mark.parametrize("failing", ["log", "close"])
def test_a_tracker_that_fails_costs_a_warning(
    failing: str, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route to the server")

    monkeypatch.setattr(tracking.TensorBoard, failing, fail)
    recorder = Recorder()
    train(run_options(labels, tmp_path, track="tensorboard"), recorder)
    assert [text for text in recorder.warnings if "tracker" in text] == [
        "The tracker failed and is off from here on: no route to the server"
    ]
    assert len(history(tmp_path)) == 3


def test_a_tracker_that_cannot_be_had_ends_the_command_before_it_begins(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    assert tracking.chosen(None) == "none"
    with pytest.raises(InstallError, match="--track wandb: wandb is not installed") as caught:
        train(run_options(labels, tmp_path / "run", track="wandb"), Recorder())
    assert caught.value.hint == 'pip install "cxrlt[wandb]"'


def cannot_start(kind: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> tracking.Tracker:
        raise RuntimeError("No API key configured")

    monkeypatch.setitem(tracking.TRACKERS, kind, refuse)


def test_a_tracker_that_cannot_be_started_ends_the_command(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cannot_start("wandb", monkeypatch)
    with pytest.raises(OptionError, match="--track wandb cannot be started: No API key"):
        train(run_options(labels, tmp_path / "run", track="wandb"), Recorder())


def test_the_default_tracker_costs_a_warning_where_it_cannot_be_started(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cannot_start("tensorboard", monkeypatch)
    recorder = Recorder()
    train(run_options(labels, tmp_path / "run", track=None, max_steps=1), recorder)
    assert "--track tensorboard cannot be started: No API key configured. The run is not tracked." in recorder.warnings


def test_tensorboard_gets_options_as_code_that_none_of_them_can_end(tmp_path: Path) -> None:
    hostile = {"csv": "a```\n<script>alert(1)</script>", "findings": ["<b>", "\x1b[31m"]}
    tracking.TensorBoard(tmp_path, hostile, 0).close(failed=False)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (event,) = events.Tensors("options/text_summary")
    (text,) = event.tensor_proto.string_val
    lines = [line for line in text.decode().splitlines() if line]
    assert len(lines) > 2
    assert all(line.startswith("    ") for line in lines)
    assert b"\x1b" not in text


def test_damaged_names_of_trackers_are_told(tmp_path: Path) -> None:
    (tmp_path / "trackers.json").write_text("[" * 100_000)
    with pytest.raises(OptionError, match=r"trackers\.json is damaged"):
        tracking._remembered(tmp_path, "mlflow")
