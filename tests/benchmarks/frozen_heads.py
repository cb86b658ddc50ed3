"""Ten recipes on features of a frozen backbone: how good they are out of fold, and how long all of them take.

``python -m tests.benchmarks.frozen_heads OUT FILMS [SEED,...]`` trains what is not there yet, from ImageNet weights,
and prints the table of ``tests.benchmarks.long_tail`` and the seconds. FILMS: a folder with labels.csv and images/.
"""

import sys
import time
from pathlib import Path

from tests.benchmarks.long_tail import BASE, study

AVERAGED = {
    "linear, bce, uniform, prior bias (auto)": "--preset auto",
    BASE: "--preset plain",
    "linear, bce, cas, prior bias": "--head linear --loss bce --prior-bias --sampler cas "
    "--sampler-options epoch_length=569",
    "linear, asl, uniform": "--head linear --loss asl --sampler uniform",
    "linear, db, uniform": "--head linear --loss db --sampler uniform",
    "mlp, bce, uniform, prior bias": "--head mlp --loss bce --sampler uniform --prior-bias",
}
MAPS = {
    "csra, bce, uniform, prior bias": "--head csra --loss bce --sampler uniform --prior-bias",
    "csra, asl, uniform": "--head csra --loss asl --sampler uniform",
    "csra, db, cas (challenge)": "--preset challenge --sampler-options epoch_length=569",
    "csra, bce, cas, prior bias": "--head csra --loss bce --prior-bias --sampler cas "
    "--sampler-options epoch_length=569",
}
BUDGET = (
    "--backbone tf_efficientnet_lite0 --weights imagenet --image-size 224 --batch-size 32 --frozen --epochs 20 "
    "--folds 5 --split-seed 1 --device cpu --precision fp32 --workers 0 --track none --quiet"
)


def main(out: Path, films: Path, seeds: list[int]) -> None:
    recipes = {
        name: f"{recipe} --features {out / kind}"
        for kind, some in (("averaged", AVERAGED), ("maps", MAPS))
        for name, recipe in some.items()
    }
    start = time.perf_counter()
    study(out, films, seeds, recipes, BUDGET)
    print(f"{len(recipes) * len(seeds)} times 5 heads: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    numbers = [int(seed) for seed in sys.argv[3].split(",")] if len(sys.argv) > 3 else [1]
    main(Path(sys.argv[1]), Path(sys.argv[2]), numbers)
