import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.errors import OptionError
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.verbs.evaluate import evaluate
from tests.helpers import Recorder, write_csv

LABELS = np.array([[1, 0], [1, 0], [0, 1], [0, np.nan], [0, 0], [1, 1]])
PREDICTED = np.array([[0.9, 0.1], [0.2, 0.7], [0.6, 0.4], [0.7, 0.9], [0.1, 0.5], [0.4, 0.8]])


def judged(folder: Path, labels: np.ndarray = LABELS, **changes: Any) -> tuple[Scores, Recorder]:
    rows = [[f"{n}.png", f"p{n}", *("" if np.isnan(v) else int(v) for v in row)] for n, row in enumerate(labels)]
    truth = write_csv(folder / "truth.csv", ["ImageID", "PatientID", "a", "b"], rows)
    films = write_csv(
        folder / "p.csv", ["ImageID", "a", "b"], [[f"{n}.png", *row] for n, row in enumerate(PREDICTED.tolist())]
    )
    options = {"predictions": [films], "csv": truth, "bootstrap": 0, "errors": folder / "errors.csv", **changes}
    recorder = Recorder()
    return evaluate(EvaluateOptions.model_validate(options), recorder), recorder


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_every_error_has_a_row_and_nothing_else_has(tmp_path: Path) -> None:
    """Misses of a finding from the lowest up, then false alarms from the highest down; unlabelled pairs are none."""
    _, recorder = judged(tmp_path)
    header, *rows = read(tmp_path / "errors.csv")
    assert header == ["ImageID", "finding", "label", "probability", "threshold", "decision", "share_below"]
    assert rows == [
        ["1.png", "a", "1", "0.2", "0.5", "0", str(round(1 / 6, 6))],
        ["5.png", "a", "1", "0.4", "0.5", "0", str(round(2 / 6, 6))],
        ["3.png", "a", "0", "0.7", "0.5", "1", str(round(4 / 6, 6))],
        ["2.png", "a", "0", "0.6", "0.5", "1", "0.5"],
        ["2.png", "b", "1", "0.4", "0.5", "0", "0.2"],
        ["1.png", "b", "0", "0.7", "0.5", "1", "0.6"],
        ["4.png", "b", "0", "0.5", "0.5", "1", "0.4"],
    ]
    assert any(result.endswith("errors.csv: 7 errors.") for result in recorder.results)


def test_it_is_at_the_threshold_that_was_asked_for(tmp_path: Path) -> None:
    scores, _ = judged(tmp_path, threshold="best")
    _, *rows = read(tmp_path / "errors.csv")
    cuts = {one.name: one.threshold for one in scores.findings}
    assert {(row[1], float(row[4])) for row in rows} == set(cuts.items())
    without = LABELS.copy()
    without[:, 1] = 0
    judged(tmp_path, without)
    assert sum(row[1] == "b" for row in read(tmp_path / "errors.csv")) == 4, "0.5 is known without a positive"
    judged(tmp_path, without, threshold="best")
    assert not any(row[1] == "b" for row in read(tmp_path / "errors.csv"))


@pytest.mark.parametrize("other", ["json", "report"])
def test_it_stands_over_nothing_else(tmp_path: Path, other: str) -> None:
    with pytest.raises(OptionError, match=f"--errors and --{other} are both"):
        judged(tmp_path, LABELS, **{other: tmp_path / "errors.csv"})
    with pytest.raises(OptionError, match="--errors"):
        judged(tmp_path, errors=tmp_path / "p.csv")
    assert not (tmp_path / "errors.csv").exists()
