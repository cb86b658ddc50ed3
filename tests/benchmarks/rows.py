"""Whole commands on tables of so many rows: 15 findings, ids of 36 characters, two films a patient.

``evaluate`` draws as many resamples as are held at once. ``ensemble`` is of two prediction CSVs; of checkpoints, what
they said of all films is on the disk already (three members, six views), and what remains is the blend.
"""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from cxrlt_cli.config import (
    CalibrateOptions,
    DataCheckOptions,
    DataImportOptions,
    EnsembleOptions,
    EvaluateOptions,
    OodOptions,
    ReportOptions,
    TrainOptions,
)
from cxrlt_cli.datasets import nih
from cxrlt_cli.engine.blending import MemberOutputs
from cxrlt_cli.engine.labelled import labelled_films
from cxrlt_cli.engine.logit_file import LogitFile
from cxrlt_cli.engine.reporter import Silent
from cxrlt_cli.scores.bootstrap import CHUNK
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs.calibrate import calibrate
from cxrlt_cli.verbs.data_check import check
from cxrlt_cli.verbs.data_import import import_labels
from cxrlt_cli.verbs.ensemble import ensemble
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.ood_report import report_prompts
from cxrlt_cli.verbs.paper import report

FINDINGS = tuple(f"finding {number}" for number in range(15))
MEMBERS, VIEWS, SENTENCES = 3, 6, 5
Work = Callable[[], object]


def made_up(folder: Path, size: int) -> tuple[Path, Path]:
    """Labels and predictions."""
    labels, predictions = folder / f"labels{size}.csv", folder / f"predictions{size}.csv"
    if not labels.exists():
        rng, ids = np.random.default_rng(0), names(size)
        targets = rng.random((size, 15)) < np.geomspace(0.2, 0.005, 15)
        patients = np.char.add("p", (np.arange(size) // 2).astype(str)).astype(object)
        Predictions(ids, FINDINGS, targets.astype(np.float64), {"PatientID": patients}).write(labels)
        Predictions(ids, FINDINGS, np.where(targets, 0.2, 0.0) + 0.8 * rng.random((size, 15))).write(predictions)
    return labels, predictions


def names(size: int) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    return np.array([f"{index:032x}.png" for index in range(size)], object)


def judging(folder: Path, size: int) -> Work:
    labels, predictions = made_up(folder, size)
    given = {"predictions": [predictions], "csv": labels, "bootstrap": CHUNK}
    return lambda: evaluate(EvaluateOptions.model_validate(given), Silent())


def blending(folder: Path, size: int, **changes: object) -> Work:
    labels, predictions = made_up(folder, size)
    given = {"members": [predictions, predictions], "out": folder / "blend.csv", "csv": labels, **changes}
    return lambda: ensemble(EnsembleOptions.model_validate(given), Silent())


def ranking(folder: Path, size: int) -> Work:
    return blending(folder, size, merge="rank")


def choosing(folder: Path, size: int) -> Work:
    return blending(folder, size, fit=True)


def calibrating(folder: Path, size: int) -> Work:
    labels, predictions = made_up(folder, size)
    given = {"model": predictions, "csv": labels, "out": folder / "fitted.json"}
    return lambda: calibrate(CalibrateOptions.model_validate(given), Silent())


def reporting(folder: Path, size: int) -> Work:
    labels, predictions = made_up(folder, size)
    given = {"runs": [predictions], "csv": labels, "bootstrap": CHUNK}
    outs = (folder / f"report{size}-{number}" for number in count())
    return lambda: report(ReportOptions.model_validate({**given, "out": next(outs)}), Silent())


def importing(folder: Path, size: int) -> Work:
    """As NIH ChestX-ray14 comes, one or two findings a film."""
    source, rng = folder / f"published{size}.csv", np.random.default_rng(0)
    findings = rng.choice([name for name in nih.FINDINGS if name != "No Finding"], (size, 2))
    with source.open("w") as file:
        file.write("Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position\n")
        for number, (film, labels) in enumerate(zip(names(size), findings, strict=True)):
            file.write(f"{film},{'|'.join(sorted({*labels}))},{number // 2},50,F,PA\n")
    given = {"sources": [source], "kind": "nih", "out": folder / f"imported{size}.csv", "missing": "keep"}
    return lambda: import_labels(DataImportOptions.model_validate(given), Silent())


def learning_from(folder: Path, size: int) -> Work:
    """What ``train`` reads before it looks at a film."""
    labels, _ = made_up(folder, size)
    options = TrainOptions.model_validate({"csv": labels})
    return lambda: labelled_films(options, labels, Silent())


def checking(folder: Path, size: int) -> Work:
    """With films of 16 px, for which too the labels are there."""
    labels, _ = made_up(folder, size)
    images = folder / f"films{size}"
    images.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for film in names(size):
        cv2.imwrite(str(images / film), rng.integers(0, 256, (16, 16), np.uint8))
    given = {"csv": labels, "image_dir": images}
    return lambda: check(DataCheckOptions.model_validate(given), Silent())


def asking(folder: Path, size: int) -> Work:
    """What is left of ``ood --report`` when every film was looked at."""
    rng = np.random.default_rng(0)
    sentences = {name: tuple(f"{name} {number}" for number in range(SENTENCES)) for name in FINDINGS}
    cosines = {name: rng.random((size, SENTENCES), np.float32) for name in FINDINGS}
    texts = {name: np.eye(SENTENCES, 512, dtype=np.float32) for name in FINDINGS}
    truth = {name: (rng.random(size) < 0.1).astype(np.float32) for name in FINDINGS}
    options = OodOptions(csv=folder / "labels.csv", report=folder / "report.html")
    return lambda: report_prompts(
        sentences, cosines, texts, truth, np.zeros(size), options, folder / "labels.csv", "m", Silent()
    )


def merging_ranks(folder: Path, size: int) -> Work:
    """Logits on the disk to predictions."""
    kept = LogitFile(folder / f"logits{size}", VIEWS, (len(FINDINGS),) * MEMBERS)
    with kept.path.open("wb") as file:
        rng = np.random.default_rng(0)
        for start in range(0, size, 2**14):
            few = min(2**14, size - start)
            file.write(rng.standard_normal((few, kept.film_bytes // 4), np.float32).tobytes())
    ids = names(size)
    outputs = MemberOutputs(kept.probabilities, {}, ids, (FINDINGS,) * MEMBERS, FINDINGS)
    given = {"members": [folder / "a"], "out": folder / "blend.csv", "merge": "rank"}
    options = EnsembleOptions.model_validate(given)
    return lambda: outputs.blended(None, options).write(options.out)


ROWS: dict[str, Callable[[Path, int], Work]] = {
    "evaluate": judging,
    "ensemble of two CSVs": blending,
    "--merge rank of two CSVs": ranking,
    "--fit of two CSVs": choosing,
    "calibrate": calibrating,
    "data check": checking,
    "data import": importing,
    "report": reporting,
    "train, the labels": learning_from,
    "ood --report, its end": asking,
    "checkpoints by rank, the end": merging_ranks,
}
