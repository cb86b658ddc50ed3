import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable, read_labels
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.evaluate_suspects import _told
from tests.helpers import FINDINGS, Recorder, write_csv

NUM_FILMS = 300
TURNED = tuple(range(3, 48, 4))  # films whose effusion is labelled wrong; the first 48 are at hand
EMPTY = 5  # a film whose effusion is not labelled


@pytest.fixture
def files(labels: Path, tmp_path: Path) -> Path:
    """Predictions of a model that sees the truth well, and labels of which some are wrong."""
    ids = np.array([*read_labels(labels).ids, *(f"other{row}.png" for row in range(48, NUM_FILMS))], object)
    rng = np.random.default_rng(0)
    truth = (rng.random((NUM_FILMS, 3)) < (0.4, 0.5, 0.3)).astype(int)
    probabilities = expit(rng.normal(np.where(truth == 1, 2.5, -2.5), 1.0))
    Predictions(ids, FINDINGS, probabilities).write(tmp_path / "oof.csv")
    cells: list[list[object]] = [list(row) for row in truth]
    for row in TURNED:
        cells[row][1] = 1 - truth[row, 1]
    cells[EMPTY][1] = ""
    rows = [(film, row // 2, *cells[row]) for row, film in enumerate(ids)]
    write_csv(tmp_path / "labels.csv", ["ImageID", "PatientID", *FINDINGS], rows)
    return tmp_path


def suspected(folder: Path, **changes: Any) -> tuple[list[dict[str, str]], Recorder]:
    recorder = Recorder()
    given = {"predictions": [folder / "oof.csv"], "csv": folder / "labels.csv", "suspects": folder / "suspects.csv"}
    evaluate(EvaluateOptions.model_validate({**given, "bootstrap": 20, **changes}), recorder)
    with (folder / "suspects.csv").open(newline="") as file:
        return list(csv.DictReader(file)), recorder


def truth_of(folder: Path) -> LabelTable:
    return read_labels(folder / "labels.csv", findings=FINDINGS)


def _column(folder: Path, finding: str) -> tuple[list[str], list[str]]:
    """Films, and what stands in the CSV of predictions for a finding."""
    with (folder / "oof.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["ImageID"] for row in rows], [row[finding] for row in rows]


def test_labels_that_are_wrong_come_first(files: Path) -> None:
    rows, recorder = suspected(files, json=files / "s.json")
    table = truth_of(files)
    first = rows[: len(TURNED)]
    found = {(row["ImageID"], row["finding"]) for row in first}
    assert len(found & {(table.ids[row], "effusion") for row in TURNED}) >= len(TURNED) - 2
    for row in first:
        place, column = list(table.ids).index(row["ImageID"]), FINDINGS.index(row["finding"])
        assert row["PatientID"] == table.patients[place]
        assert float(row["label"]) == table.targets[place, column]
        assert (float(row["probability"]) > 0.5) == (row["label"] == "0")
        assert 0 < float(row["wrong"]) <= 1
    for name in FINDINGS:
        mine = [row for row in rows if row["finding"] == name]
        assert [int(row["rank"]) for row in mine] == list(range(1, len(mine) + 1))
        assert [row["suspect"] for row in mine] == sorted((row["suspect"] for row in mine), reverse=True)
    wrong = [float(row["wrong"]) for row in rows]
    assert wrong == sorted(wrong, reverse=True)
    assert not [row for row in rows if row["finding"] == "effusion" and row["ImageID"] == table.ids[EMPTY]]
    content = json.loads((files / "s.json").read_text())["suspects"]
    low, high = content["expected_ci"]
    assert low <= content["expected"] <= high
    assert content["expected"] == pytest.approx(sum(one["expected"] for one in content["findings"].values()))
    number = sum(row["suspect"] == "1" for row in rows)
    assert f"{number} suspect labels (suspect 1)" in recorder.results[-1]
    assert f"{len(rows) - number} further rows (suspect 0) are listed" in recorder.results[-1]
    assert number == round(content["expected"])
    _, *told = recorder.texts[-1]
    whole = np.array([[int(cell.split(" ")[0]) for cell in row[2:]] for row in told])
    np.testing.assert_array_equal(whole[:, 0], whole[:, 1] + whole[:, 2])
    np.testing.assert_array_equal(whole[-1], whole[:-1].sum(axis=0))
    assert whole[-1, 0] == number
    values = dict(zip(*_column(files, "effusion"), strict=True))
    assert all(row["probability"] == values[row["ImageID"]] for row in rows if row["finding"] == "effusion")
    assert recorder.texts[-1][0] == ("finding", "labels", "wrong, 95 %", "of labels 1", "of labels 0")


@pytest.mark.parametrize(
    ("value", "bounds", "said"),
    [(0, (0.55, 0.9), "0 (0 to 1)"), (1, (0.2, 0.55), "1 (0 to 1)"), (3, (2.0, 4.0), "3 (2 to 4)"), (3, None, "3")],
)
def test_a_number_lies_in_the_interval_beside_it(value: int, bounds: tuple[float, float] | None, said: str) -> None:
    """Numbers are rounded so that they add up: of 0.6 there may be 0."""
    assert _told(value, bounds) == said


def test_the_share_below_is_of_labelled_films(files: Path) -> None:
    rows, _ = suspected(files, bootstrap=0)
    table, predictions = truth_of(files), Predictions.read(files / "oof.csv")
    for row in rows:
        place = FINDINGS.index(row["finding"])
        values = predictions.probabilities[~np.isnan(table.targets[:, place]), place]
        mine = predictions.probabilities[list(table.ids).index(row["ImageID"]), place]
        assert float(row["share_below"]) == pytest.approx(np.mean([value < mine for value in values]), abs=1e-6)


def test_what_was_looked_at_is_suspect_no_more(files: Path) -> None:
    table = truth_of(files)
    answers = [(table.ids[TURNED[0]], "effusion", int(1 - table.targets[TURNED[0], 1])),
               (table.ids[TURNED[1]], "effusion", int(table.targets[TURNED[1], 1]))]  # fmt: skip
    again = write_csv(files / "again.csv", ["ImageID", "finding", "label"], answers)
    rows, recorder = suspected(files, corrections=[again], bootstrap=0)
    assert not {(film, name) for film, name, _ in answers} & {(row["ImageID"], row["finding"]) for row in rows}
    assert "--corrections: 1 label of 1 film corrected, 1 confirmed." in recorder.notes
    assert {row["suspect"] for row in rows} <= {"1"}, "without resamples, as many as are expected"
    assert recorder.texts[-1][0][2] == "wrong"


def test_suspects_are_no_corrections(files: Path) -> None:
    suspected(files, bootstrap=0)
    with pytest.raises(
        DataError, match=r"suspects\.csv is no CSV of corrections: it has probability, share_below, wrong, rank"
    ):
        suspected(files, corrections=[files / "suspects.csv"], suspects=files / "again.csv")
    assert not (files / "again.csv").exists()


def test_with_a_report_there_is_a_page_of_the_films(files: Path, labels: Path, run: Path) -> None:
    table = truth_of(files)
    turned = [row for label in (0, 1) for row in np.flatnonzero(table.targets[:48, 0] == label)[:8]]
    table.targets[turned, 0] = 1 - table.targets[turned, 0]  # wrong labels of Normal, too
    cells = zip(table.ids, table.patients, *table.targets.T, strict=True)
    write_csv(files / "labels.csv", ["ImageID", "PatientID", *FINDINGS], [[*row] for row in cells])
    given = {"report": files / "page.html", "image_dir": labels.parent / "images"}
    rows, recorder = suspected(files, **given, checkpoint=run / "best.safetensors")
    at_hand = set(read_labels(labels).ids)
    html = (files / "suspects.html").read_text()
    found = re.search(r"id='data'>(.*?)</script>", html)
    assert found is not None
    content = json.loads(found.group(1))
    suspects = [row for row in rows if row["suspect"] == "1" and row["ImageID"] in at_hand]
    assert suspects
    pairs = list(zip(content["shown"], suspects, strict=True))
    normal = [(told[1:3], row["label"]) for told, row in pairs if row["finding"] == "Normal"]
    assert {label for _, label in normal} == {"0", "1"}
    labelled = {"1": "Labelled normal.", "0": "Labelled not normal."}
    assert all(told == ["Is this film normal?", labelled[label]] for told, label in normal), normal
    assert all(told[3].startswith("Other labels of this film. Present: ") for told in content["shown"])
    assert [(row[0], row[1]) for row in content["rows"]] == [(row["ImageID"], row["finding"]) for row in suspects]
    assert any((row[6] or "").startswith("data:image/png") for row in content["rows"]), "heat maps"
    assert f"Wrote {files / 'suspects.html'}" in " ".join(recorder.results)
    assert (files / "page.html").exists()


def test_without_films_there_is_no_page(files: Path) -> None:
    _, recorder = suspected(files, report=files / "page.html")
    assert not (files / "suspects.html").exists()
    assert "--image-dir" in recorder.warnings[-1]


def test_files_are_not_replaced_by_each_other(files: Path) -> None:
    with pytest.raises(OptionError, match="--report and --suspects would both write"):
        suspected(files, suspects=files / "page.csv", report=files / "page.html")
    with pytest.raises(OptionError, match="is a file that this command reads"):
        suspected(files, suspects=files / "oof.csv")
    with pytest.raises(ValidationError, match="--suspects is for films"):
        suspected(files, per_study="mean")
    decided = Predictions.read(files / "oof.csv")
    Predictions(decided.ids, decided.findings, decided.probabilities.round()).write(files / "oof.csv")
    with pytest.raises(OptionError, match="--suspects is for probabilities"):
        suspected(files)
