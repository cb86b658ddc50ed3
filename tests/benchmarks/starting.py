"""``cxrlt --help`` beside a bare interpreter, and what a training process holds between steps."""

import gc
import multiprocessing
import multiprocessing.connection
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import training


def lines() -> None:
    """Further lines of the table."""
    pairs = [(seconds("-c", "pass"), seconds("-m", "cxrlt_cli", "--help")) for _ in range(9)]
    bare, helped = (statistics.median(column) for column in zip(*pairs, strict=True))
    extra = statistics.median(ours - theirs for theirs, ours in pairs)
    print(f"| cxrlt --help | {bare:.3f} s | {helped:.3f} s | {extra:+.3f} s | 0.25 s | |", flush=True)
    plain, ours = (held(way) for way in (training.plain_loop, training.ours))
    print(f"| memory between steps | {plain:.0f} MB | {ours:.0f} MB | {ours / plain:.2f} | at most 1 | |", flush=True)


def seconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def held(way: Callable[[Path], Callable[[], int]]) -> float:
    """MB that a process of its own holds after two rounds of steps."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_report, args=(theirs, way))
    process.start()
    size = float(ours.recv())
    process.join()
    return size


def _report(pipe: "multiprocessing.connection.Connection", way: Callable[[Path], Callable[[], int]]) -> None:
    once = way(Path())
    once()
    once()
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    pipe.send(pages * resource.getpagesize() / 1e6)
