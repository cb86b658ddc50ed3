"""What ``--preset auto`` rests on besides real films: recipes in twelve worlds of phantoms, from ImageNet weights.

``python -m tests.benchmarks.worlds OUT`` trains what is not there yet, on equal budgets, and prints a row a world: mean
AP on 1,050 phantoms of other patients with an imbalance of 10. A world: how many films, how much rarer the rarest
finding is than the most frequent one, how many in a hundred positives stand at a wrong film.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.phantom.folder import PhantomRecipe, is_complete, write
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_labels
from tests.benchmarks.long_tail import cxrlt, folder_of, macro, taken

WORLDS = ((300, 10, 0), (300, 100, 10), (700, 10, 5), (700, 100, 0), (700, 1000, 10), (1500, 10, 0), (1500, 100, 5),
          (1500, 1000, 0), (3000, 100, 10), (3000, 1000, 5), (5000, 10, 5), (5000, 1000, 0))  # fmt: skip
RECIPES = {
    "linear, bce, uniform, prior bias": "--head linear --loss bce --sampler uniform --prior-bias",
    "linear, bce, cas, prior bias": "--head linear --loss bce --prior-bias --sampler cas "
    "--sampler-options epoch_length={length}",
    "linear, bce, uniform": "--preset plain",
    "linear, asl, uniform": "--head linear --loss asl --sampler uniform",
    "csra, db, cas": "--preset challenge --sampler-options epoch_length={length}",
}
TEST = PhantomRecipe(1500, 128, seed=99, imbalance=10)
BUDGET = (
    "--backbone tf_efficientnet_lite0 --weights imagenet --image-size 64 --batch-size 32 --warmup-epochs 1 "
    "--lr-head 1e-3 --lr-backbone 3e-4 --seed 1 --device cpu --precision fp32 --no-compile "
    "--workers 0 --track none --quiet"
)
STEPS = 150  # of everything, about; two to twenty epochs


def main(out: Path) -> None:
    test = drawn(out / "test", TEST)
    print(f"| films, imbalance, wrong labels | {' | '.join(RECIPES)} |\n|{' --- |' * (1 + len(RECIPES))}")
    for number, imbalance, wrong in WORLDS:
        world = out / f"{number}-{imbalance}-{wrong}"
        films = drawn(world / "films", PhantomRecipe(number_drawn(number), 128, number + wrong, imbalance))
        spoil(films, world / "labels.csv", number, wrong)
        epochs = int(np.clip(round(STEPS * 32 / (0.9 * number)), 2, 20))
        given = (
            f"--csv {world / 'labels.csv'} --image-dir {films / 'images'} --cache {world / 'cache'} --epochs {epochs}"
        )
        cells = []
        for name, recipe in RECIPES.items():
            run = world / folder_of(name, 1)
            with taken(run) as mine:
                if mine:
                    cxrlt(f"train {recipe.format(length=int(0.9 * number))} {BUDGET} {given} --out {run}")
                    cxrlt(f"infer {run}/last.safetensors --csv {test}/train.csv --image-dir {test}/images --workers 0 "
                          f"--cache {out}/test-cache --quiet --out {run}/test.csv")  # fmt: skip
            cells.append(f"{ap(run / 'test.csv', test / 'train.csv'):.3f}")
        print(f"| {number:,}, {imbalance}, {wrong} % | {' | '.join(cells)} |", flush=True)


def number_drawn(number: int) -> int:
    """Of which seven in ten are training films, some of them spoiled."""
    return round(number / 0.7) + (40 if number <= 1500 else number // 20)


def drawn(folder: Path, recipe: PhantomRecipe) -> Path:
    if not is_complete(folder, recipe):
        write(folder, recipe, 1, lambda _: None)
    return folder


def spoil(films: Path, path: Path, number: int, wrong: int) -> None:
    """The first films that are not spoiled, ``wrong`` of a hundred positives moved to a film without the finding."""
    frame = pd.read_csv(films / "train.csv")
    frame = frame[~frame["ImageID"].isin(pd.read_csv(films / "Removal.csv")["ImageID"])].head(number)
    assert len(frame) == number
    rng = np.random.default_rng(number)
    for name in CXR_LT_2026:
        values = frame[name].to_numpy().copy()
        positives, negatives = np.flatnonzero(values == 1), np.flatnonzero(values == 0)
        moved = min(rng.binomial(len(positives), wrong / 100), len(negatives))
        values[rng.choice(positives, moved, replace=False)] = 0
        values[rng.choice(negatives, moved, replace=False)] = 1
        frame[name] = values
    frame.to_csv(path, index=False)


def ap(predictions: Path, truth: Path) -> float:
    predicted = Predictions.read(predictions)
    table = read_labels(truth, findings=predicted.findings)
    return macro(average_precision_score, table.targets, predicted.rows(list(table.ids)).probabilities)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
