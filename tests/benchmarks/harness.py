"""Two ways of doing the same, each in a process of its own, in turn in the same run.

A way is a function of a folder that makes ready and gives what is measured: a call that does some units of work and
gives their number. Medians of the rounds are told, the median of the ratios within rounds, and each process's peak
memory.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

Way = Callable[[Path], Callable[[], int]]


@dataclass(frozen=True)
class Benchmark:
    """``goal``: the least ratio of speeds, ours to the baseline's."""

    what: str
    unit: str
    baseline: Way
    ours: Way
    goal: float
    rounds: int = 5
    prepare: Callable[[Path], None] = lambda _: None

    def measure(self, folder: Path) -> "Result":
        self.prepare(folder)
        ways = [_Process(self.baseline, folder), _Process(self.ours, folder, OMP_WAIT_POLICY="passive")]
        for way in ways:
            way.once()
        speeds = [[way.once() for way in ways] for _ in range(self.rounds)]
        baseline, ours = ([pair[index] for pair in speeds] for index in (0, 1))
        peaks = [way.end() for way in ways]
        return Result(self, baseline, ours, peaks[0], peaks[1])


@dataclass(frozen=True)
class Result:
    benchmark: Benchmark
    baseline: Sequence[float]  # units a second, of each round
    ours: Sequence[float]
    baseline_peak: float  # MB
    peak: float

    @property
    def ratio(self) -> float:
        return statistics.median(ours / theirs for ours, theirs in zip(self.ours, self.baseline, strict=True))

    def row(self) -> str:
        """A line of a Markdown table."""
        unit, goal = self.benchmark.unit, self.benchmark.goal
        baseline, ours = (f"{_short(statistics.median(speeds))} {unit}" for speeds in (self.baseline, self.ours))
        memory = f"{self.baseline_peak:.0f}, {self.peak:.0f} MB"
        return f"| {self.benchmark.what} | {baseline} | {ours} | {_short(self.ratio)} | {goal:g} | {memory} |"


HEAD = "| what | baseline | cxrlt | ratio | goal | peak memory |\n| --- | --- | --- | --- | --- | --- |"


class _Process:
    """Started with what ``cxrlt`` sets in its environment, or without."""

    def __init__(self, way: Way, folder: Path, **environment: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, way, folder))
        with patch.dict(os.environ, environment):
            self._process.start()
        self._pipe.recv()  # ready: the next one makes ready on a quiet machine

    def once(self) -> float:
        """Units a second."""
        self._pipe.send("once")
        return float(self._pipe.recv())

    def end(self) -> float:
        """The peak memory in MB."""
        self._pipe.send("end")
        peak = float(self._pipe.recv())
        self._process.join()
        return peak


def _work(pipe: Connection, way: Way, folder: Path) -> None:
    once = way(folder)
    pipe.send("ready")
    while pipe.recv() == "once":
        start = time.perf_counter()
        number = once()
        pipe.send(number / (time.perf_counter() - start))
    pipe.send(memory("VmHWM"))


def memory(what: str) -> float:
    """MB of this process: ``VmRSS`` now, ``VmHWM`` at most; ``getrusage`` tells of the one that started it, too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1000


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"
