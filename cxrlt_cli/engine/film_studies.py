"""Which study each film belongs to, and how it was taken: by the columns of a CSV, or else by DICOM headers."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlt_cli.config import EnsembleOptions, PredictOptions
from cxrlt_cli.data.headers import Header, read_header
from cxrlt_cli.engine.films import FilmList
from cxrlt_cli.engine.folder_films import FolderFilms
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.engine.study_labels import studies_at, studies_of
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.machine import in_threads, num_cores
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.studies import Studies
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tables.label_table import read_header as read_columns
from cxrlt_cli.tables.study_columns import Place


def studies_of_films(ids: Texts, films: FilmList, options: PredictOptions, reporter: Reporter) -> Studies:
    """As ``studies_of``; of films of a folder, or of a CSV without such a column, by their DICOM headers."""
    if not isinstance(films, FolderFilms) and options.study_column in read_columns(films.source):
        return studies_of(ids, films.source, options, reporter)
    look = partial(read_header, max_pixels=options.max_pixels)
    headers = [header or Header() for header in in_threads(look, films.paths(ids), num_cores())]
    if lost := [film for film, header in zip(ids, headers, strict=True) if not header.study]:
        table = "" if isinstance(films, FolderFilms) else f"{films.source} has no column '{options.study_column}', and "
        raise DataError(
            f"--per-study: {table}no DICOM header says which study {listed(lost)} belongs to.",
            f"Pass a CSV with a column '{options.study_column}' (--study-column).",
        )
    places = [Place(header.patient, header.study, header.view) for header in headers]
    return studies_at(places, options, reporter)


def all_studies(films: FilmList, options: PredictOptions, reporter: Reporter) -> Studies | None:
    """The studies of all films, where they are asked for."""
    if options.per_study is None:
        return None
    (ids,) = films.stretches([films.number])
    return studies_of_films(ids, films, options, reporter)


def studies_to_predict(
    ids: Texts, films: FilmList | None, csv: Path | None, options: EnsembleOptions, reporter: Reporter
) -> Studies:
    """The studies of films that members predict; of prediction CSVs alone, by ``--csv``."""
    if films is not None:
        return studies_of_films(ids, films, options, reporter)
    if csv is None:
        raise OptionError(
            "--per-study: prediction CSVs do not say which films make a study.",
            f"Pass a CSV with a column '{options.study_column}' with --csv.",
        )
    return studies_of(ids, csv, options, reporter)


def finish_studies(rows: Path, path: Path, studies: Studies, options: PredictOptions) -> None:
    """Turn a CSV of films that grew into predictions of their studies at ``path``; it is gone then."""
    assert options.per_study is not None, "asked for"
    frame = pd.read_csv(rows, dtype={options.id_column: str}, keep_default_na=False)
    ids = frame.pop(options.id_column).to_numpy(object)
    predictions = Predictions(ids, tuple(frame.columns), frame.to_numpy(np.float64))
    studies.predictions(predictions, options.per_study, options.view_weights).write(path, options.study_column)
    rows.unlink()
