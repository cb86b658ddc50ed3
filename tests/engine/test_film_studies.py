"""``--per-study`` in the commands that predict and score: the same studies, whichever way they are reached."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrlt_cli.config import CalibrateOptions, EnsembleOptions, EvaluateOptions, InferOptions
from cxrlt_cli.engine.film_studies import studies_of_films
from cxrlt_cli.engine.folder_films import film_list
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs.calibrate import calibrate
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.infer import infer
from tests.exports import dicom, picture
from tests.helpers import Recorder, ensemble

WEIGHTS = {"frontal": 7.0, "lateral": 3.0}


@pytest.fixture
def csv(labels: Path, tmp_path: Path) -> Path:
    """Three films a study, of which one is lateral; not one after another, nor within patients of two films."""
    frame = pd.read_csv(labels, dtype=str)
    frame["StudyID"] = [f"s{row % 16}" for row in range(len(frame))]
    frame["PatientID"] = frame["StudyID"].str.replace("s", "p")
    frame["ViewPosition"] = ["LL" if row < 16 else "PA" for row in range(len(frame))]
    path = tmp_path / "studies.csv"
    frame.to_csv(path, index=False)
    return path


def naive(films: pd.DataFrame, csv: Path) -> pd.DataFrame:
    about = pd.read_csv(csv, dtype=str).set_index("ImageID")
    rows = {}
    for study, ids in about.groupby("StudyID", sort=False).groups.items():
        weights = [3.0 if about.ViewPosition[film] == "LL" else 7.0 for film in ids]
        rows[study] = np.average(films.loc[list(ids)].to_numpy(), axis=0, weights=weights)
    return pd.DataFrame.from_dict(rows, orient="index", columns=films.columns)


def test_all_commands_come_to_the_same(run: Path, labels: Path, csv: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"csv": csv, "image_dir": labels.parent / "images", "device": "cpu", "workers": 0}
    studies: dict[str, Any] = {"per_study": "mean", "view_weights": WEIGHTS}
    recorder = Recorder()
    infer(InferOptions(checkpoint=run, out=tmp_path / "films.csv", **given), recorder)
    infer(InferOptions(checkpoint=run, out=tmp_path / "infer.csv", **given, **studies), recorder)
    assert any(result.endswith("48 films, 3 findings of 16 studies.") for result in recorder.results)
    ensemble(EnsembleOptions(members=(run,), out=tmp_path / "models.csv", **given, **studies), recorder)
    ensemble(
        EnsembleOptions(members=(tmp_path / "films.csv",), csv=csv, out=tmp_path / "files.csv", **studies), recorder
    )
    expected = naive(pd.read_csv(tmp_path / "films.csv", index_col="ImageID"), csv)
    for name in ("infer", "models", "files"):
        found = pd.read_csv(tmp_path / f"{name}.csv", index_col="StudyID")
        assert found.index.tolist() == expected.index.tolist()
        np.testing.assert_allclose(found, expected, atol=1e-7)
    of_films = evaluate(EvaluateOptions(predictions=(tmp_path / "films.csv",), csv=csv, **studies), recorder)
    of_studies = evaluate(EvaluateOptions(predictions=(tmp_path / "infer.csv",), csv=csv, per_study="mean"), recorder)
    assert (of_films.num_films, of_films.num_patients, of_films.unit) == (16, 16, "study")
    assert of_films.macro() == pytest.approx(of_studies.macro(), abs=1e-6)
    assert of_films.to_json()["unit"] == "study"


def test_going_on_after_a_stop_gives_the_same_studies(
    run: Path, labels: Path, csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxrlt_cli.engine import partial
    from cxrlt_cli.verbs import infer as verb

    monkeypatch.setattr(verb, "stretches", lambda *_: [10, 10, 10, 10, 10])
    given: dict[str, Any] = {"csv": csv, "image_dir": labels.parent / "images", "device": "cpu", "workers": 0,
                             "per_study": "max", "batch_size": 4}  # fmt: skip
    infer(InferOptions(checkpoint=run, out=tmp_path / "whole.csv", **given), Recorder())
    append, times = partial.PartialFiles.append, []

    def stops(self: partial.PartialFiles, *rest: Any) -> None:
        append(self, *rest)
        times.append(1)
        if len(times) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(partial.PartialFiles, "append", stops)
        with pytest.raises(KeyboardInterrupt):
            infer(InferOptions(checkpoint=run, out=tmp_path / "part.csv", **given), Recorder())
    recorder = Recorder()
    infer(InferOptions(checkpoint=run, out=tmp_path / "part.csv", **given), recorder)
    assert any(note.startswith("Going on after 20 films") for note in recorder.notes)
    assert (tmp_path / "part.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_weights_of_views_are_fitted_where_they_help(csv: Path, tmp_path: Path) -> None:
    """The lateral film alone shows a finding, so that it should weigh more than two frontal ones."""
    frame = pd.read_csv(csv, dtype=str)
    number = frame["StudyID"].str.removeprefix("s").astype(int)
    rng = np.random.default_rng(0)
    sick = number % 3 == 0
    frame["nodule"] = sick.astype(int)
    is_lateral = frame["ViewPosition"] == "LL"
    films = frame[["ImageID"]].assign(nodule=np.where(is_lateral, 0.35 + 0.2 * sick, rng.random(len(frame))))
    frame[["ImageID", "PatientID", "StudyID", "ViewPosition", "nodule"]].to_csv(tmp_path / "truth.csv", index=False)
    films.to_csv(tmp_path / "films.csv", index=False)
    recorder, members = Recorder(), (tmp_path / "films.csv",)
    options = EnsembleOptions(members=members, csv=tmp_path / "truth.csv", out=tmp_path / "fit.csv", fit=True,
                              per_study="mean")  # fmt: skip
    ensemble(options, recorder)
    assert any("mean of a study, frontal 3, lateral 7" in result for result in recorder.results)
    text = (tmp_path / "fit.yaml").read_text()
    assert "per_study: mean" in text
    assert "lateral: 7.0" in text
    assert Predictions.read(tmp_path / "fit.csv", "StudyID").ids.tolist() == list(dict.fromkeys(frame["StudyID"]))


def test_headers_say_which_study_films_of_a_folder_belong_to(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    for name, study, view in (("a", "1.2", "PA"), ("b", "1.3", "PA"), ("c", "1.2", "LL")):
        dicom(folder / f"{name}.dcm", Modality="DX", StudyInstanceUID=study, ViewPosition=view)
    options = InferOptions(checkpoint=tmp_path, image_dir=folder, per_study="mean")
    films = film_list(options, (), None, Recorder())
    (ids,) = films.stretches([9])
    studies = studies_of_films(ids, films, options, Recorder())
    assert studies.names.tolist() == ["1.2", "1.3"]
    assert studies.views.tolist() == ["PA", "PA", "L"]
    picture(folder / "d.png", 80, 0)
    films = film_list(options, (), None, Recorder())
    (ids,) = films.stretches([9])
    with pytest.raises(DataError, match=r"no DICOM header says which study d\.png belongs to"):
        studies_of_films(ids, films, options, Recorder())


def test_what_does_not_go_together_is_told(csv: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="thresholds that were fitted on films, and --per-study predicts studies"):
        InferOptions(checkpoint=csv, per_study="max", decisions=tmp_path / "d.csv")
    with pytest.raises(ValueError, match="pass --per-study mean too"):
        InferOptions(checkpoint=csv, view_weights=WEIGHTS)
    with pytest.raises(ValueError, match="none negative and not all 0"):
        InferOptions(checkpoint=csv, per_study="mean", view_weights={"PA": 0.0})
    with pytest.raises(ValueError, match="--by is for films"):
        EvaluateOptions(predictions=(csv,), per_study="mean", by=("PatientSex",))
    Predictions(np.array(["a"], object), ("nodule",), np.array([[0.5]])).write(tmp_path / "p.csv")
    with pytest.raises(OptionError, match="prediction CSVs do not say which films make a study"):
        ensemble(EnsembleOptions(members=(tmp_path / "p.csv",), per_study="mean"), Recorder())


def test_names_and_weights_that_are_not_what_they_seem_are_told(csv: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(csv, dtype=str)
    frame["StudyID"] = frame["StudyID"].replace("s1", "s0")
    frame["ViewPosition"] = np.where(frame["StudyID"] == "s2", "LL", frame["ViewPosition"])
    frame.to_csv(tmp_path / "shared.csv", index=False)
    ids = frame["ImageID"].to_numpy(object)
    Predictions(ids, ("nodule",), np.full((len(ids), 1), 0.5)).write(tmp_path / "p.csv")
    recorder = Recorder()
    ensemble(
        EnsembleOptions(members=(tmp_path / "p.csv",), csv=tmp_path / "shared.csv", out=tmp_path / "s.csv",
                        per_study="mean", view_weights={"frontal": 1.0, "lateral": 0.0}),
        recorder,
    )  # fmt: skip
    assert any("studies are called PATIENT/STUDY" in warning for warning in recorder.warnings)
    assert any(
        warning.startswith("1 study has films alone that --view-weights gives 0") for warning in recorder.warnings
    )
    assert "p0/s0" in Predictions.read(tmp_path / "s.csv", "StudyID").ids


def test_what_was_calibrated_on_films_is_not_used_for_studies(csv: Path, tmp_path: Path) -> None:
    ids = pd.read_csv(csv, dtype=str)["ImageID"].to_numpy(object)
    noise = np.random.default_rng(0).random((len(ids), 1))
    Predictions(ids, ("nodule",), noise).write(tmp_path / "p.csv")
    calibrate(CalibrateOptions(model=tmp_path / "p.csv", csv=csv, out=tmp_path / "f.json"), Recorder())
    options = EnsembleOptions(members=(tmp_path / "p.csv",), csv=csv, out=tmp_path / "s.csv", per_study="max",
                              fitted=tmp_path / "f.json", calibration="platt")  # fmt: skip
    with pytest.raises(OptionError, match="was fitted on films, and --per-study predicts studies"):
        ensemble(options, Recorder())
