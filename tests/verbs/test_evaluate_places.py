import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.errors import DataError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs.evaluate import evaluate
from tests.helpers import Recorder, write_csv

FINDINGS = ("Normal", "Mass")
HEADER = ["ImageID", "PatientID", "ViewPosition", "PatientAge", "Ward", *FINDINGS]


def write_place(folder: Path, name: str, num: int, share: float, seed: int, ood: bool = True) -> None:
    """``NAME.csv`` of labels and ``NAME_p.csv`` of predictions, of films that are called after the place."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((num, 2)) < (0.5, share)).astype(int)
    ids = [f"{name}{row}.png" for row in range(num)]
    rows = [
        (film, row // 2, "PA" if row % 4 else "AP", 20 + row % 50 + seed, f"ward {row}", *truth[row])
        for row, film in enumerate(ids)
    ]
    write_csv(folder / f"{name}.csv", HEADER, rows)
    predictions = Predictions(np.array(ids, object), FINDINGS, np.clip(0.3 * truth + 0.7 * rng.random((num, 2)), 0, 1))
    if ood:
        predictions = predictions.with_column("ood_score", np.linspace(0, 1, num) ** (1 + seed))
    predictions.write(folder / f"{name}_p.csv")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "csv").mkdir()
    write_place(tmp_path / "csv", "theirs", 200, 0.15, 1)
    write_place(tmp_path / "csv", "ours", 300, 0.4, 2)
    return tmp_path / "csv"


def run(folder: Path, early: Recorder | None = None, **changes: Any) -> Recorder:
    recorder = early or Recorder()
    values = {
        "predictions": [folder / "theirs_p.csv", folder / "ours_p.csv"],
        "csv": folder / "theirs.csv",
        "against": folder / "ours.csv",
        "bootstrap": 30,
        **changes,
    }
    evaluate(EvaluateOptions.model_validate(values), recorder)
    return recorder


def test_two_places_are_shown_side_by_side(files: Path) -> None:
    recorder = run(files, json=files / "s.json", report=files / "page.html")
    films, ap, auroc = recorder.texts
    facts = {row[0]: row[1:] for row in films[1:]}
    assert films[0] == ("", "theirs", "ours")
    assert facts["films"] == ("200", "300")
    assert facts["patients"] == ("100", "150")
    assert facts["ViewPosition AP"] == ("25.0 %", "25.0 %")
    assert facts["PatientAge, median"] == ("45.5", "46.5")
    assert facts["ood_score above 0.95"] == ("3.0 %", "2.0 %")
    assert not [name for name in facts if "Ward" in name]
    content = json.loads((files / "s.json").read_text())
    against = content["against"]
    mass = against["findings"][1]
    read = Predictions.read(files / "theirs_p.csv")
    truth = _labels(files / "theirs.csv")
    assert mass["ap"] == pytest.approx(average_precision_score(truth[:, 1], read.probabilities[:, 1]))
    assert content["findings"][1]["ap"] == pytest.approx(mass["ap"])
    assert against["scores"]["findings"][1]["ap"] == pytest.approx(mass["ap_against"])
    assert mass["by_prevalence"] + mass["rest"]["value"] == pytest.approx(mass["difference"]["value"])
    assert ap[2][:4] == ("Mass", *(f"{mass[key]:.3f}" for key in ("ap", "ap_against", "ap_at_prevalence")))
    assert mass["by_prevalence"] < -0.05
    assert ap[3][0] == "mean of 2"
    assert auroc[0] == ("finding", "theirs", "ours", "difference (95 %)", "p (Holm)")
    prevalence = next(fact for fact in against["films"] if fact["name"] == "prevalence of Mass")
    assert prevalence["value"] == truth[:, 1].mean()
    page = (files / "page.html").read_text()
    assert page.count("<h2>AP in ") == page.count("<h2>AUROC in ") == page.count("<h2>Films of ") == 1
    assert recorder.warnings == []


def _labels(path: Path) -> np.ndarray:
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    return np.array([[int(cell) for cell in row[-2:]] for row in rows])


def test_one_file_may_hold_the_predictions_of_both(files: Path) -> None:
    theirs, ours = (Predictions.read(files / f"{name}_p.csv") for name in ("theirs", "ours"))
    ids = np.concatenate([theirs.ids, ours.ids])
    Predictions(ids, FINDINGS, np.vstack([theirs.probabilities, ours.probabilities])).write(files / "both.csv")
    together = run(files, predictions=[files / "both.csv"])
    assert together.texts[1:] == run(files).texts[1:]
    assert together.warnings == []


def test_without_predictions_of_the_other_place_films_alone_are_compared(files: Path) -> None:
    recorder = run(files, predictions=[files / "theirs_p.csv"], json=files / "s.json")
    assert len(recorder.texts) == 1
    assert any("predicts no film of" in note for note in recorder.notes)
    assert json.loads((files / "s.json").read_text())["against"]["scores"] is None
    early = Recorder()
    with pytest.raises(DataError, match=r"no\.csv does not exist"):
        run(files, against=files / "no.csv", early=early)
    assert early.tables == []
    with pytest.raises(DataError, match="share no film"):
        run(files, predictions=[files / "theirs_p.csv", files / "theirs_p.csv"])


def test_files_are_looked_at_where_their_folder_is_named(files: Path) -> None:
    rng = np.random.default_rng(0)
    for place, depth in (("theirs", np.uint8), ("ours", np.uint16)):
        (files.parent / place).mkdir()
        for row in range(300):
            film = cv2.GaussianBlur(rng.random((40, 40)), (0, 0), 1 if place == "theirs" else 3)
            cv2.imwrite(str(files.parent / place / f"{place}{row}.png"), (film * np.iinfo(depth).max).astype(depth))
    lost = run(files, image_dir=files.parent / "theirs")
    assert "The films of" in lost.warnings[0]
    assert "ours.csv are not found" in lost.warnings[0]
    shutil.copytree(files.parent / "ours", files / "images")
    (files / "images" / "ours0.png").write_bytes(b"broken")
    found = run(files, image_dir=files.parent / "theirs")
    facts = {row[0]: row[1:] for row in found.texts[0][1:]}
    assert facts["files of PNG, 8 bit"] == ("100.0 %", "0.0 %")
    assert facts["files of PNG, 16 bit"] == ("0.0 %", "100.0 %")
    assert facts["shorter side in pixels, median"] == ("40", "40")
    sharp = [float(cell) for cell in facts["sharpness at 512 px, median"]]
    assert sharp[0] > 1.5 * sharp[1] > 0
    assert "1 film is missing or damaged" in found.warnings[0]


def test_films_of_one_name_are_not_taken_for_those_of_the_other_place(files: Path) -> None:
    """Both hospitals call their films alike, and --image-dir has those of one."""
    (files.parent / "theirs").mkdir()
    for row in range(300):
        film = np.random.default_rng(row).integers(0, 255, (40, 40), np.uint8)
        cv2.imwrite(str(files.parent / "theirs" / f"theirs{row}.png"), film)
    for name in ("ours.csv", "ours_p.csv"):
        (files / name).write_text((files / name).read_text().replace("ours", "theirs"))
    recorder = run(files, image_dir=files.parent / "theirs")
    assert "ours.csv are not found" in recorder.warnings[-1]
    assert not [row for row in recorder.texts[0] if "sharpness" in row[0]]


def test_what_both_do_not_have_is_not_compared(files: Path) -> None:
    write_place(files, "theirs", 200, 0.15, 1, ood=False)
    lines = (files / "ours.csv").read_text().splitlines()
    cut = [",".join(cell for place, cell in enumerate(line.split(",")) if place != 2) for line in lines]
    (files / "ours.csv").write_text("\n".join(cut))
    recorder = run(files, findings="Mass")
    facts = [row[0] for row in recorder.texts[0][1:]]
    assert not [name for name in facts if "View" in name or "ood" in name or "Normal" in name]
    assert "PatientAge, median" in facts
    write_place(files, "ours", 300, 0.01, 2)
    rare = run(files, findings="Mass")
    assert len(rare.texts) == 1
    assert "Scores are not compared: of Mass" in rare.notes[-1]


def test_films_are_not_held_against_themselves(files: Path) -> None:
    given: dict[str, Any] = {"predictions": [files / "theirs_p.csv"], "against": files / "theirs.csv"}
    with pytest.raises(DataError, match="holds 50 films that --csv has too") as caught:
        run(files, where="ViewPosition == AP", **given)
    assert "--exclude" in caught.value.hint
    ids = [f"theirs{row}.png" for row in range(0, 200, 4)]
    apart = write_csv(files / "ap.csv", ["ImageID"], [[film] for film in ids])
    shutil.copy(files / "theirs_p.csv", files / "again_p.csv")
    recorder = run(files, predictions=[files / "theirs_p.csv", files / "again_p.csv"], against=files / "theirs.csv")
    assert any("If they are the same, the intervals" in warning for warning in recorder.warnings)
    excluded = run(files, exclude=[apart])
    assert excluded.texts[0][1][1:] == ("150", "300"), "of either place"
