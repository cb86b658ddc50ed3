"""Does it help? Seven recipes on phantoms with an imbalance of 100, two of them on real films; equal budgets, 3 seeds.

``python -m tests.benchmarks.long_tail runs/study [FOLDER_WITH_labels.csv_AND_images]`` trains what is not there yet,
one ``cxrlt train`` after another, and prints the table. Two of these side by side share the work: a run is taken by
making its folder.

Training: 1,400 phantoms, 5 epochs of as many films at 96 px with convnextv2_atto from random weights. Test: 1,050
phantoms of other patients with an imbalance of 10, so that the rarest finding has enough positives to be judged.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from cxrlt_cli.data.phantom.dataset import Recipe, is_complete, write
from cxrlt_cli.data.table import read_labels
from cxrlt_cli.labels import BANDS, band
from cxrlt_cli.metrics import prevalence
from cxrlt_cli.predictions import Predictions

RECIPES = (
    ("linear", "bce", "uniform"),
    ("linear", "asl", "uniform"),
    ("csra", "bce", "uniform"),
    ("csra", "db", "uniform"),
    ("csra", "db", "cas"),
    ("csra", "ldam-drw", "uniform"),
    ("mldecoder", "asl", "uniform"),
)
ON_REAL_FILMS = (RECIPES[0], RECIPES[4])
SEEDS = (1, 2, 3)
TRAINING, TEST = Recipe(2000, 128, seed=1, imbalance=100), Recipe(1500, 128, seed=2, imbalance=10)
BUDGET = "--preset phantom --epochs 5 --workers 0 --quiet"
LENGTH = {"cas": " --sampler-options epoch_length={}"}  # in batches as many as the epochs of the others
NUM_RESAMPLES = 200


def main(out: Path, real: Path | None) -> None:
    on_real: Sequence[tuple[str, str, str]] = ON_REAL_FILMS if real else ()
    for name, phantoms in (("training", TRAINING), ("test", TEST)):
        if not is_complete(out / name, phantoms):
            write(out / name, phantoms, 2, lambda _: None)
    train_csv, test_csv = out / "training" / "train.csv", out / "test" / "train.csv"
    for seed in SEEDS:
        for recipe in RECIPES:
            run = out / "-".join((*recipe, str(seed)))
            if _take(run):
                removed = out / "training" / "Removal.csv"
                _train(run, recipe, 38, f"--seed {seed} --csv {train_csv} --exclude {removed}")
                _cxrlt(f"infer {run}/best.safetensors --csv {test_csv} --workers 0 --out {run}/test.csv")
        for recipe in on_real:
            run = out / "-".join(("real", *recipe, str(seed)))
            if _take(run):
                films = f"--csv {real}/labels.csv --image-dir {real}/images --val-fraction 0.3"
                _train(run, recipe, 15, f"--seed {seed} {films}")
    print("| phantoms, imbalance 100 | head | medium | tail | macro AP |\n| --- | --- | --- | --- | --- |")
    for recipe in RECIPES:
        runs = [out / "-".join((*recipe, str(seed))) for seed in SEEDS]
        _row(recipe, [run / "test.csv" for run in runs], test_csv, train_csv)
    for recipe in on_real:
        runs = [out / "-".join(("real", *recipe, str(seed))) for seed in SEEDS]
        assert real is not None, "there are runs on real films"
        _row(("real", *recipe), [run / "val_predictions.csv" for run in runs], real / "labels.csv", None)


def _take(run: Path) -> bool:
    try:
        run.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def _train(run: Path, recipe: Sequence[str], num_batches: int, films: str) -> None:
    head, loss, sampler = recipe
    method = f"--head {head} --loss {loss} --sampler {sampler}{LENGTH.get(sampler, '').format(32 * num_batches)}"
    _cxrlt(f"train {method} {BUDGET} {films} --out {run}")


def _cxrlt(arguments: str) -> None:
    print(f"cxrlt {arguments}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "cxrlt_cli", *arguments.split()], check=True, stdout=subprocess.DEVNULL)


def _row(
    recipe: Sequence[str],
    files: Sequence[Path],
    truth_csv: Path,
    train_csv: Path | None,
) -> None:
    """Means over the seeds, with 95 % intervals from resampling test patients and seeds together."""
    ready = [file for file in files if file.exists()]
    if not ready:
        return
    rng = np.random.default_rng(0)
    values = []
    for file in ready:
        predictions = Predictions.read(file)
        truth = read_labels(truth_csv, findings=predictions.findings)
        row = {film: index for index, film in enumerate(truth.ids)}
        frequencies = prevalence(read_labels(train_csv or truth_csv, findings=predictions.findings).targets)
        bands = np.array([band(share) for share in frequencies])
        truth = truth.rows(np.array([row[film] for film in predictions.ids]))
        values.append((predictions.probabilities, truth.targets, truth.patients, bands))
    estimate = np.mean([_band_means(p, y, bands) for p, y, _, bands in values], axis=0)
    resampled = []
    for _ in range(NUM_RESAMPLES):
        chosen = [values[index] for index in rng.integers(0, len(values), len(values))]
        means = []
        for p, y, patients, bands in chosen:
            names, member = np.unique(patients.astype(str), return_inverse=True)
            times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))[member]
            rows = np.repeat(np.arange(len(y)), times)
            means.append(_band_means(p[rows], y[rows], bands))
        resampled.append(np.nanmean(means, axis=0))
    low, high = np.nanpercentile(resampled, (2.5, 97.5), axis=0)
    cells = [f"{e:.3f} ({a:.3f} to {b:.3f})" for e, a, b in zip(estimate, low, high, strict=True)]
    print(f"| {' + '.join(recipe)} | {' | '.join(cells)} |", flush=True)


def _band_means(probabilities: np.ndarray, targets: np.ndarray, bands: np.ndarray) -> list[float]:
    """Mean AP of the findings of each band that have a positive, and of all."""
    aps = np.array(
        [average_precision_score(y, p) if y.any() else np.nan for p, y in zip(probabilities.T, targets.T, strict=True)]
    )
    groups = [aps[bands == name] for name in BANDS] + [aps]
    return [float(np.nanmean(group)) if np.isfinite(group).any() else float("nan") for group in groups]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
