"""What processes of their own do in tests. Imported by each of them, so this imports little."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import torch

from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import DataError


def deal(process: Process, _: Reporter, num_films: int) -> tuple[Any, ...]:
    mine = torch.tensor(list(range(process.rank, num_films, process.num_processes)), dtype=torch.int64)
    gathered = process.gathered(torch.stack([mine, -mine])[:, :, None], num_films, dim=1)
    return gathered[0, :, 0].tolist(), int(process.summed(mine.sum())), process.collected(process.rank)


def fail(process: Process, _: Reporter, how: str, began: Path) -> None:
    process.collected(None)
    if process.rank == 1:
        began.touch()
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise DataError("film 7 is gone.", "Put it back.") if how == "error" else ZeroDivisionError("by zero")
    time.sleep(600)


def gather_for_ever(process: Process, _: Reporter, began: Path) -> None:
    """As predictions are made: whoever is stopped ends, and the others find that out."""
    process.collected(None)
    (began / str(process.rank)).touch()
    while process.collected(None):
        time.sleep(0.1)


def stop_together(process: Process, _: Reporter, began: Path) -> None:
    """As a training stops: one has heard of it, and all agree to."""
    heard = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: heard.set())
    process.collected(None)
    (began / f"{process.rank}-{os.getpid()}").touch()
    while not any(process.collected(heard.is_set())):
        time.sleep(0.1)
    raise SystemExit(128 + signal.SIGTERM)
