"""Are wrong labels found, and is it worth correcting them? 1,500 phantoms, of whose labels some were made wrong.

``python -m tests.benchmarks.wrong_labels OUT`` draws and trains what is not there yet, from ImageNet weights, and
prints two tables. Labels are made wrong in two ways: one of twenty labels turned, whatever it is; one of twenty
positives moved to a film without the finding. Predictions are out of fold, of models that learned from the turned
labels; they are held against those, the moved ones, and the right ones. Then models of five seeds learn from all films
with the turned labels, and with the first 2 % of the suspects corrected as a reader would who sees everything; they are
scored on 3,150 phantoms of other patients: on all findings, and on those of which 20 labels or more were corrected.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score

from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.phantom.folder import PhantomRecipe
from cxrlt_cli.scores.bootstrap import resample
from cxrlt_cli.scores.calibration import EDGE, Calibration
from cxrlt_cli.scores.intervals import signed_interval
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.suspects import suspicion
from cxrlt_cli.tables.label_table import read_labels
from tests.benchmarks.long_tail import cxrlt, macro, taken, told
from tests.benchmarks.worlds import drawn, number_drawn, spoil

NUMBER, WRONG = 1500, 0.05
SHARES = (0.01, 0.02, 0.05)  # of all labels, the most suspect first
CORRECTED, MANY = 0.02, 20
SEEDS = (1, 2, 3, 4, 5)
TEST = PhantomRecipe(4500, 128, seed=99, imbalance=10)  # 3,150 films of other patients
BUDGET = (
    "--backbone tf_efficientnet_lite0 --weights imagenet --image-size 96 --batch-size 32 --warmup-epochs 1 --epochs 8 "
    "--lr-head 1e-3 --lr-backbone 1e-3 --device cpu --precision fp32 --no-compile --workers 0 --track none --quiet"
)

Doubles = NDArray[np.float64]


def main(out: Path) -> None:
    films = drawn(out / "films", PhantomRecipe(number_drawn(NUMBER), 128, NUMBER + 5, 10))
    if not (out / "turned.csv").exists():
        spoil(films, out / "truth.csv", NUMBER, 0)
        spoil(films, out / "moved.csv", NUMBER, round(100 * WRONG))
        turn(out / "truth.csv", out / "turned.csv")
    budget = f"{BUDGET} --image-dir {films / 'images'} --cache {out / 'cache'}"
    with taken(out / "run-turned") as mine:
        if mine:
            cxrlt(f"train --csv {out / 'turned.csv'} --folds 5 --seed 1 {budget} --out {out / 'run-turned'}")
    found(out, Predictions.read(out / "run-turned" / "oof_predictions.csv"))
    corrected(out, f"{budget} --val-csv {films / 'test_task1_truth.csv'}")


def found(out: Path, predictions: Predictions) -> None:
    """The first table, and the answers of a reader."""
    tables = {
        world: read_labels(out / f"{world}.csv").select(predictions.findings) for world in ("turned", "moved", "truth")
    }
    truth = tables["truth"].targets.astype(float)
    predictions = predictions.rows(list(tables["truth"].ids))
    heads = [f"first {100 * share:g} %: precision, recall" for share in SHARES]
    print(f"| labels | ranked by | wrong | {' | '.join(heads)} | said to be wrong |\n|{' --- |' * 7}")
    for world, table in tables.items():
        given = table.targets.astype(float)
        for name, suspect, number in rankings(predictions, given, table.patients):
            print(row(world, name, suspect, given != truth, number), flush=True)
    correct(out, predictions, truth, tables["turned"].targets.astype(float), tables["turned"].patients)


def corrected(out: Path, budget: str) -> None:
    """The second table, of means over seeds; intervals are over seeds and patients."""
    test = drawn(out / "test", TEST)
    members: dict[str, list[Predictions]] = {}
    for seed in SEEDS:
        for name, labels in LEARNED.items():
            run = out / f"learned-{name}-{seed}"
            with taken(run) as mine:
                if mine:
                    cxrlt(f"train {labels.format(out)} {budget} --seed {seed} --out {run}")
                    cxrlt(f"infer {run}/last.safetensors --csv {test}/train.csv --image-dir {test}/images --workers 0 "
                          f"--cache {out}/test-cache --quiet --out {run}/test.csv")  # fmt: skip
            members.setdefault(name, []).append(Predictions.read(run / "test.csv"))
    findings = members["turned"][0].findings
    numbers = changed(out)
    many = [name for name in findings if numbers.get(name, 0) >= MANY]
    print("\n| findings | macro AP, turned | corrected | difference |\n| --- | --- | --- | --- |")
    for told_as, some in (("all", findings), (f"with {MANY} labels or more corrected", many)):
        truth = read_labels(test / "train.csv", findings=some)
        ap, drawn_ap = {}, {}
        for name, models in members.items():
            films = [one.select(some).rows(list(truth.ids)).probabilities for one in models]
            ap[name] = np.array([macro(average_precision_score, truth.targets, one) for one in films])
            drawn_ap[name] = np.stack([one.macro_ap() for one in resample(truth.targets, films, truth.patients, 1000)])
        gain, drawn_gain = (both["corrected"] - both["turned"] for both in (ap, drawn_ap))
        cells = [f"{ap[name].mean():.3f}" for name in LEARNED]
        print(f"| {told_as} ({len(some)}) | {' | '.join(cells)} | {told(gain, drawn_gain, '+', signed_interval)} |")


LEARNED = {
    "turned": "--csv {0}/turned.csv",
    "corrected": "--csv {0}/turned.csv --corrections {0}/corrections.csv",
}


def changed(out: Path) -> dict[str, int]:
    """How many labels of each finding the corrections change."""
    answers, given = (pd.read_csv(out / name) for name in ("corrections.csv", "turned.csv"))
    before = given.set_index("ImageID")
    other = [before.at[film, name] != label for film, name, label in answers.itertuples(index=False)]
    return {str(name): int(number) for name, number in answers[other]["finding"].value_counts().items()}


def turn(truth: Path, path: Path) -> None:
    """One of twenty labels, whatever it is, made the other one."""
    frame = pd.read_csv(truth, dtype={"PatientID": str})
    rng = np.random.default_rng(5)
    for name in CXR_LT_2026:
        values = frame[name].to_numpy()
        frame[name] = np.where(rng.random(len(values)) < WRONG, 1 - values, values)
    frame.to_csv(path, index=False)


def rankings(predictions: Predictions, given: Doubles, patients: NDArray[Any]) -> Iterator[tuple[str, Doubles, str]]:
    """Ways to say how suspect each label is, ``[N, C]``, and how many are said to be wrong."""
    p = predictions.probabilities
    yield "self-confidence", np.where(given == 1, 1 - p, p), "-"
    platt = Calibration.fit(predictions, given).calibrate(predictions, "platt").probabilities
    yield "self-confidence, Platt", np.where(given == 1, 1 - platt, platt), "-"
    off = confident_joint(given, p)
    yield "confident learning", off.astype(float) + np.where(given == 1, 1 - p, p), f"{off.sum():,}"
    alike = logit(np.clip(platt, EDGE, 1 - EDGE)) - logit(given.mean(axis=0))
    yield "odds against prevalence", expit(np.where(given == 1, -alike, alike)), "-"
    found = suspicion(given, p, patients, 200)
    assert found.interval is not None
    low, high = found.interval
    yield "suspicion (cxrlt)", found.wrong, f"{found.total:,.0f} ({low:,.0f} to {high:,.0f})"


def confident_joint(given: Doubles, p: Doubles) -> NDArray[np.bool_]:
    """Labels off the diagonal of each finding's confident joint (Northcutt et al. 2021) that are the less probable.

    As cleanlab 2.9 counts them: 2,315 of the turned labels, 860 of the moved ones, 719 of the right ones.
    """
    off = np.zeros(given.shape, bool)
    for c in range(given.shape[1]):
        y, q = given[:, c], np.stack([1 - p[:, c], p[:, c]])
        limits = np.array([q[label, y == label].mean() for label in (0, 1)])
        confident = np.where(q >= limits[:, None], q, -1)
        guess = np.where(confident.max(axis=0) < 0, -1, confident.argmax(axis=0))
        off[:, c] = (guess >= 0) & (guess != y) & (np.where(y == 1, q[1], q[0]) < 0.5)
    return off


def row(world: str, name: str, suspect: Doubles, wrong: NDArray[np.bool_], number: str) -> str:
    order = np.argsort(-suspect.ravel(), kind="stable")
    hits = wrong.ravel()[order]
    cells = []
    for share in SHARES:
        first = hits[: int(share * len(hits))]
        cells.append(f"{first.mean():.2f}, {first.sum() / max(hits.sum(), 1):.2f}")
    return f"| {world} | {name} | {hits.sum():,} | {' | '.join(cells)} | {number} |"


def correct(out: Path, predictions: Predictions, truth: Doubles, given: Doubles, patients: NDArray[Any]) -> None:
    """The truth of the most suspect labels, for ``--corrections``."""
    order = np.argsort(-suspicion(given, predictions.probabilities, patients).wrong.ravel(), kind="stable")
    rows, columns = np.unravel_index(order[: int(CORRECTED * given.size)], given.shape)
    frame = pd.DataFrame({"ImageID": predictions.ids[rows], "finding": np.array(predictions.findings)[columns],
                          "label": truth[rows, columns].astype(int)})  # fmt: skip
    frame.to_csv(out / "corrections.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
