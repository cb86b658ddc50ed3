"""What a run keeps so that it can go on exactly where it was stopped: ``resume.pt``."""

import json
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor

from cxrlt_cli.config import FitOptions
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import CheckpointError, OptionError
from cxrlt_cli.files import replacing

FORMAT = 1
Wish = Literal["go on", "write", "stop"]
# Options that may differ from one part of a run to the next: what is learned does not depend on them.
FREE = (
    "resume",
    "out",
    "quiet",
    "debug",
    "dry_run",
    "workers",
    "checkpoint_minutes",
    "rendezvous",
    "run_id",
    "track",
    "cache",
)


@dataclass(frozen=True)
class Position:
    """How far a run is: ``batch`` batches into an epoch, counted from 0 in its phase, of a phase, counted from 0."""

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0  # summed over the epoch's films so far
    num_films: int = 0
    num_epochs: int = 0  # that have ended, in the whole run
    best_ap: float | None = None
    best: str = ""
    finished: bool = False


@dataclass
class Keeper:
    """Writes ``resume.pt`` when it is due: every so many minutes, and when SIGTERM, SIGUSR1 or Ctrl-C came.

    After SIGTERM and Ctrl-C it stops; a second Ctrl-C does at once. All processes ask after each step, and agree. Of
    several, whoever started them hears Ctrl-C, and ends them.
    """

    path: Path
    options: FitOptions
    process: Process
    data: str  # a hash of the labels
    note: Callable[[str], None] = lambda _: None
    _last: float = field(default_factory=lambda: time.monotonic())
    _asked: bool = False
    _stopped_by: int = 0  # the signal

    @contextmanager
    def listening(self) -> Iterator[None]:
        alone = self.process.num_processes == 1
        heard = (signal.SIGTERM, signal.SIGUSR1, *((signal.SIGINT,) if alone else ()))
        before = {number: signal.signal(number, self._hear) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self._stopped_by:
            raise KeyboardInterrupt
        self._asked = True
        if number != signal.SIGUSR1:
            self._stopped_by = number
        if number == signal.SIGINT:
            self.note("Stopping when the state can be kept; Ctrl-C again stops at once.")

    def due(self) -> Wish:
        """Whether to write now, and to stop; the same on every process."""
        late = time.monotonic() - self._last >= 60 * self.options.checkpoint_minutes
        wish = torch.tensor([int(self._asked or (late and self.process.is_main)), int(self._stopped_by > 0)])
        asked, stops = self.process.summed(wish).tolist()
        return "stop" if stops else "write" if asked else "go on"

    def write(self, position: Position, learner: Mapping[str, Any], wish: Wish = "write") -> None:
        """``resume.pt``, whole or not at all; then the end of this process, if that is the ``wish``.

        With 143 after SIGTERM, as an interruption after Ctrl-C.
        """
        states = self.process.collected(_random_state(self.process.device))
        if self.process.is_main:
            content = {
                "format": FORMAT,
                "options": _binding(self.options),
                "data": self.data,
                "position": vars(position),
                "learner": dict(learner),
                "random": states,
            }
            with replacing(self.path) as temporary:
                torch.save(content, temporary)
        self._last, self._asked = time.monotonic(), False
        if wish == "stop" and self._stopped_by == signal.SIGINT:
            raise KeyboardInterrupt
        if wish == "stop":
            raise SystemExit(128 + signal.SIGTERM)

    def read(self) -> tuple[Position, dict[str, Any]] | None:
        """Where the run stopped, with the learner's state; random generators are set as they were. None at its start.

        Raises OptionError where the run was of another command, CheckpointError where the file is damaged.
        """
        there = self.process.collected(self.path.exists())
        if len(set(there)) > 1:
            raise OptionError(f"{self.path} is seen by some processes alone.", "--out must be a folder that all share.")
        if not there[0]:
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            _require_same(content["options"], _binding(self.options))
            if content["data"] != self.data:
                raise OptionError(
                    "--resume: the films or labels are not those that the run was started with.", "Start a new run."
                )
            if len(content["random"]) != self.process.num_processes:
                raise OptionError(
                    f"The run was of {len(content['random'])} processes, and this is of {self.process.num_processes}.",
                    "Go on with as many.",
                )
            _set_random_state(content["random"][self.process.rank], self.process.device)
            return Position(**content["position"]), content["learner"]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"{self.path} is damaged, or cut short.",
                "best.safetensors beside it can be used. To train again, pass another --out.",
            ) from error


def _binding(options: FitOptions) -> dict[str, Any]:
    """The options that a run cannot change halfway, as JSON has them."""
    values: dict[str, Any] = json.loads(options.model_dump_json(exclude=set(FREE)))
    return values


def _require_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        told = "; ".join(f"--{name.replace('_', '-')} was {before.get(name)}, is {now[name]}" for name in changed[:5])
        raise OptionError(f"--resume: the run was started otherwise ({told}).", "Go on with the same command.")


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def _set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
