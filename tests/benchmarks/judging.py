"""1,000 resamples of patients for the intervals of AP and AUROC: ours against scikit-learn in a loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlt_cli.machine import keep_freed_memory, num_cores
from cxrlt_cli.scores.bootstrap import resample
from tests.benchmarks.harness import Benchmark

NUM_FILMS, NUM_PATIENTS, NUM_FINDINGS = 10_000, 4_000, 30


def scores() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    patients = rng.integers(0, NUM_PATIENTS, NUM_FILMS)
    prevalences = np.geomspace(0.3, 0.003, NUM_FINDINGS)
    targets = (rng.random((NUM_FILMS, NUM_FINDINGS)) < prevalences).astype(float)
    return targets, 1 / (1 + np.exp(-(targets * 1.5 + rng.normal(0, 1, targets.shape)))), patients


def loop(_: Path) -> Callable[[], int]:
    """Five resamples: their time is that of any."""
    targets, probabilities, patients = scores()
    rng = np.random.default_rng(0)
    films = [np.flatnonzero(patients == patient) for patient in range(NUM_PATIENTS)]

    def once() -> int:
        for _ in range(5):
            chosen = np.concatenate([films[patient] for patient in rng.integers(0, NUM_PATIENTS, NUM_PATIENTS)])
            for finding in range(NUM_FINDINGS):
                labels, values = targets[chosen, finding], probabilities[chosen, finding]
                average_precision_score(labels, values)
                roc_auc_score(labels, values)
        return 5

    return once


def ours(_: Path) -> Callable[[], int]:
    keep_freed_memory()
    targets, probabilities, patients = scores()

    def once() -> int:
        resample(targets, [probabilities], patients, 1000, num_threads=num_cores())
        return 1000

    return once


BENCHMARKS = (Benchmark("evaluate, resamples of patients", "resamples/s", loop, ours, 40),)
