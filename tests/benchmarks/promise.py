"""``python -m tests.benchmarks.promise PREDICTIONS LABELS``: is "at most 10 % missed" kept as often as promised?

Simulated hospitals first (tests/scores/hospitals.py), where the truth is known. Then real films, in two ways: patients
are drawn with replacement and judged by all, of whom the share of missed ones is known; and patients are split
again and again, three quarters to fit and a quarter to judge, where the quarter has luck of its own: what theory
expects of it, by the beta-binomial, stands beside. Takes a minute.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.stats import betabinom

from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.risk_control import highest_threshold, lowest_scores, most_missed
from cxrlt_cli.tables.label_table import read_labels
from tests.scores.hospitals import PROMISES, SEPARATIONS, outcome

NUM_SPLITS, NUM_HOSPITALS = 2000, 1000
MISS = 0.1
LEAST = 45  # patients with a finding


def simulated() -> None:
    rng = np.random.default_rng(0)
    print(
        "| separation | promise | kept | missed | specificity | of the oracle |\n| --- | --- | --- | --- | --- | --- |"
    )
    for separation in SEPARATIONS:
        for miss, sure in PROMISES:
            found = outcome(NUM_HOSPITALS, separation, miss, sure, rng)
            kept = f"{100 * (1 - found.broken / NUM_HOSPITALS):.1f} %"
            cells = f"{100 * found.missed:.1f} % | {found.specificity:.2f} | {found.oracle:.2f}"
            print(f"| {separation:g} | {100 * miss:g} % missed, {100 * sure:g} % sure | {kept} | {cells} |")


def on_films(predictions: Path, labels: Path) -> None:
    given, table = Predictions.read(predictions), read_labels(labels)
    given = given.rows(list(table.ids)).select(table.space.findings)
    print(
        "| finding | patients | sure | kept, all patients | a quarter | expected of it | no threshold | specificity |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for column, name in enumerate(given.findings):
        targets, scores = table.targets[:, column], given.probabilities[:, column]
        lowest = lowest_scores(targets, scores, table.patients)
        if len(lowest) < LEAST:
            continue
        for sure in (0.95, 0.8):
            rng = np.random.default_rng(0)
            print(f"| {name} | {len(lowest)} | {100 * sure:g} % | {_drawn(lowest, sure, rng):.3f} | ", end="")
            kept, expected, without, specificity = _split(targets, scores, table.patients, sure, rng)
            print(f"{kept:.3f} | {expected:.3f} | {100 * without:.0f} % | {specificity:.2f} |", flush=True)


def _drawn(lowest: np.ndarray, sure: float, rng: np.random.Generator) -> float:
    """How often the promise is kept of the patients that these were drawn from."""
    kept = 0
    for _ in range(NUM_SPLITS):
        threshold = highest_threshold(np.sort(rng.choice(lowest, len(lowest))), MISS, sure).threshold
        kept += threshold is None or (lowest < threshold).mean() <= MISS
    return kept / NUM_SPLITS


def _split(
    targets: np.ndarray, scores: np.ndarray, patients: np.ndarray, sure: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """How often at most ``MISS`` of the others were missed, and were to be; how often there was no threshold."""
    names, place = np.unique(patients.astype(str), return_inverse=True)
    kept, expected, specificities = [], [], []
    for _ in range(NUM_SPLITS):
        mine = rng.permutation(len(names))[place] < 3 * len(names) // 4
        fitted = lowest_scores(targets[mine], scores[mine], patients[mine])
        others = lowest_scores(targets[~mine], scores[~mine], patients[~mine])
        threshold = highest_threshold(fitted, MISS, sure).threshold
        if threshold is None:
            continue
        allowed, most = most_missed(len(fitted), MISS, sure), int(MISS * len(others) + 1e-9)
        kept.append(int((others < threshold).sum()) <= most)
        expected.append(betabinom.cdf(most, len(others), allowed + 1, len(fitted) - allowed))
        specificities.append((scores[~mine & (targets == 0)] < threshold).mean())
    without = 1 - len(kept) / NUM_SPLITS
    return float(np.mean(kept)), float(np.mean(expected)), without, float(np.mean(specificities))


if __name__ == "__main__":
    simulated()
    on_films(Path(sys.argv[1]), Path(sys.argv[2]))
