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
    assert header == ["ImageID", "PatientID", "finding", "label", "probability", "threshold", "decision", "share_below"]
    assert [row.pop(1) for row in rows] == [f"p{row[0][0]}" for row in rows]
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
    assert {(row[2], float(row[5])) for row in rows} == set(cuts.items())
    without = LABELS.copy()
    without[:, 1] = 0
    judged(tmp_path, without)
    assert sum(row[2] == "b" for row in read(tmp_path / "errors.csv")) == 4, "0.5 is known without a positive"
    judged(tmp_path, without, threshold="best")
    assert not any(row[2] == "b" for row in read(tmp_path / "errors.csv"))
    judged(tmp_path, threshold=0.65)
    assert [row[0] for row in read(tmp_path / "errors.csv")[1:]] == ["1.png", "5.png", "3.png", "2.png", "1.png"]


def test_patient_study_and_view_stand_beside_it_where_they_are_known(tmp_path: Path) -> None:
    """Of a study its patient alone; a column that the labels lack is not written."""
    rows = [["0.png", "007", "s0", "PA", 1], ["1.png", "8", "s1", "", 0]]
    truth = write_csv(tmp_path / "places.csv", ["ImageID", "PatientID", "StudyID", "ViewPosition", "a"], rows)
    films = write_csv(tmp_path / "q.csv", ["ImageID", "a"], [["0.png", 0.25], ["1.png", 0.125]])
    judged(tmp_path, csv=truth, predictions=[films])
    assert read(tmp_path / "errors.csv")[0][:5] == ["ImageID", "PatientID", "StudyID", "ViewPosition", "finding"]
    assert read(tmp_path / "errors.csv")[1][:8] == ["0.png", "7", "s0", "PA", "a", "1", "0.25", "0.5"]
    judged(tmp_path, csv=truth, predictions=[films], per_study="mean")
    assert read(tmp_path / "errors.csv")[1][:4] == ["s0", "7", "a", "1"]
    bare = write_csv(tmp_path / "bare.csv", ["ImageID", "a"], [["0.png", 1], ["1.png", 0]])
    judged(tmp_path, csv=bare, predictions=[films])
    assert read(tmp_path / "errors.csv")[0][:2] == ["ImageID", "finding"]


@pytest.mark.parametrize("other", ["json", "report"])
def test_it_stands_over_nothing_else(tmp_path: Path, other: str) -> None:
    with pytest.raises(OptionError, match=f"--errors and --{other} are both"):
        judged(tmp_path, LABELS, **{other: tmp_path / "errors.csv"})
    with pytest.raises(OptionError, match="--errors"):
        judged(tmp_path, errors=tmp_path / "p.csv")
    assert not (tmp_path / "errors.csv").exists()
