from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.film_facts import FilmFacts
from cxrlt_cli.engine.folder_films import film_list
from cxrlt_cli.errors import OptionError
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.columns import FILM_FACTS
from tests.exports import dicom, picture
from tests.helpers import Recorder


def written(folder: Path, out: Path, wanted: bool = True) -> tuple[pd.DataFrame, Recorder]:
    options, recorder = ComputeOptions(image_dir=folder), Recorder()
    films = film_list(options, (), None, recorder)
    (ids,) = films.stretches([9])
    predictions = Predictions(ids, ("nodule",), np.full((len(ids), 1), 0.5))
    FilmFacts.of(options, films, wanted).added(predictions, recorder).write(out)
    frame = pd.read_parquet(out) if out.suffix == ".parquet" else pd.read_csv(out, dtype=str, keep_default_na=False)
    return frame, recorder


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    said: dict[str, Any] = {"PatientID": "007", "StudyInstanceUID": "1.2.3", "PatientSex": "F", "PatientAge": "058Y"}
    dicom(folder / "ward" / "a.dcm", Modality="DX", ViewPosition="PA", **said)
    picture(folder / "b.png", 80, 0)
    return folder


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_say_what_the_header_says(ending: str, films: Path, tmp_path: Path) -> None:
    frame, _ = written(films, tmp_path / f"p.{ending}")
    assert list(frame.columns) == ["ImageID", *FILM_FACTS, "nodule"]
    assert frame.iloc[0].tolist()[:-1] == ["b.png", "", "", "", "", "", "b.png"]
    assert frame.iloc[1].tolist()[:-1] == ["ward/a.dcm", "007", "1.2.3", "PA", "F", "58", "ward/a.dcm"]


def test_they_are_no_findings_when_predictions_are_read(films: Path, tmp_path: Path) -> None:
    written(films, tmp_path / "p.csv")
    predictions = Predictions.read(tmp_path / "p.csv")
    assert predictions.findings == ("nodule",)
    assert predictions.ids.tolist() == ["b.png", "ward/a.dcm"]


def test_without_the_option_nothing_is_added(films: Path, tmp_path: Path) -> None:
    assert list(written(films, tmp_path / "p.csv", wanted=False)[0].columns) == ["ImageID", "nodule"]


def test_what_a_spreadsheet_would_run_is_not_written(films: Path, tmp_path: Path) -> None:
    dicom(films / "c.dcm", Modality="DX", PatientID="=cmd|'/c calc'!A1")
    frame, recorder = written(films, tmp_path / "p.csv")
    assert frame.PatientID.tolist() == ["", "", "007"]
    assert any(warning.startswith("1 cell of --dicom-columns stays empty") for warning in recorder.warnings)


def test_ids_are_called_otherwise(films: Path) -> None:
    options = ComputeOptions(image_dir=films, id_column="Path")
    with pytest.raises(OptionError, match="columns of one name"):
        FilmFacts.of(options, film_list(options, (), None, Recorder()), wanted=True)
