"""Makers of small inputs, and a reporter that remembers."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cxrlt_cli.config import EnsembleOptions
from cxrlt_cli.engine.reporter import Advance, EpochSummary, Reporter
from cxrlt_cli.engine.sharding import named_by_shard
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.scores.metrics import Comparison, Scores
from cxrlt_cli.scores.predictions import Predictions

GOLDEN = Path(__file__).parent / "golden"
FINDINGS = ("Normal", "effusion", "nodule")


def golden() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / "methods.json").read_text())
    return content


def flipped(data: bytes, number: int, seed: int = 0) -> Iterator[bytes]:
    """``data`` again and again, each time with another single bit of it turned."""
    rng = np.random.default_rng(seed)
    for bit in rng.integers(0, 8 * len(data), number).tolist():
        spoilt = bytearray(data)
        spoilt[bit // 8] ^= 1 << bit % 8
        yield bytes(spoilt)


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def made_up_film(labels: Sequence[int], seed: int, size: int = 64) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Grey noise; an effusion brightens the lower third, a nodule is a bright disc."""
    rng = np.random.default_rng(seed)
    film = rng.normal(90, 12, (size, size))
    if labels[1]:
        film[2 * size // 3 :] += 90
    if labels[2]:
        rows, columns = np.ogrid[:size, :size]
        center = rng.integers(size // 4, size // 2, 2)
        film[(rows - center[0]) ** 2 + (columns - center[1]) ** 2 < (size // 8) ** 2] += 110
    return np.clip(film, 0, 255).astype(np.uint8)


def make_films(folder: Path, num_films: int = 48, films_per_patient: int = 2, first: int = 0) -> Path:
    """A folder ``images/`` of made-up films and a ``labels.csv`` beside it; the CSV's path.

    ``first``: the number of the first film; those of other numbers are of other patients.
    """
    (folder / "images").mkdir(parents=True)
    rows = []
    rng = np.random.default_rng(0)
    for index in range(first, first + num_films):
        sick = rng.random(2) < (0.5, 0.3)
        labels = (int(not sick.any()), *(int(value) for value in sick))
        cv2.imwrite(str(folder / "images" / f"film{index:03d}.png"), made_up_film(labels, index))
        rows.append((f"film{index:03d}.png", f"{10**38 + index // films_per_patient}", "PA", 40 + index, *labels))
    header = ("ImageID", "PatientID", "ViewPosition", "Age", *FINDINGS)
    return write_csv(folder / "labels.csv", header, rows)


class Recorder:
    """A Reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.next_steps: list[str] = []
        self.warnings: list[str] = []
        self.plans: list[Mapping[str, str]] = []
        self.epochs: list[EpochSummary] = []
        self.tables: list[Scores] = []
        self.comparisons: list[Comparison] = []
        self.results: list[str] = []
        self.texts: list[list[tuple[str, ...]]] = []
        self.advanced: dict[str, int] = {}

    def remote(self) -> "Callable[[], Recorder]":
        return Recorder

    def note(self, message: str) -> None:
        (self.next_steps if message.startswith("Next: ") else self.notes).append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def plan(self, title: str, facts: Mapping[str, str]) -> None:
        self.plans.append(facts)

    @contextmanager
    def progress(self, description: str, total: int, unit: str = "films") -> Iterator[Advance]:
        def advance(number: int) -> None:
            self.advanced[description] = self.advanced.get(description, 0) + number

        yield advance

    def epoch(self, summary: EpochSummary) -> None:
        self.epochs.append(summary)

    def scores(self, title: str, scores: Scores) -> None:
        self.tables.append(scores)

    def comparison(self, first: str, second: str, comparison: Comparison) -> None:
        self.comparisons.append(comparison)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.texts.append([tuple(columns), *map(tuple, rows)])

    def result(self, message: str) -> None:
        self.results.append(message)


def head_of(model: Classifier) -> Any:
    """Its head, whatever it is made of."""
    return model.head


def ensemble(options: EnsembleOptions, reporter: Reporter) -> Predictions | None:
    """What ``cxrlt ensemble`` writes; None after a dry run, and of a ``--soup``."""
    from cxrlt_cli.verbs.ensemble import ensemble as carry_out

    carry_out(options, reporter)
    if options.dry_run or options.soup is not None:
        return None
    named = named_by_shard(options, ("out", "decisions"))
    return Predictions.read(named.out, options.id_column if options.per_study is None else options.study_column)
