"""``python -m tests.benchmarks.growth PLOT.svg``: how time and memory grow with films, findings, views and members.

Each size is measured in a process of its own, three times, or once where that takes long; the least processor time
counts, and the most memory beyond what the process had when it was ready. Exponents are slopes of log time, or memory,
against log size. What grows with films is what is done for every film beside looking at it: reading the CSV, finding it
in a cache, drawing an epoch of ``cas``, writing and reading its predictions. What grows with rows are whole commands on
tables (``rows``). A curve that was measured before is taken from PLOT.json.
"""

import gc
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cxrlt_cli import losses
from cxrlt_cli.data import cache, slots
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.data.loading import Batch
from cxrlt_cli.data.sampling import create
from cxrlt_cli.engine.predict import predict
from cxrlt_cli.engine.process import Process
from cxrlt_cli.machine import keep_freed_memory
from cxrlt_cli.nets import heads
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import stream_ids
from cxrlt_cli.tta import VIEWS
from tests.benchmarks.harness import memory
from tests.benchmarks.rows import ROWS

FILMS, FINDINGS = (10**3, 10**4, 10**5, 10**6), (5, 15, 50, 150, 500)


LEAST = 0.1  # MB that can be told from none: a few pages more or less
LONG = 5.0  # seconds, from which on once is enough
Ready = Callable[[int], Callable[[], object]]


@dataclass(frozen=True)
class Curve:
    name: str
    sizes: Sequence[int]
    values: Sequence[float]

    @property
    def exponent(self) -> float:
        return float(np.polyfit(np.log(self.sizes), np.log(self.values), 1)[0])


def measured(name: str, sizes: Sequence[int], ready: Ready, known: Path) -> tuple[Curve, Curve]:
    """Seconds, and MB; kept in ``known``."""
    context = multiprocessing.get_context("spawn")
    before = json.loads(known.read_text()) if known.exists() else {}
    pairs = before.get(name, [])
    for size in sizes[len(pairs) :]:
        with ProcessPoolExecutor(1, context) as pool:
            pairs.append(pool.submit(once, ready, size).result())
        known.write_text(json.dumps({**before, name: pairs}))
    curves = [Curve(name, sizes, values) for values in zip(*pairs, strict=True)]
    for curve, unit in zip(curves, ("s", "MB"), strict=True):
        told = ", ".join(f"{size:,}: {value:.3g} {unit}" for size, value in zip(sizes, curve.values, strict=True))
        print(f"{name}: exponent {curve.exponent:.2f} ({told})", flush=True)
    return curves[0], curves[1]


def once(ready: Ready, size: int) -> tuple[float, float]:
    """Seconds and MB of the work for one size."""
    keep_freed_memory()  # as every command does
    work = ready(size)
    times = []
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # from here on the peak is that of what follows
    before = memory("VmRSS")
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
        if times[0] > LONG:
            break
    return min(times), max(LEAST, memory("VmHWM") - before)


def reading_a_csv(folder: Path, size: int) -> Callable[[], object]:
    path = folder / f"{size}.csv"
    with path.open("w") as file:
        file.write("ImageID\n")
        file.writelines(f"{index:039d}.png\n" for index in range(size))
    return lambda: sum(len(ids) for ids in stream_ids(path, "ImageID"))


def finding_in_a_cache(folder: Path, size: int) -> Callable[[], object]:
    kept = folder / f"kept{size}"
    kept.mkdir()
    keys = np.random.default_rng(0).integers(1, 255, (size, slots.KEY), np.uint8)
    entries = np.zeros(size, slots.ENTRY)
    entries["key"] = np.frombuffer(keys.tobytes(), f"S{slots.KEY}")
    (kept / slots.INDEX).write_bytes(entries.tobytes())
    with (kept / cache.FILMS.file).open("wb") as file:
        file.truncate(size)
    (kept / slots.RECIPE).write_text(json.dumps(slots.described(Preprocessing(1).to_json())))
    wanted = np.frombuffer(keys[::-1].tobytes(), f"S{slots.KEY}")
    return lambda: cache.FilmCache(kept, Preprocessing(1))._slots.places(wanted)


def drawing_an_epoch(size: int) -> Callable[[], object]:
    targets = (np.random.default_rng(0).random((size, 30)) < np.geomspace(0.3, 0.003, 30)).astype(np.float32)
    return lambda: create("cas", targets, seed=0, num_epochs=1)(0)


def predictions_out_and_in(folder: Path, size: int) -> Callable[[], object]:
    ids = np.array([f"{index}.png" for index in range(size)], object)
    predictions = Predictions(ids, ("a", "b", "c"), np.random.default_rng(0).random((size, 3)))

    def work() -> object:
        predictions.write(folder / "p.csv")
        return Predictions.read(folder / "p.csv")

    return work


def learning(num_findings: int) -> Callable[[], object]:
    head = heads.create("csra", 320, num_findings)
    criterion = losses.create("db", [10] * num_findings, 1000)
    features, targets = torch.randn(16, 320, 7, 7), (torch.rand(16, num_findings) < 0.1).float()
    return lambda: criterion(head(features), targets).backward()


def looking_at_views(number: int) -> Callable[[], object]:
    return looking(number, 1)


def looking_with_members(number: int) -> Callable[[], object]:
    return looking(1, number)


def looking(num_views: int, num_members: int) -> Callable[[], object]:
    torch.manual_seed(0)
    models = [
        Classifier(Architecture("test_convnext", "csra"), ["a", "b"], Preprocessing(96)) for _ in range(num_members)
    ]
    batch = Batch(torch.arange(16), (torch.zeros(16, 1, 96, 96, dtype=torch.uint8),), ())
    process, views = Process(torch.device("cpu"), torch.float32, 0), VIEWS["heavy"][:num_views]
    return lambda: predict(models, [batch] * 4, process, lambda _: None, views)


Panel = tuple[str, Sequence[tuple[Curve, Curve]]]


def drawn(panels: Sequence[Panel], path: Path) -> None:
    """Log-log: a column for each of what grows, time above memory."""
    parts = []
    for number, (what, curves) in enumerate(panels):
        for row, unit in enumerate(("processor seconds", "MB")):
            parts += _panel(f"{unit} against {what}", [pair[row] for pair in curves], 60 + 330 * number, 40 + 430 * row)
    shape = f'width="{60 + 330 * len(panels)}" height="880"'
    style = 'font-family="sans-serif" font-size="12" fill="#333"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {shape} {style}>{background}{"".join(parts)}</svg>\n')


def _panel(title: str, curves: Sequence[Curve], left: int, top: int) -> list[str]:
    width, height = 250, 220
    sizes = np.log10([size for curve in curves for size in curve.sizes])
    values = np.log10([value for curve in curves for value in curve.values])
    (x0, x1), (y0, y1) = (sizes.min(), sizes.max()), (np.floor(values.min()), np.ceil(values.max() + 1e-9))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + width * (x - x0) / (x1 - x0), top + height * (y1 - y) / (y1 - y0)

    parts = [f'<text x="{left}" y="{top - 16}" font-weight="bold">{title}</text>']
    parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>')
    for power in np.arange(y0, y1 + 1):
        _, y = place(x0, power)
        parts.append(f'<path d="M{left} {y:.0f}h{width}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{10.0**power:g}</text>')
    for size in curves[0].sizes:
        x, _ = place(np.log10(size), y0)
        parts.append(f'<text x="{x:.0f}" y="{top + height + 16}" text-anchor="middle">{_short(size)}</text>')
    for index, curve in enumerate(curves):
        points = [place(*np.log10(pair)) for pair in zip(curve.sizes, curve.values, strict=True)]
        line, dash = " ".join(f"{x:.1f},{y:.1f}" for x, y in points), ("", "6 3", "2 3", "9 3 2 3")[index % 4]
        stroke = f'stroke="{("#0b66a0", "#b3541e", "#3d7a37")[index // 4]}" stroke-dasharray="{dash}" stroke-width="2"'
        parts.append(f'<polyline points="{line}" fill="none" {stroke}/>')
        y = top + height + 40 + 18 * index
        parts.append(f'<path d="M{left} {y - 4}h30" {stroke}/>')
        parts.append(f'<text x="{left + 36}" y="{y}">{curve.name} (exponent {curve.exponent:.2f})</text>')
    return parts


def _short(size: int) -> str:
    return f"{size:,}" if size < 10**4 else f"10^{round(np.log10(size))}"


def main(path: Path) -> None:
    known = path.with_suffix(".json")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        films = [
            measured("reading the ids", FILMS, partial(reading_a_csv, folder), known),
            measured("finding them in a cache", FILMS, partial(finding_in_a_cache, folder), known),
            measured("an epoch of cas", FILMS, drawing_an_epoch, known),
            measured("predictions out and in", FILMS, partial(predictions_out_and_in, folder), known),
        ]
        tables = [measured(name, FILMS, partial(ready, folder), known) for name, ready in ROWS.items()]
        findings = [measured("csra and db, a step", FINDINGS, learning, known)]
        several = [
            measured("views", (1, 2, 4, 8), looking_at_views, known),
            measured("members", (1, 2, 4, 8), looking_with_members, known),
        ]
    drawn([("films", films), ("rows", tables), ("findings", findings), ("views, members", several)], path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
