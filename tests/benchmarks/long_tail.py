"""Does it help? Seven recipes on phantoms with an imbalance of 100, two of them on real films; equal budgets, 3 seeds.

``python -m tests.benchmarks.long_tail runs/study [FOLDER_WITH_labels.csv_AND_images]`` trains what is not there yet,
one ``cxrlt train`` after another, and prints the table. Two of these side by side share the work: a run is taken by
making its folder.

Training: 1,400 phantoms, 5 epochs of as many films at 96 px with convnextv2_atto from random weights. Test: 1,050
phantoms of other patients with an imbalance of 10, so that the rarest finding has enough positives to be judged.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from cxrlt_cli.labels import BANDS, band
from cxrlt_cli.phantom.folder import PhantomRecipe, is_complete, write
from cxrlt_cli.scores.bootstrap import interval, resample
from cxrlt_cli.scores.metrics import prevalence
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_labels

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
TRAINING, TEST = PhantomRecipe(2000, 128, seed=1, imbalance=100), PhantomRecipe(1500, 128, seed=2, imbalance=10)
BUDGET = "--preset phantom --epochs 5 --workers 0 --quiet"
LENGTH = {"cas": " --sampler-options epoch_length={}"}  # in batches as many as the epochs of the others
NUM_RESAMPLES = 500


def main(out: Path, real: Path | None) -> None:
    for name, phantoms in (("training", TRAINING), ("test", TEST)):
        if not is_complete(out / name, phantoms):
            write(out / name, phantoms, 2, lambda _: None)
    train_csv, test_csv = out / "training" / "train.csv", out / "test" / "train.csv"
    films = f"--csv {train_csv} --exclude {out / 'training' / 'Removal.csv'}"
    for seed in SEEDS:
        for recipe in RECIPES:
            _run(out, recipe, 38, f"--seed {seed} {films}", f"--csv {test_csv}", seed)
        if real is not None:
            for recipe in ON_REAL_FILMS:
                own, held_out = _split(out, real / "labels.csv", seed)
                images = f"--image-dir {real}/images"
                _run(
                    out / "real", recipe, 15, f"--seed {seed} --csv {own} {images}", f"--csv {held_out} {images}", seed
                )
    print("| phantoms, imbalance 100 | head | medium | tail | macro AP |\n| --- | --- | --- | --- | --- |")
    for recipe in RECIPES:
        _row(recipe, out, [test_csv] * len(SEEDS), train_csv)
    if real is not None:
        print("| real films | head | medium | tail | macro AP |\n| --- | --- | --- | --- | --- |")
        for recipe in ON_REAL_FILMS:
            _row(
                recipe, out / "real", [_split(out, real / "labels.csv", seed)[1] for seed in SEEDS], real / "labels.csv"
            )


def _run(out: Path, recipe: Sequence[str], num_batches: int, films: str, test: str, seed: int) -> None:
    """Train and predict, unless somebody has or does; a run that failed is removed and stops the study."""
    run = out / "-".join((*recipe, str(seed)))
    try:
        run.mkdir(parents=True)
    except FileExistsError:
        return
    try:
        _train(run, recipe, num_batches, films)
        _cxrlt(f"infer {run}/best.safetensors {test} --workers 0 --out {run}/test.csv")
    except subprocess.CalledProcessError:
        shutil.rmtree(run)
        raise


def _split(out: Path, labels: Path, seed: int) -> tuple[Path, Path]:
    """The real films in two by patient: to train on, and a third that no run ever sees."""
    frame = pd.read_csv(labels, dtype=str)
    table = read_labels(labels)
    _, held_out = table.split(0.3, seed)
    paths = out / f"real-{seed}.csv", out / f"real-{seed}-test.csv"
    is_test = frame["ImageID"].isin(set(held_out.ids))
    for path, rows in zip(paths, (frame[~is_test], frame[is_test]), strict=True):
        rows.to_csv(path, index=False)
    return paths


def _train(run: Path, recipe: Sequence[str], num_batches: int, films: str) -> None:
    head, loss, sampler = recipe
    method = f"--head {head} --loss {loss} --sampler {sampler}{LENGTH.get(sampler, '').format(32 * num_batches)}"
    _cxrlt(f"train {method} {BUDGET} {films} --out {run}")


def _cxrlt(arguments: str) -> None:
    print(f"cxrlt {arguments}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "cxrlt_cli", *arguments.split()], check=True, stdout=subprocess.DEVNULL)


def _row(recipe: Sequence[str], out: Path, truths: Sequence[Path], train_csv: Path) -> None:
    """Means over the seeds, with 95 % intervals from resampling test patients and seeds together.

    Seeds that were tested on the same films share their resamples of patients.
    """
    files = [out / "-".join((*recipe, str(seed))) / "test.csv" for seed in SEEDS]
    missing = [str(file) for file in files if not file.exists()]
    assert not missing, f"not there yet: {missing}"
    seeds = []
    for file, truth_csv in zip(files, truths, strict=True):
        predictions = Predictions.read(file)
        truth = read_labels(truth_csv, findings=predictions.findings)
        row = {film: index for index, film in enumerate(truth.ids)}
        truth = truth.rows(np.array([row[film] for film in predictions.ids]))
        shares = prevalence(read_labels(train_csv, findings=predictions.findings).targets)
        bands = np.array([band(share) for share in shares])
        aps = resample(truth.targets, [predictions.probabilities], truth.patients, NUM_RESAMPLES, seed=0)[0].ap
        ones = [
            average_precision_score(y, p) if y.any() else np.nan
            for y, p in zip(truth.targets.T, predictions.probabilities.T, strict=True)
        ]
        seeds.append((_band_means(np.array([ones]), bands)[0], _band_means(aps, bands)))
    estimates = np.mean([one for one, _ in seeds], axis=0)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(seeds), (NUM_RESAMPLES, len(seeds)))
    values = np.stack([resampled for _, resampled in seeds])
    mixed = np.nanmean(values[drawn, np.arange(NUM_RESAMPLES)[:, None]], axis=1)
    cells = []
    for column, estimate in enumerate(estimates):
        bounds = interval(mixed[:, column], float(estimate))
        cells.append("-" if bounds is None else f"{estimate:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f})")
    print(f"| {' + '.join(recipe)} | {' | '.join(cells)} |", flush=True)


def _band_means(aps: NDArray[np.float64], bands: NDArray[np.str_]) -> NDArray[np.float64]:
    """``[R, C]`` to ``[R, 4]``: mean AP of the findings of each band that have a positive, and of all."""
    groups = [aps[:, bands == name] for name in BANDS] + [aps]
    sums = [np.nansum(group, axis=1) / np.maximum(np.isfinite(group).sum(axis=1), 1) for group in groups]
    known = [np.isfinite(group).any(axis=1) for group in groups]
    return np.where(np.stack(known, axis=1), np.stack(sums, axis=1), np.nan)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
