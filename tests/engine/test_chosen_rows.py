"""``--where`` in every command that reads a CSV, and by the headers of DICOM films."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cxrlt_cli import config
from cxrlt_cli.config import (
    ComputeOptions,
    DataCheckOptions,
    DataImportOptions,
    EvaluateOptions,
    InferOptions,
    Options,
    ReportOptions,
    TrainOptions,
)
from cxrlt_cli.engine.films import divide_films
from cxrlt_cli.engine.folder_films import film_list
from cxrlt_cli.errors import DataError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.verbs.data_check import check
from cxrlt_cli.verbs.evaluate import evaluate
from cxrlt_cli.verbs.infer import infer
from tests.exports import dicom, picture
from tests.helpers import Recorder, write_csv

VIEWS = ("PA", "AP", "LL", "")


def models() -> list[type[Options]]:
    known = [getattr(config, name) for name in config.__all__]
    options = [one for one in known if isinstance(one, type) and issubclass(one, Options)]
    return [one for one in options if "csv" in one.model_fields and one not in (DataImportOptions, ReportOptions)]


@pytest.mark.parametrize("model", models())
def test_every_command_that_reads_labels_takes_it(model: type[Options]) -> None:
    assert "where" in model.model_fields


@pytest.fixture
def with_views(labels: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The labels with a view of each film, and the folder of the films."""
    frame = pd.read_csv(labels)
    frame["ViewPosition"] = [VIEWS[row % 4] for row in range(len(frame))]
    frame.to_csv(tmp_path / "views.csv", index=False)
    return tmp_path / "views.csv", labels.parent / "images"


def test_training_predicting_and_scoring_take_the_same_rows(
    with_views: tuple[Path, Path], run: Path, tmp_path: Path
) -> None:
    csv, images = with_views
    where, told = "ViewPosition in (PA, AP)", "24 of 48 rows (left out: 12 with an empty cell that decides)"
    recorder = Recorder()
    division = divide_films(TrainOptions(csv=csv, image_dir=images, where=where, folds=2), csv, recorder)
    views = pd.read_csv(csv).set_index("ImageID")["ViewPosition"]
    assert len(division.judged) == 24
    assert set(views[list(division.judged.ids)]) == {"PA", "AP"}
    out = tmp_path / "p.csv"
    given: dict[str, Any] = {"csv": csv, "image_dir": images, "where": where, "device": "cpu", "workers": 0}
    infer(InferOptions(checkpoint=run, out=out, **given), recorder)
    assert set(Predictions.read(out).ids) == set(division.judged.ids)
    scores = evaluate(EvaluateOptions(predictions=(out,), csv=csv, where=where, bootstrap=0), recorder)
    assert scores.num_films == 24
    assert [note for note in recorder.notes if note.startswith("--where")] == [f"--where takes {told} of {csv}."] * 3
    with pytest.raises(DataError, match="no prediction for 24 of the 48"):
        evaluate(EvaluateOptions(predictions=(out,), csv=csv, bootstrap=0), recorder)


def test_a_check_looks_at_these_rows_alone(with_views: tuple[Path, Path], tmp_path: Path) -> None:
    csv, images = with_views
    frame = pd.read_csv(csv, keep_default_na=False).astype(str)
    frame.loc[frame["ViewPosition"] == "LL", "nodule"] = "-1"
    frame.to_csv(tmp_path / "faulty.csv", index=False)
    given: dict[str, Any] = {"csv": tmp_path / "faulty.csv", "image_dir": images}
    with pytest.raises(DataError):
        check(DataCheckOptions(**given), Recorder())
    check(DataCheckOptions(**given, where="ViewPosition != LL"), Recorder())


def test_validation_films_of_another_csv_are_taken_by_it_too(with_views: tuple[Path, Path], tmp_path: Path) -> None:
    csv, images = with_views
    frame = pd.read_csv(csv, keep_default_na=False)
    for name, rows in (("train", frame[:24]), ("val", frame[24:])):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    options = TrainOptions(csv=tmp_path / "train.csv", val_csv=tmp_path / "val.csv", image_dir=images,
                           where="ViewPosition == PA")  # fmt: skip
    ((training, validation),) = divide_films(options, tmp_path / "train.csv", Recorder()).pairs
    assert (len(training.table), len(validation.table)) == (6, 6)


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    folder = tmp_path / "ward"
    for name, view, age in (("a", "PA", "058Y"), ("b", "AP", "007Y"), ("c", "LL", "060Y"), ("d", "PA", "")):
        dicom(folder / f"{name}.dcm", Modality="DX", ViewPosition=view, PatientAge=age, PatientID=name)
    picture(folder / "e.png", 80, 0)
    return folder


def test_headers_say_what_no_column_does(ward: Path, tmp_path: Path) -> None:
    rows = [["a.dcm", "x"], ["b.dcm", "x"], ["c.dcm", "x"], ["d.dcm", "y"], ["e.png", "x"]]
    csv = write_csv(tmp_path / "f.csv", ["ImageID", "Ward"], rows)
    for given, where, taken in (
        (csv, "PatientAge >= 18 and ViewPosition != L", "a"),
        (csv, "Ward == y or PatientAge < 18", "bd"),
        (None, "PatientAge >= 18", "ac"),
        (None, "ViewPosition == ''", "e"),
    ):
        recorder = Recorder()
        films = film_list(ComputeOptions(csv=given, image_dir=ward, where=where), (), given, recorder)
        assert "".join(ids[0] for some in films.stretches([2, 2, 2]) for ids in some) == taken
        assert films.number == len(taken)
        assert any("DICOM headers" in note for note in recorder.notes)


def test_films_of_no_csv_have_the_columns_of_headers_alone(ward: Path) -> None:
    with pytest.raises(DataError, match="no column Ward without a CSV; DICOM headers say PatientID, StudyID"):
        film_list(ComputeOptions(image_dir=ward, where="Ward == x"), (), None, Recorder())


def test_a_film_that_is_not_there_is_told_and_not_left_out(ward: Path, tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "f.csv", ["ImageID"], [["a.dcm"], ["gone.dcm"]])
    options = ComputeOptions(csv=csv, image_dir=ward, where="PatientAge >= 18")
    with pytest.raises(DataError, match=r"gone\.dcm"):
        film_list(options, (), csv, Recorder())
