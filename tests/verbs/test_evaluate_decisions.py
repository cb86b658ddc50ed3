import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.errors import OptionError
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.verbs.evaluate import evaluate
from tests.helpers import Recorder, write_csv

TRUTH = [1] * 28 + [0] * 72
FOUND = [1] * 25 + [0] * 3 + [1] * 18 + [0] * 54


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = [(f"{row}.png", row, label, row % 2) for row, label in enumerate(TRUTH)]
    write_csv(tmp_path / "truth.csv", ["ImageID", "PatientID", "Effusion", "Mass"], rows)
    decided = [(f"{row}.png", label, 0) for row, label in enumerate(FOUND)]
    write_csv(tmp_path / "d.csv", ["ImageID", "Effusion", "Mass"], decided)
    return tmp_path


def run(folder: Path, **changes: Any) -> tuple[Scores, Recorder]:
    recorder = Recorder()
    values = {"predictions": [folder / "d.csv"], "csv": folder / "truth.csv", **changes}
    return evaluate(EvaluateOptions.model_validate(values), recorder), recorder


def test_decisions_are_scored_as_decisions(files: Path) -> None:
    scores, recorder = run(files, json=files / "s.json", report=files / "page.html")
    header, effusion, mass = recorder.texts[0]
    assert header == ("finding", "pos.", "sens.", "spec.", "PPV", "NPV")
    assert effusion == (
        "Effusion",
        "28",
        "0.89 (0.72–0.98)",
        "0.75 (0.63–0.84)",
        "0.58 (0.42–0.73)",
        "0.95 (0.85–0.99)",
    )
    assert mass[2:] == ("0.00 (0.00–0.07)", "1.00 (0.93–1.00)", "–", "0.50 (0.40–0.60)")
    assert recorder.warnings == []
    assert recorder.results[0].startswith("In brackets: exact 95 % intervals.")
    content = json.loads((files / "s.json").read_text())
    one = content["decisions"]["findings"][0]
    assert one["sensitivity"]["value"] == pytest.approx(25 / 28)
    assert one["sensitivity"]["ci"] == pytest.approx([0.7177, 0.9773], abs=5e-5), "Clopper and Pearson's"
    assert (one["positives"], one["negatives"], one["ppv"]["num_films"]) == (28, 72, 43)
    assert content["macro"]["ap"] is None
    assert content["findings"][0]["f1"] == scores.findings[0].f1 == pytest.approx(50 / 71)
    page = (files / "page.html").read_text()
    assert "<td>0.89 (0.72–0.98)</td>" in page
    assert "Predictive values are those at the prevalence of these films." in page


def test_what_is_left_open_is_counted_and_in_no_share(files: Path) -> None:
    rows = [(f"{row}.png", "" if row in (0, 1, 99) else label, 0) for row, label in enumerate(FOUND)]
    write_csv(files / "d.csv", ["ImageID", "Effusion", "Mass"], rows)
    _, recorder = run(files, json=files / "s.json")
    assert recorder.texts[0][0][2] == "open"
    assert recorder.texts[0][1][1:3] == ("28", "3")
    assert "3 cells are empty, 2 of positive films" in recorder.results[0]
    one = json.loads((files / "s.json").read_text())["decisions"]["findings"][0]
    assert one["sensitivity"]["value"] == pytest.approx(23 / 26)
    assert (one["undecided"], one["undecided_positives"]) == (3, 2)


def test_films_of_one_patient_count_for_fewer_and_it_is_said(files: Path) -> None:
    alone = json.loads(_written(files))["decisions"]
    rows = [(f"{row}.png", row // 4, label, 0) for row, label in enumerate(TRUTH)]
    write_csv(files / "truth.csv", ["ImageID", "PatientID", "Effusion", "Mass"], rows)
    together = json.loads(_written(files))["decisions"]
    widths = [np.diff(content["findings"][0]["specificity"]["ci"])[0] for content in (alone, together)]
    assert widths[1] > 1.3 * widths[0]
    assert "over patients" in together["intervals"]
    assert "over patients" not in alone["intervals"]


def _written(files: Path) -> str:
    run(files, json=files / "s.json")
    return (files / "s.json").read_text()


def test_what_is_for_probabilities_is_refused_and_what_changes_nothing_is_said(files: Path) -> None:
    with pytest.raises(OptionError, match=r"d\.csv holds decisions .* scored alone"):
        run(files, predictions=[files / "d.csv", files / "d.csv"])
    for option, value in (("by", "Effusion"), ("against", files / "truth.csv"), ("checkpoint", files / "x")):
        with pytest.raises(OptionError, match=f"--{option} is for probabilities"):
            run(files, **{option: value})
    assert "--bootstrap changes nothing here" in run(files, bootstrap=5)[1].notes[0]


def test_bands_and_missing_films_are_as_for_probabilities(files: Path) -> None:
    rows = [(f"t{row}.png", row, int(row < 5), int(row < 500)) for row in range(1000)]
    train = write_csv(files / "train.csv", ["ImageID", "PatientID", "Effusion", "Mass"], rows)
    scores, _ = run(files, train_csv=train)
    assert [finding.band for finding in scores.findings] == ["tail", "head"]
    only, _ = run(files, findings="Mass")
    assert [finding.name for finding in only.findings] == ["Mass"]


def test_decisions_on_studies_are_scored_by_study_and_those_on_films_are_not_made_so(files: Path) -> None:
    rows = [(f"{row}.png", row // 2, f"s{row // 2}", label) for row, label in enumerate(TRUTH)]
    write_csv(files / "truth.csv", ["ImageID", "PatientID", "StudyID", "Effusion"], rows)
    with pytest.raises(OptionError, match="--per-study is for probabilities"):
        run(files, per_study="mean")
    write_csv(files / "d.csv", ["StudyID", "Effusion"], [(f"s{study}", int(study < 10)) for study in range(50)])
    scores, recorder = run(files, per_study="mean")
    assert (scores.num_films, scores.unit, scores.findings[0].positives) == (50, "study", 14)
    assert recorder.texts[0][1][2] == "0.71 (0.42–0.92)", "10 of 14"
