"""Experiment trackers: the numbers of every epoch go to TensorBoard, W&B or MLflow too, from the first process alone.

``history.jsonl`` has them in any case, so a tracker that fails while a run goes on is a warning and no more.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from typing import Any, Protocol

import yaml

from cxrlt_cli.config import Track
from cxrlt_cli.documents import read_json
from cxrlt_cli.engine.reporter import EpochSummary, Reporter
from cxrlt_cli.errors import InstallError, OptionError
from cxrlt_cli.files import write_text
from cxrlt_cli.scores.metrics import Scores

Log = Callable[[EpochSummary, Scores], None]


class Tracker(Protocol):
    """Made with the run folder, its options as YAML has them, and the number of epochs that have ended before."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Numbers by their names, of an epoch counted from 1."""

    def close(self, failed: bool) -> None:
        """The run has ended, or was stopped."""


class TensorBoard:
    """Event files in ``tensorboard/`` of the run folder."""

    def __init__(self, folder: Path, options: Mapping[str, Any], num_epochs: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=num_epochs + 1)
        text = yaml.safe_dump(dict(options), sort_keys=False)
        self._writer.add_text("options", indent(text, "    "))  # Markdown's code, which no line of it can end

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self, failed: bool) -> None:
        self._writer.close()


class Wandb:
    """A run of the project ``WANDB_PROJECT``, or ``cxrlt``; a run that goes on goes on there."""

    def __init__(self, folder: Path, options: Mapping[str, Any], num_epochs: int) -> None:
        import wandb

        before = _remembered(folder, "wandb")
        settings = wandb.Settings(silent=True, console="off")
        project = os.environ.get("WANDB_PROJECT", "cxrlt")
        known: dict[str, Any] = {"id": before, "resume": "allow"} if before else {}
        self._run = wandb.init(
            project=project, name=folder.name, dir=folder, config=dict(options), settings=settings, **known
        )
        _remember(folder, "wandb", self._run.id)

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=epoch)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class Mlflow:
    """A run of the experiment ``MLFLOW_EXPERIMENT_NAME``, or ``cxrlt``, at ``MLFLOW_TRACKING_URI``."""

    def __init__(self, folder: Path, options: Mapping[str, Any], num_epochs: int) -> None:
        import mlflow

        self._mlflow = mlflow
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "cxrlt"))
        before = _remembered(folder, "mlflow")
        run = mlflow.start_run(run_id=before) if before else mlflow.start_run(run_name=folder.name)
        if not before:
            _remember(folder, "mlflow", run.info.run_id)
            mlflow.log_params(dict(options))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        allowed = {re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII): value for name, value in values.items()}
        self._mlflow.log_metrics(allowed, step=epoch)

    def close(self, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")


TRACKERS: dict[Track, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
}
REMEMBERED = "trackers.json"  # in the run folder: by what name each tracker knows the run


def chosen(track: Track | None) -> Track:
    """``--track``, or TensorBoard where it is installed. Raises InstallError where the one that is asked for is not."""
    if track is None:
        return "tensorboard" if find_spec("tensorboard") else "none"
    if track != "none" and find_spec(track) is None:
        raise InstallError(f"--track {track}: {track} is not installed.", f'pip install "cxrlt[{track}]"')
    return track


@contextmanager
def tracking(
    track: Track | None, folder: Path, options: Mapping[str, Any], num_epochs: int, reporter: Reporter
) -> Iterator[Log]:
    """What sends an epoch's numbers to ``chosen(track)``.

    Raises OptionError where a tracker that was asked for cannot be started.
    """
    tracker = _started(track, folder, options, num_epochs, reporter)

    def attempt(what: Callable[[Tracker], None]) -> None:
        nonlocal tracker
        if tracker is None:
            return
        try:
            what(tracker)
        except Exception as error:  # whatever a library of others raises
            reporter.warn(f"The tracker failed and is off from here on: {error}")
            with suppress(Exception):  # it was told of already
                tracker.close(failed=True)
            tracker = None

    def log(summary: EpochSummary, scores: Scores) -> None:
        nonlocal num_epochs
        num_epochs += 1
        attempt(lambda tracker: tracker.log(num_epochs, values_of(summary, scores)))

    try:
        yield log
    except BaseException:
        attempt(lambda tracker: tracker.close(failed=True))
        raise
    attempt(lambda tracker: tracker.close(failed=False))


def _started(
    track: Track | None, folder: Path, options: Mapping[str, Any], num_epochs: int, reporter: Reporter
) -> Tracker | None:
    kind = chosen(track)
    if kind == "none":
        return None
    try:
        return TRACKERS[kind](folder, options, num_epochs)
    except Exception as error:
        told = f"--track {kind} cannot be started: {error}"
        if track is None:
            reporter.warn(f"{told}. The run is not tracked.")
            return None
        hint = "Set it up as its documentation says (wandb login, MLFLOW_TRACKING_URI), or pass --track none."
        raise OptionError(told, hint) from error


def values_of(summary: EpochSummary, scores: Scores) -> dict[str, float]:
    """The numbers of an epoch by name: of training, of validation, of bands of frequency, and each finding's AP."""
    values = {
        "train/loss": summary.loss,
        "train/lr_head": summary.lr_head,
        "train/lr_backbone": summary.lr_backbone,
        "train/films_per_second": summary.films_per_second,
        **{f"val/{name}": value for name, value in scores.macro().items()},
        **{f"val_ap/{band}": means["ap"] for band, means in scores.band_means().items()},
        **{f"val_ap_finding/{finding.name}": finding.ap for finding in scores.findings},
    }
    return {name: value for name, value in values.items() if value is not None}


def _names(folder: Path) -> dict[str, str]:
    """Raises OptionError where the file is damaged."""
    path = folder / REMEMBERED
    try:
        names = read_json(path) if path.exists() else {}
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise ValueError("it is no list of names")
    except ValueError as error:
        raise OptionError(f"{path} is damaged ({error}).", "Delete it: the tracker begins a new run.") from error
    return names


def _remembered(folder: Path, tracker: str) -> str | None:
    return _names(folder).get(tracker)


def _remember(folder: Path, tracker: str, name: str) -> None:
    write_text(folder / REMEMBERED, json.dumps({**_names(folder), tracker: name}) + "\n")
