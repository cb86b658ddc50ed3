"""Parquet is the CSV that it could be."""

import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrlt_cli.config import EnsembleOptions, InferOptions
from cxrlt_cli.errors import DataError, InstallError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables import parquet
from cxrlt_cli.tables.label_table import read_csv, read_exclusions, read_ids, read_labels
from cxrlt_cli.verbs.infer import infer
from tests.helpers import FINDINGS, Recorder, ensemble

FRAME = pd.DataFrame(
    {
        "ImageID": ["a.png", " b.png", "007"],
        "PatientID": [1.0, 2.0, 2.0],  # as pandas reads numbers beside an empty cell
        "Normal": [1, 0, 0],
        "Mass": [0.0, np.nan, 1.0],
        "Hernia": [True, False, None],
        "a.b, c": pd.Categorical(["0", "1", ""]),
        "Score": [0.1, 1e-9, 1.0],
    }
)


def written(frame: pd.DataFrame, path: Path, **options: Any) -> Path:
    frame.to_parquet(path, **options)
    return path


def test_columns_are_read_as_the_text_that_a_csv_would_hold(tmp_path: Path) -> None:
    frame = read_csv(written(FRAME, tmp_path / "labels.parquet"))
    assert frame.to_dict("list") == {
        "ImageID": ["a.png", "b.png", "007"],
        "PatientID": ["1", "2", "2"],
        "Normal": ["1", "0", "0"],
        "Mass": ["0", "", "1"],
        "Hernia": ["1", "0", ""],
        "a.b, c": ["0", "1", ""],
        "Score": ["0.1", "1e-9", "1"],
    }
    assert frame.index.tolist() == [2, 3, 4], "rows as a spreadsheet counts them"


def test_numbers_are_never_written_with_an_exponent_or_empty_decimals(tmp_path: Path) -> None:
    """Patients' numbers are floats where one is missing; they must be those of the CSV beside it."""
    patients = pd.Series([1e10, 123456789012.0, 1e15, None, 0.25, 1234567.5])
    prices = [Decimal("1.00"), Decimal("0.00"), Decimal("10.00"), Decimal("0.50"), None, Decimal("7.00")]
    frame = pd.DataFrame({"ImageID": list("abcdef"), "PatientID": patients, "Mass": prices})
    read = read_csv(written(frame, tmp_path / "labels.parquet"))
    assert list(read.PatientID) == ["10000000000", "123456789012", "1000000000000000", "", "0.25", "1234567.5"]
    assert list(read.Mass) == ["1", "0", "10", "0.5", "", "7"]


def test_a_cell_without_end_takes_no_memory(tmp_path: Path) -> None:
    notes = pd.Categorical.from_codes([0] * 5000, pd.Index(["x" * 2_000_000]))
    frame = pd.DataFrame({"ImageID": [str(row) for row in range(5000)], "Note": notes})
    path = written(frame, tmp_path / "labels.parquet")
    assert path.stat().st_size < 10**6
    with pytest.raises(DataError, match=r"column 'Note' holds a cell of 2,000,000 characters"):
        read_csv(path)


def test_pipes_are_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=(tmp_path / "pipe").write_text, args=["ImageID,Mass\na.png,1\n"])
    thread.start()
    assert read_ids(tmp_path / "pipe").tolist() == ["a.png"]
    thread.join()


def test_labels_are_those_of_the_csv(labels: Path, tmp_path: Path) -> None:
    path = written(pd.read_csv(labels, dtype={"PatientID": str}), tmp_path / "labels.parquet")
    mine, theirs = read_labels(path), read_labels(labels)
    assert (mine.ids.tolist(), mine.patients.tolist()) == (theirs.ids.tolist(), theirs.patients.tolist())
    assert mine.space == theirs.space
    np.testing.assert_array_equal(mine.targets, theirs.targets)
    assert read_exclusions([path]) == set(read_ids(labels))


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    assert read_ids(written(FRAME[:1], tmp_path / "labels.csv")).tolist() == ["a.png"]


def test_an_index_of_pandas_is_no_column(tmp_path: Path) -> None:
    path = written(FRAME[FRAME.Normal == 0], tmp_path / "labels.parquet", index=True)
    assert list(read_csv(path).columns) == list(FRAME.columns)


def test_a_row_at_fault_is_named(tmp_path: Path) -> None:
    path = written(FRAME.assign(Normal=["1", "0", "-1"]), tmp_path / "labels.parquet")
    with pytest.raises(DataError, match="row 4: column 'Normal' holds '-1'"):
        read_labels(path, findings=["Normal"])


@pytest.mark.parametrize("damage", ["gone", "text", "short", "lists", "bytes"])
def test_what_cannot_be_read_is_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "labels.parquet"
    if damage == "text":
        path.write_text("ImageID,Normal\na.png,1\n")
    elif damage == "short":
        path.write_bytes(written(FRAME, path).read_bytes()[:-200])
    elif damage == "lists":
        written(FRAME.assign(Boxes=pd.Series([[1], [2], []])), path)
    elif damage == "bytes":
        written(FRAME.assign(Boxes=[b"text"] * 3), path)
    with pytest.raises(DataError, match=r"labels\.parquet"):
        read_csv(path)


def test_predictions_come_back_exactly(tmp_path: Path) -> None:
    ids = np.array(["007", "1e5.png", 'a "b", c.png'], object)
    values = np.random.default_rng(0).random((3, 2))
    values[:, 1] = [0, 1, 1]
    for name in ("p.parquet", "p.csv"):
        Predictions(ids, ("Normal", "a, b"), values).write(tmp_path / name)
        read = Predictions.read(tmp_path / name)
        assert (read.ids.tolist(), read.findings) == (ids.tolist(), ("Normal", "a, b"))
        np.testing.assert_array_equal(read.probabilities, values)
    assert pd.read_parquet(tmp_path / "p.parquet").dtypes.astype(str).tolist()[1:] == ["float64", "float64"]


def test_commands_write_parquet_and_take_it(labels: Path, run: Path, tmp_path: Path) -> None:
    films = {"csv": labels, "workers": 0}
    for name in ("p.csv", "p.parquet"):
        infer(InferOptions.model_validate({**films, "checkpoint": run, "out": tmp_path / name}), Recorder())
    csv, mine = (Predictions.read(tmp_path / name) for name in ("p.csv", "p.parquet"))
    np.testing.assert_array_equal(mine.probabilities, csv.probabilities)
    assert mine.findings == FINDINGS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "p.parquet"]
    members = [tmp_path / "p.csv", tmp_path / "p.parquet"]
    options = {"members": members, "out": tmp_path / "both.parquet"}
    blended = ensemble(EnsembleOptions.model_validate(options), Recorder())
    assert blended is not None
    np.testing.assert_allclose(Predictions.read(tmp_path / "both.parquet").probabilities, mine.probabilities)


def test_without_pyarrow_it_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(FRAME, tmp_path / "labels.parquet")
    monkeypatch.setattr(parquet, "find_spec", lambda _: None)
    with pytest.raises(InstallError, match="pyarrow is missing") as caught:
        read_csv(path)
    assert caught.value.hint == 'pip install "cxrlt[parquet]"'
