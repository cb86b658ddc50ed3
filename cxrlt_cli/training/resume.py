"""What a run keeps so that it can go on exactly where it was stopped: ``resume.pt``.

A file of PyTorch, which is a zip file, with a checksum of all its bytes for the archive's comment.
"""

import json
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any, BinaryIO, Literal

import torch
import xxhash
from torch import Tensor

from cxrlt_cli.config import FitOptions, flag, keys
from cxrlt_cli.engine.cluster import started_already
from cxrlt_cli.engine.process import Process
from cxrlt_cli.errors import CheckpointError, OptionError
from cxrlt_cli.files import replacing
from cxrlt_cli.machine import signals

FORMAT = 2  # 1, of cxrlt 0.1.0, has no checksum
MARK = b"cxrlt resume "
DIGITS = 32
PATIENCE = 0.5  # seconds after Ctrl-C, within which a stop needs no announcement
PASSED_ON = 1.0  # seconds after Ctrl-C, within which torchrun passes on the one that this process heard itself
Action = Literal["continue", "write", "stop"]
# Options that may differ from one part of a run to the next: what is learned does not depend on them.
CHANGEABLE = (
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
    "features",
)


@dataclass(frozen=True)
class Position:
    """How far a run is: ``batch`` batches into an epoch, counted from 0 in its phase, of a phase, counted from 0.

    ``learned``: all that an epoch has to teach was learned, its weights averaged; its validation remains.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0  # summed over the epoch's films so far
    num_films: int = 0
    learned: bool = False
    num_epochs: int = 0  # that have ended, in the whole run
    phase_ap: float | None = None  # the best of the phase so far
    num_flat: int = 0  # epochs of the phase since then
    best_ap: float | None = None
    best: str = ""
    finished: bool = False


@dataclass
class ResumeFile:
    """Writes ``resume.pt`` when it is due: every so many minutes, and when SIGTERM, SIGUSR1 or Ctrl-C came.

    After SIGTERM and Ctrl-C it stops; a second Ctrl-C does at once. All processes ask after each step and each batch of
    the validation, and agree. Who started
    workers sends them SIGTERM for Ctrl-C.
    """

    path: Path
    options: FitOptions
    process: Process
    data: str  # a hash of the labels
    note: Callable[[str], None] = lambda _: None
    _last: float = field(default_factory=lambda: time.monotonic())
    _asked: bool = False
    _stopped_by: int = 0  # the signal
    _stopped_at: float = 0.0
    _heard: Event = field(default_factory=Event)  # Ctrl-C, or the end
    _over: Event = field(default_factory=Event)  # the stop is about to be told, or the end

    @contextmanager
    def listening(self) -> Iterator[None]:
        started_by_us = parent_process() is not None
        heard = signals("SIGTERM", "SIGUSR1", *(() if started_by_us else ("SIGINT",)))
        before = {number: signal.signal(number, self._hear) for number in heard}
        teller = Thread(target=self._tell_of_ctrl_c, daemon=True)
        teller.start()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._over.set()
            self._heard.set()
            teller.join(timeout=1)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self._stopped_by:
            passed_on = started_already(os.environ) is not None  # also where each process trains members of its own
            if passed_on and time.monotonic() - self._stopped_at < PASSED_ON:
                return
            raise KeyboardInterrupt
        self._asked = True
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stopped_by, self._stopped_at = number, time.monotonic()
        if number == signal.SIGINT:
            self._heard.set()

    def _tell_of_ctrl_c(self) -> None:
        """In a thread: the handler may have stopped the main one while it prints, whose line would come twice."""
        self._heard.wait()
        if not self._over.wait(PATIENCE):
            self.note("Stopping as soon as the state is saved; Ctrl-C again stops at once.")

    def due(self) -> Action:
        """Whether to write now, and to stop; the same on every process."""
        late = time.monotonic() - self._last >= 60 * self.options.checkpoint_minutes
        mine = torch.tensor([int(self._asked or (late and self.process.is_main)), int(self._stopped_by > 0)])
        asked, stops = self.process.summed(mine).tolist()
        if stops:
            self._over.set()
        return "stop" if stops else "write" if asked else "continue"

    def write(self, position: Position, learner: Mapping[str, Any], action: Action = "write") -> None:
        """``resume.pt``, whole or not at all; then the end of this process, if that is the ``action``.

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
                _seal(temporary)
        self._last, self._asked = time.monotonic(), False
        if action == "stop":
            self.process.collected(None)  # who ends before the state is whole may have the others ended
        if action == "stop" and self._stopped_by == signal.SIGINT:
            raise KeyboardInterrupt
        if action == "stop":
            raise SystemExit(128 + signal.SIGTERM)

    def read(self) -> tuple[Position, dict[str, Any]] | None:
        """Where the run stopped, with the learner's state; random generators are set as they were. None at its start.

        Raises OptionError where the run was of another command, CheckpointError where the file is damaged or of another
        format.
        """
        there = self.process.collected(self.path.exists())
        if len(set(there)) > 1:
            raise OptionError(
                f"{self.path} is visible only to some processes.", "--out must be a folder that all share."
            )
        if not there[0]:
            return None
        content = _content(self.path)
        _require_same(content["options"], self.options)
        if content["data"] != self.data:
            raise OptionError("--resume: the films or labels changed since the run was started.", "Start a new run.")
        if len(content["random"]) != self.process.num_processes:
            raise OptionError(
                f"The run was of {len(content['random'])} processes, and this is of {self.process.num_processes}.",
                "Resume with the same number.",
            )
        _set_random_state(content["random"][self.process.rank], self.process.device)
        return Position(**content["position"]), content["learner"]


def _content(path: Path) -> dict[str, Any]:
    """What a state that is whole and of our format holds; raises CheckpointError of any other."""
    is_sealed, is_whole = _state(path)
    content: dict[str, Any] = {}
    number: object = None
    if is_whole or not is_sealed:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            number = content["format"]
        except Exception as error:  # whatever PyTorch's readers make of a file that is none
            raise _damaged(path) from error
    if number not in (None, FORMAT):
        raise CheckpointError(
            f"{path} is of format {number}; this cxrlt reads {FORMAT}.",
            "Resume with the version of cxrlt that wrote it, or pass another --out to train again.",
        )
    if not is_whole or number is None:
        raise _damaged(path)
    return content


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged, or cut short.",
        "best.safetensors beside it can be used. To train again, pass another --out.",
    )


def _seal(path: Path) -> None:
    """Add a checksum of all that is before it to a zip file, as its comment: other readers pass over that."""
    with path.open("rb+") as file:
        file.seek(-2, os.SEEK_END)  # an archive without a comment ends with the length of its comment
        file.write(struct.pack("<H", len(MARK) + DIGITS))
        file.write(MARK)
        digest = _digest(file, file.tell())
        file.seek(0, os.SEEK_END)
        file.write(digest)


def _state(path: Path) -> tuple[bool, bool]:
    """Whether a file has the mark of a checksum; and whether it is, to the last bit, what was written."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END) - DIGITS
        if length < len(MARK):
            return False, False
        file.seek(length - len(MARK))
        is_sealed = file.read(len(MARK)) == MARK
        digest = _digest(file, length)
        return is_sealed, is_sealed and file.read() == digest


def _digest(file: BinaryIO, length: int) -> bytes:
    """Of the first ``length`` bytes, in hexadecimal digits; the file stands behind them then."""
    digest = xxhash.xxh3_128()
    file.seek(0)
    while length > 0 and (chunk := file.read(min(length, 2**22))):
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest().encode()


def _binding(options: FitOptions) -> dict[str, Any]:
    """The options that a run cannot change halfway, named as in run.yaml; paths however they are written are one."""
    unused = {"val_fraction"} if options.val_csv is not None else set()
    values = options.model_dump(by_alias=True, exclude={*CHANGEABLE, *unused})
    plain: dict[str, Any] = json.loads(json.dumps({name: _resolved(value) for name, value in values.items()}))
    return plain


def _resolved(value: object) -> object:
    if isinstance(value, Path):
        return str(value.resolve())
    return [_resolved(item) for item in value] if isinstance(value, tuple) else value


def _require_same(before: Mapping[str, Any], options: FitOptions) -> None:
    model, now = type(options), _binding(options)
    changed = [
        f"{flag(model, name)} was {before.get(key)}, is {now[key]}"
        for name, key in keys(model).items()
        if key in now and before.get(key) != now[key]
    ]
    if changed:
        told = "; ".join(changed[:5])
        raise OptionError(
            f"--resume: the run was started with other options ({told}).", "Resume with the options of the start."
        )


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def _set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
