import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs.evaluate import evaluate
from tests.helpers import Recorder, write_csv

NUM_FILMS = 60
RNG = np.random.default_rng(0)
TRUTH = (RNG.random((NUM_FILMS, 3)) < (0.5, 0.2, 0.0)).astype(int)
PROBABILITIES = np.clip(0.4 * TRUTH + 0.6 * RNG.random((NUM_FILMS, 3)), 0, 1)
IDS = [f"{index}.png" for index in range(NUM_FILMS)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    order = RNG.permutation(NUM_FILMS)
    rows = [(IDS[row], row // 3, *TRUTH[row, ::-1]) for row in order]
    write_csv(tmp_path / "truth.csv", ["ImageID", "PatientID", "Hernia", "Mass", "Normal"], rows)
    Predictions(np.array(IDS, object), ("Normal", "Mass", "Hernia"), PROBABILITIES).write(tmp_path / "p.csv")
    return tmp_path


def run(folder: Path, **changes: Any) -> tuple[Scores, Recorder]:
    recorder = Recorder()
    values = {"predictions": [folder / "p.csv"], "csv": folder / "truth.csv", **changes}
    return evaluate(EvaluateOptions.model_validate(values), recorder), recorder


def test_films_and_findings_are_aligned_by_name(files: Path) -> None:
    scores, recorder = run(files, json=files / "s.json")
    written = Predictions.read(files / "p.csv").probabilities
    assert [finding.name for finding in scores.findings] == ["Normal", "Mass", "Hernia"]
    for column in range(2):
        assert scores.findings[column].ap == average_precision_score(TRUTH[:, column], written[:, column])
        assert scores.findings[column].auroc == roc_auc_score(TRUTH[:, column], written[:, column])
    assert scores.skipped == ("Hernia",)
    assert (scores.num_films, scores.num_patients) == (60, 20)
    assert "Hernia" in recorder.notes[0]
    assert scores.ap_ci is not None
    assert scores.ap_ci[0] < (scores.macro()["ap"] or 0) < scores.ap_ci[1]
    assert scores.findings[2].ap_ci is None
    written_json = json.loads((files / "s.json").read_text())
    points = written_json.pop("operating_points")
    assert written_json == scores.to_json()
    assert {point["finding"] for point in points} <= {"Normal", "Mass"}
    assert [point["wanted"] for point in points[:3]] == [0.8, 0.9, 0.95]


@pytest.mark.parametrize(("threshold", "said"), [(0.3, "--threshold 0.3: F1 is"), ("best", "--threshold best: F1 is")])
def test_a_threshold_is_told_in_the_terminal_and_on_the_page(files: Path, threshold: float | str, said: str) -> None:
    _, recorder = run(files, threshold=threshold, report=files / "page.html", bootstrap=0)
    assert any(note.startswith(said) for note in recorder.notes)
    assert said in (files / "page.html").read_text()


def test_what_only_one_side_has_is_left_out_and_said(files: Path) -> None:
    kept = Predictions.read(files / "p.csv").rows(IDS[:40])
    extra = Predictions(np.append(kept.ids, "new.png"), kept.findings, np.vstack([kept.probabilities, [0.5] * 3]))
    extra.write(files / "p.csv")
    write_csv(files / "t.csv", ["ImageID", "Mass"], [(film, TRUTH[row, 1]) for row, film in enumerate(IDS)])
    with pytest.raises(
        DataError, match=r"no prediction for 20 of the 60 films of .*: 40\.png, .* and 15 more"
    ) as caught:
        run(files, csv=files / "t.csv")
    assert "--missing leave-out" in caught.value.hint
    scores, recorder = run(files, csv=files / "t.csv", missing="leave-out")
    assert (scores.num_films, scores.num_patients) == (40, None)
    assert scores.findings[0].ap == average_precision_score(TRUTH[:40, 1], kept.probabilities[:, 1])
    assert "no such column: Normal, Hernia" in recorder.warnings[0]
    assert "20 of the 60 films" in recorder.warnings[1]
    assert "1 of the 41 films" in recorder.warnings[2]


def test_bands_follow_the_training_labels(files: Path) -> None:
    rows = [(f"t{row}.png", row, int(row < 500), int(row < 5), int(row < 50)) for row in range(1000)]
    train = write_csv(files / "train.csv", ["ImageID", "PatientID", "Normal", "Mass", "Hernia"], rows)
    scores, _ = run(files, train_csv=train)
    assert {finding.name: finding.band for finding in scores.findings} == {
        "Normal": "head", "Mass": "tail", "Hernia": "medium"
    }  # fmt: skip
    assert [finding.name for finding in scores.by_band()["tail"]] == ["Mass"]


def test_options_reach_the_scores(files: Path) -> None:
    plain, _ = run(files)
    best, _ = run(files, threshold="best")
    zero, _ = run(files, empty="zero")
    assert best.findings[1].f1 is not None
    assert plain.findings[1].f1 is not None
    assert best.findings[1].f1 >= plain.findings[1].f1
    assert zero.findings[2].ap == 0
    only, _ = run(files, findings="Mass")
    assert [finding.name for finding in only.findings] == ["Mass"]
    removal = write_csv(files / "removal.csv", ["ImageID"], [[IDS[0]], ["nothing.png"]])
    fewer, recorder = run(files, exclude=[removal])
    assert fewer.num_films == 59
    assert recorder.notes[0] == "Left out by --exclude: 1 film."
    assert recorder.warnings[0] == "1 id of --exclude is not among the films."


def test_the_truth_is_never_written_over(files: Path) -> None:
    before = (files / "truth.csv").read_bytes()
    with pytest.raises(OptionError, match="a file that this command reads"):
        run(files, json=files / "truth.csv")
    assert (files / "truth.csv").read_bytes() == before


def test_what_says_little_is_said(files: Path) -> None:
    rows = [(film, 1, row % 2, "") for row, film in enumerate(IDS)]
    write_csv(files / "t.csv", ["ImageID", "Normal", "Mass", "Hernia"], rows)
    scores, recorder = run(files, csv=files / "t.csv")
    assert recorder.notes[0].startswith("The labels do not name patients")
    assert recorder.notes[1].startswith("Without a positive film: Hernia;")
    assert recorder.notes[2].startswith("Positive on every film: Normal;")
    assert scores.findings[0].auroc is None
    with pytest.raises(DataError, match="no column 'Nope'"):
        run(files, patient_column="Nope")


def test_files_that_do_not_go_together_are_told(files: Path) -> None:
    write_csv(files / "other.csv", ["ImageID", "Mass"], [["x.png", 1]])
    with pytest.raises(DataError, match="share no film"):
        run(files, csv=files / "other.csv")
    write_csv(files / "names.csv", ["ImageID", "Edema"], [[IDS[0], 1]])
    with pytest.raises(DataError, match="none of the findings"):
        run(files, csv=files / "names.csv")
    with pytest.raises(DataError, match="--train-csv"):
        run(files, train_csv=files / "other.csv")
    with pytest.raises(OptionError, match="no column Edema"):
        run(files, findings="Edema,Mass")
    with pytest.raises(DataError, match=r"has no oof_predictions\.csv and no val_predictions\.csv"):
        run(files, predictions=[files])


def test_two_predictions_are_compared_on_what_both_have(files: Path) -> None:
    better = Predictions.read(files / "p.csv")
    noise = 0.3 * better.probabilities + 0.7 * np.random.default_rng(1).random(better.probabilities.shape)
    worse = Predictions(better.ids[::-1], better.findings[::-1], noise[::-1, ::-1])
    worse.rows(IDS[5:]).write(files / "q.csv")
    both: dict[str, Any] = {"predictions": [files / "p.csv", files / "q.csv"]}
    with pytest.raises(DataError, match=r"5 films stand in one of .* alone: 0\.png, 1\.png"):
        run(files, **both)
    both["missing"] = "leave-out"
    scores, recorder = run(files, **both, json=files / "s.json")
    assert scores.num_films == 55
    assert "5 films stand in one of" in recorder.warnings[0]
    comparison = recorder.comparisons[0]
    aps = [table.macro()["ap"] or 0 for table in recorder.tables]
    assert comparison.ap_difference == pytest.approx(aps[0] - aps[1])
    assert comparison.ci is not None
    assert comparison.ci[0] <= comparison.ap_difference <= comparison.ci[1]
    assert comparison.p_better is not None
    assert comparison.p_better > 0.9
    assert json.loads((files / "s.json").read_text())["comparison"]["p_better"] == comparison.p_better
    same, _ = run(files, predictions=[files / "p.csv", files / "p.csv"])
    assert same.comparison is not None
    assert (same.comparison.ap_difference, same.comparison.p_better) == (0, 0.5)
    assert run(files, **both, bootstrap=0)[0].comparison is not None


def test_a_column_of_decisions_beside_probabilities_is_told(files: Path) -> None:
    read = Predictions.read(files / "p.csv")
    half = np.column_stack([np.round(read.probabilities[:, 0]), read.probabilities[:, 1:]])
    Predictions(read.ids, read.findings, half).write(files / "d.csv")
    _, recorder = run(files, predictions=[files / "d.csv"])
    assert any("d.csv holds 0 and 1 alone for Normal: decisions" in line for line in recorder.warnings)
    assert not any("decisions" in line for line in run(files)[1].warnings)


def test_findings_that_nobody_predicted_are_told(files: Path) -> None:
    read = Predictions.read(files / "p.csv")
    read.select(["Normal"]).write(files / "p.csv")
    assert "not predicted, so not scored: Hernia, Mass" in run(files)[1].warnings[0]
    assert run(files, findings="Normal")[1].warnings == []


def test_predictions_may_come_through_a_pipe(files: Path) -> None:
    pipe = files / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes((files / "p.csv").read_bytes()))
    writer.start()
    assert run(files, predictions=[pipe])[0] == run(files)[0]
    writer.join()


def test_a_german_excel_says_the_same(files: Path) -> None:
    """Semicolons and decimal commas, in labels and in predictions; patients as floats."""
    expected, _ = run(files)
    for name in ("truth.csv", "p.csv"):
        cells = [line.split(",") for line in (files / name).read_text().splitlines()]
        if name == "truth.csv":
            cells = [cells[0], *([film, f"{patient}.0", *rest] for film, patient, *rest in cells[1:])]
        rows = [[cell if index == 0 else cell.replace(".", ",") for index, cell in enumerate(row)] for row in cells]
        (files / name).write_text("\n".join(";".join(row) for row in rows))
    assert ";0," in (files / "p.csv").read_text()
    scores, _ = run(files)
    assert scores == expected
