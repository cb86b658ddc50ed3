import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.errors import DataError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs import evaluate as module
from cxrlt_cli.verbs.evaluate import evaluate
from tests.helpers import Recorder, write_csv

NUM = 400
RNG = np.random.default_rng(0)
TRUTH = (RNG.random((NUM, 3)) < (0.5, 0.2, 0.01)).astype(int)
PROBABILITIES = np.clip(0.4 * TRUTH + 0.6 * RNG.random((NUM, 3)), 0, 1)
IDS = [f"{index}.png" for index in range(NUM)]
SEX = ["F" if row % 3 else "M" for row in range(NUM)]
VIEW = ["PA" if row < 300 else "AP" if row < 380 else "L" for row in range(NUM)]
AGE = [f"{20 + row % 60:03d}Y" for row in range(NUM)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    header = ["ImageID", "PatientID", "PatientSex", "ViewPosition", "PatientAge", "Normal", "Mass", "Hernia"]
    rows = [(IDS[row], row, SEX[row], VIEW[row], AGE[row], *TRUTH[row]) for row in range(NUM)][::-1]
    write_csv(tmp_path / "truth.csv", header, rows)
    Predictions(np.array(IDS, object), ("Normal", "Mass", "Hernia"), PROBABILITIES).write(tmp_path / "p.csv")
    return tmp_path


def run(folder: Path, **changes: Any) -> Recorder:
    recorder = Recorder()
    values = {"predictions": [folder / "p.csv"], "csv": folder / "truth.csv", "bootstrap": 30, **changes}
    evaluate(EvaluateOptions.model_validate(values), recorder)
    return recorder


def test_groups_are_compared_on_common_findings_as_differences(files: Path) -> None:
    recorder = run(files, by="PatientSex", json=files / "s.json", report=files / "page.html")
    header, *rows = recorder.texts[0]
    assert header == ("group", "films", "patients", "score", "value", "difference (95 %)", "p (Holm)")
    women = sum(sex == "F" for sex in SEX)
    assert rows[0][:4] == ("F", str(women), str(women), "AP")
    assert rows[0][5:] == ("reference", "")
    assert rows[3][:4] == ("", "", "", "AUROC")
    content = json.loads((files / "s.json").read_text())
    comparison = content["group_comparison"]
    assert [one["name"] for one in comparison["findings"]] == ["Normal", "Mass"]
    assert [one["name"] for one in comparison["groups"]] == ["F", "M"]
    man = comparison["groups"][1]["macro"]
    assert rows[2][4] == f"{man['ap']:.3f}"
    assert rows[2][5].startswith(f"{man['ap'] - comparison['groups'][0]['macro']['ap']:+.3f} (")
    assert man["ap_difference"]["p_holm"] >= man["ap_difference"]["p"] > 0
    assert "Findings: Normal, Mass; 10 patients" in recorder.results[0]
    page = (files / "page.html").read_text()
    assert "by PatientSex: means of 2 findings</h2>" in page
    assert f"<td>{rows[2][5]}</td>" in page


def test_each_group_by_itself_stands_in_json(files: Path) -> None:
    run(files, by="PatientSex", json=files / "s.json")
    groups = json.loads((files / "s.json").read_text())["groups"]
    men = [row for row in range(NUM) if SEX[row] == "M"]
    read = Predictions.read(files / "p.csv").probabilities
    assert groups["M"]["num_films"] == len(men)
    assert groups["M"]["findings"][1]["ap"] == average_precision_score(TRUTH[men, 1], read[men, 1])
    assert groups["M"]["findings"][1]["frequency"] == TRUTH[:, 1].mean()


def test_a_row_a_finding_is_shown_where_it_is_asked_for(files: Path) -> None:
    assert len(run(files, by="PatientSex").texts) == 1
    _, (header, *rows) = run(files, by="PatientSex", by_finding=True).texts
    assert header[:4] == ("finding", "freq.", "group", "score")
    assert [row[0] for row in rows] == ["Normal", "", "", "", "Mass", "", "", ""]
    assert rows[4][1] == f"{100 * TRUTH[:, 1].mean():.1f} %"
    assert rows[6][2:4] == ("M", "AP")
    with pytest.raises(ValueError, match="pass --by too"):
        run(files, by_finding=True)


def test_columns_are_crossed_views_first(files: Path) -> None:
    recorder = run(files, by=["PatientSex", "ViewPosition"])
    names = [row[0] for row in recorder.texts[0][1:] if row[0]]
    assert names == ["AP, F", "PA, F", "PA, M"]
    assert "Groups are by ViewPosition and PatientSex, how films were taken before whose they are" in recorder.notes[-2]
    assert "AP, M (27), L, F (13), L, M (7)" in recorder.notes[-1]
    firsts = [row[5] for row in recorder.texts[0][1::2]]
    assert firsts[:2] == ["", "reference"], "nobody is compared with women of AP"
    again = run(files, by=["ViewPosition", "PatientSex"])
    assert again.texts == recorder.texts
    assert "taken" not in again.notes[-2]


def test_ages_are_grouped_and_small_groups_are_said(files: Path) -> None:
    recorder = run(files, by="PatientAge")
    assert [row[0] for row in recorder.texts[0][1:] if row[0]] == [
        f"{start}-{start + 9}" for start in range(20, 80, 10)
    ]
    thirds = run(files, by="PatientAge:3")
    assert [row[0] for row in thirds.texts[0][1:] if row[0]] == ["20 to 39", "40 to 58", "59 to 79"]
    nobody = run(files, by="PatientID")
    assert nobody.texts == []
    assert "No group of --by has 30 patients" in nobody.warnings[-1]
    assert "and 390 more" in nobody.notes[-1]
    assert "--by PatientID:4" in nobody.notes[-1]


def test_decades_that_leave_few_findings_hint_at_fewer_groups(files: Path) -> None:
    """Of 12 patients with a mass in each of six decades, some have fewer than 10."""
    recorder = run(files, by="PatientAge")
    (hint,) = [note for note in recorder.notes if note.startswith("Compared on")]
    assert hint.startswith("Compared on 1 of 3 findings, for the others are too rare in some group.")
    assert hint.endswith("--by PatientAge:2.")
    assert not [note for note in run(files, by="PatientAge:2").notes if "Fewer groups" in note]
    assert not [note for note in run(files, by="ViewPosition").notes if "Fewer groups" in note]


def test_quantiles_of_words_are_refused_before_anything_is_scored(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scoring(*_: object) -> None:
        raise AssertionError("scored")

    monkeypatch.setattr(module, "_judged", scoring)
    with pytest.raises(DataError, match="column 'PatientSex' holds 'M', which is no number"):
        run(files, by="PatientSex:4")


def test_what_cannot_be_compared_is_said(files: Path) -> None:
    with pytest.raises(DataError, match="no column 'Age'"):
        run(files, by="Age")
    alone = run(files, by="Split", csv=_with_split(files))
    assert "There is no second group" in alone.results[0]
    rare = run(files, by="PatientSex", findings="Hernia")
    assert "No finding is present in 10 patients" in rare.results[0]
    assert rare.texts[0][1][3:] == ("–", "–", "", "")
    plain = run(files, by="PatientSex", bootstrap=0)
    assert (plain.texts[0][3][5].count("("), plain.texts[0][3][6]) == (0, "–")
    assert plain.results[0].endswith("Differences are from the reference.\n")
    assert run(files, by="PatientSex").results[-1].endswith("from the reference; p counts 2 comparisons.\n")
    with pytest.raises(ValueError, match="pass one of them"):
        run(files, by="PatientSex", against=files / "truth.csv")


def _with_split(files: Path) -> Path:
    header, *rows = ((files / "truth.csv").read_text()).splitlines()
    path = files / "split.csv"
    path.write_text("\n".join([f"{header},Split", *(f"{row},test" for row in rows)]))
    return path
