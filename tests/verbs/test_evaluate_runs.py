import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.scores.predictions import Predictions, blend
from cxrlt_cli.verbs.evaluate import evaluate
from tests.helpers import Recorder, write_csv

NUM_FILMS = 120
IDS = np.array([f"{n}.png" for n in range(NUM_FILMS)], object)
TRUTH = (np.random.default_rng(0).random((NUM_FILMS, 2)) < (0.4, 0.3)).astype(int)


def predicted(signal: float, seed: int) -> Predictions:
    noise = np.random.default_rng(seed).random(TRUTH.shape)
    return Predictions(IDS, ("Mass", "Edema"), np.clip(signal * TRUTH + (1 - signal) * noise, 0, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [(film, n // 2, *TRUTH[n]) for n, film in enumerate(IDS)]
    write_csv(tmp_path / "truth.csv", ["ImageID", "PatientID", "Mass", "Edema"], rows)
    for name, signal in (("a", 0.2), ("b", 0.4), ("c", 0.2)):
        predicted(signal, ord(name)).write(tmp_path / f"{name}.csv")
    for run, signal in (("plain", 0.2), ("more", 0.4)):
        seeds = [predicted(signal, number) for number in (1, 2)]
        for number, one in zip((1, 2), seeds, strict=True):
            (tmp_path / run / f"seed-{number}").mkdir(parents=True)
            one.write(tmp_path / run / f"seed-{number}" / "oof_predictions.csv")
        blend(seeds).write(tmp_path / run / "oof_predictions.csv")
    return tmp_path


def run(folder: Path, *names: str, **changes: Any) -> tuple[Scores, Recorder]:
    recorder = Recorder()
    values = {"predictions": [folder / name for name in names], "csv": folder / "truth.csv", "bootstrap": 60, **changes}
    return evaluate(EvaluateOptions.model_validate(values), recorder), recorder


def test_three_files_are_compared_with_the_first(folder: Path) -> None:
    scores, recorder = run(folder, "a.csv", "b.csv", "c.csv", json=folder / "s.json", report=folder / "page.html")
    header, *rows = recorder.texts[-1]
    assert header == ("predictions", "score", "value (95 %)", "difference (95 %)", "p (Holm)")
    assert [row[0] for row in rows[::2]] == [str(folder / name) for name in ("a.csv", "b.csv", "c.csv")]
    assert [row[1] for row in rows] == ["AP", "AUROC"] * 3
    assert rows[0][3] == "reference"
    assert rows[2][3].startswith("+0.")
    assert float(rows[2][4].removeprefix("< ")) < 0.05 < float(rows[4][4])
    assert any("p counts 4 comparisons" in line for line in recorder.results)
    content = json.loads((folder / "s.json").read_text())
    assert content["comparison"] is None is scores.comparison
    assert [one["name"] for one in content["runs"]] == [row[0] for row in rows[::2]]
    values = [content["macro"]["ap"], content["second"]["macro"]["ap"], content["others"][0]["macro"]["ap"]]
    assert [one["ap"]["value"] for one in content["runs"]] == values
    assert content["runs"][1]["ap"]["difference"]["value"] == pytest.approx(values[1] - values[0])
    assert "Macro scores, compared" in (folder / "page.html").read_text()
    assert len(recorder.tables) == 1


def test_runs_of_seeds_are_compared_by_seeds_and_patients(folder: Path) -> None:
    scores, recorder = run(folder, "plain", "more", json=folder / "s.json")
    header, *rows = recorder.texts[-1]
    assert header[:2] == ("predictions", "seeds")
    assert [row[:3] for row in rows[::2]] == [(str(folder / name), "2", "AP") for name in ("plain", "more")]
    assert any("seeds and patients" in line and "each alone" in line for line in recorder.results)
    assert any("Two seeds are too few for a p" in line and "p counts" not in line for line in recorder.results)
    assert rows[2][-1] == "–"
    content = json.loads((folder / "s.json").read_text())
    seeds = [run(folder, f"more/seed-{n}", bootstrap=0)[0].macro()["ap"] for n in (1, 2)]
    assert content["runs"][1]["ap"]["value"] == pytest.approx(np.mean(np.array(seeds, float)))
    assert content["runs"][1]["ap"]["value"] != content["second"]["macro"]["ap"], "of the mean over seeds"
    assert scores.comparison is not None, "of the means over seeds, as ever"
    mixed = run(folder, "plain", "b.csv")[1].texts[-1]
    assert [row[1] for row in mixed[1::2]] == ["2", "1"]


def test_one_run_has_the_scores_of_its_file(folder: Path) -> None:
    (folder / "single").mkdir()
    predicted(0.3, 1).write(folder / "single" / "val_predictions.csv")
    assert run(folder, "single")[0] == run(folder, "single/val_predictions.csv")[0]


def test_what_cannot_be_compared_is_told(folder: Path) -> None:
    few = predicted(0.3, 1).rows([str(film) for film in IDS[:50]])
    few.write(folder / "plain" / "seed-1" / "oof_predictions.csv")
    with pytest.raises(DataError, match=r"seed-1/oof_predictions\.csv lacks 100\.png, .* which its run has"):
        run(folder, "plain", "more")
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty has no oof_predictions\.csv and no val_predictions\.csv"):
        run(folder, "a.csv", "empty")
    with pytest.raises(OptionError, match="3 prediction files were given"):
        run(folder, "a.csv", "b.csv", "c.csv", against=folder / "truth.csv")
    few.write(folder / "c.csv")
    with pytest.raises(DataError, match="70 films stand in some of"):
        run(folder, "a.csv", "b.csv", "c.csv")
