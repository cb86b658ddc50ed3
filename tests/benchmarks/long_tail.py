"""Does it help? Recipes on real films, out of fold by patient, from ImageNet weights; equal budgets.

``python -m tests.benchmarks.long_tail OUT FILMS [SEED,... [RECIPE ...]]`` trains what is not there yet, one ``cxrlt
train --folds 5`` after another, and prints the table. FILMS: a folder with labels.csv and images/. Two of these side by
side share the work: a run is taken by making its folder. All seeds have the same folds; a member is its last epoch, so
that nothing is chosen on the films that judge.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlt_cli.scores.bootstrap import Interval, resample
from cxrlt_cli.scores.intervals import NORMAL, Student, interval, signed_interval
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.spread import SeedVariance, over_seeds, student_of_seeds
from cxrlt_cli.tables.label_table import LabelTable, read_labels

RECIPES = {
    "linear, bce, uniform, prior bias (auto)": "--preset auto",
    "linear, bce, uniform": "--preset plain",
    "csra, db, cas (challenge)": "--preset challenge --sampler-options epoch_length=569",
    "linear, asl, uniform": "--head linear --loss asl --sampler uniform",
    "linear, db, uniform": "--head linear --loss db --sampler uniform",
    "csra, bce, uniform, prior bias": "--head csra --loss bce --sampler uniform --prior-bias",
    "linear, bce, cas": "--head linear --loss bce --no-prior-bias --sampler cas --sampler-options epoch_length=569",
}
BASE = "linear, bce, uniform"
BUDGET = (
    "--backbone tf_efficientnet_lite0 --weights imagenet --image-size 96 --batch-size 32 --warmup-epochs 2 --epochs 8 "
    "--lr-head 1e-3 --lr-backbone 3e-4 --folds 5 --split-seed 1 --device cpu --precision fp32 --no-compile --workers 0 "
    "--track none --quiet"
)
NUM_RESAMPLES = 1000

Doubles = NDArray[np.float64]


def main(out: Path, films: Path, seeds: Sequence[int], names: Sequence[str]) -> None:
    study(out, films, seeds, {name: RECIPES[name] for name in names}, BUDGET)


def study(out: Path, films: Path, seeds: Sequence[int], recipes: Mapping[str, str], budget: str) -> None:
    """Train what is not there yet, and print the table."""
    csv = films / "labels.csv"
    for seed in seeds:
        for name, recipe in recipes.items():
            given = f"--csv {csv} --image-dir {films / 'images'} --cache {out / 'cache'} --seed {seed}"
            run = out / folder_of(name, seed)
            with taken(run) as mine:
                if mine:
                    cxrlt(f"train {recipe} {budget} {given} --out {run}")
    print(
        "| recipe | seeds | macro AP | less the base | AUROC | less the base |\n| --- | --- | --- | --- | --- | --- |"
    )
    table = read_labels(csv)
    base = judged(out, BASE, table)
    for name in recipes:
        print(row(name, judged(out, name, table), base), flush=True)


def folder_of(name: str, seed: int) -> str:
    return "-".join([*re.findall("[a-z]+", name), str(seed)])


@contextmanager
def taken(run: Path) -> Iterator[bool]:
    """Whether this is left to run: who makes its folder runs it. One that fails is removed, and stops the study."""
    try:
        run.mkdir(parents=True)
    except FileExistsError:
        yield False
        return
    try:
        yield True
    except BaseException:
        shutil.rmtree(run)
        raise


def cxrlt(arguments: str) -> None:
    print(f"cxrlt {arguments}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "cxrlt_cli", *arguments.split()], check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True)
class Judged:
    """Macro AP and AUROC of each seed ``[S]``, and on the same resamples of patients ``[S, R]``."""

    seeds: tuple[int, ...]
    values: dict[str, Doubles]
    resampled: dict[str, Doubles]


def judged(out: Path, name: str, table: LabelTable) -> Judged:
    """Of the seeds that are there, in order of number."""
    numbers = {int(path.parent.name.rpartition("-")[2]) for path in out.glob("*/oof_predictions.csv")}
    paths = {number: out / folder_of(name, number) / "oof_predictions.csv" for number in numbers}
    runs = {number: path for number, path in paths.items() if path.exists()}
    seeds = tuple(sorted(runs))
    assert seeds, f"{name} is not there yet"
    members = [Predictions.read(runs[seed]).select(table.space.findings).rows(list(table.ids)) for seed in seeds]
    probabilities = [member.probabilities for member in members]
    drawn = resample(table.targets, probabilities, table.patients, NUM_RESAMPLES, seed=0, num_threads=2)
    return Judged(seeds, {"ap": np.array([macro(average_precision_score, table.targets, one) for one in probabilities]),
                          "auroc": np.array([macro(roc_auc_score, table.targets, one) for one in probabilities])},
                  {"ap": np.stack([one.macro_ap() for one in drawn]),
                   "auroc": np.stack([one.macro_auroc() for one in drawn])})  # fmt: skip


def macro(score: Callable[..., float], targets: NDArray[Any], probabilities: NDArray[Any]) -> float:
    pairs = zip(targets.T, probabilities.T, strict=True)
    return float(np.mean([score(y, p) for y, p in pairs if 0 < y.sum() < len(y)]))


def row(name: str, mine: Judged, base: Judged) -> str:
    """Means over seeds, with 95 % intervals over seeds and patients; differences on the seeds that both have."""
    cells = [name, ", ".join(map(str, mine.seeds))]
    both = sorted(set(mine.seeds) & set(base.seeds))
    here, there = ([one.seeds.index(seed) for seed in both] for one in (mine, base))
    for metric in ("ap", "auroc"):
        cells.append(told(mine.values[metric], mine.resampled[metric], "", interval))
        less = mine.values[metric][here] - base.values[metric][there]
        drawn = mine.resampled[metric][here] - base.resampled[metric][there]
        cells.append("-" if mine is base or name == BASE else told(less, drawn, "+", signed_interval))
    return f"| {' | '.join(cells)} |"


def told(
    values: Doubles, resampled: Doubles, sign: str, interval_of: Callable[[Doubles, float, Student], Interval | None]
) -> str:
    mean = float(values.mean())
    drawn, student = resampled[0], NORMAL
    if len(values) > 1:
        drawn = over_seeds(list(resampled), 0)
        student = student_of_seeds(NORMAL, resampled.mean(axis=0), [SeedVariance.of(list(resampled))])
    held = interval_of(drawn, mean, student)
    assert held is not None
    return f"{mean:{sign}.3f} ({held[0]:{sign}.3f} to {held[1]:{sign}.3f})"


if __name__ == "__main__":
    given = sys.argv[3:]
    numbers = [int(seed) for seed in given[0].split(",")] if given else [1, 2, 3]
    main(Path(sys.argv[1]), Path(sys.argv[2]), numbers, given[1:] or list(RECIPES))
