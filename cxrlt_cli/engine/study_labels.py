"""The studies that films of a CSV belong to, and their labels. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrlt_cli.config import EvaluateOptions, PredictOptions
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.scores.studies import Studies
from cxrlt_cli.tables.label_table import LabelTable, Texts
from cxrlt_cli.tables.study_columns import Place, named_apart, read_places


def studies_of(ids: Texts, csv: Path, options: PredictOptions | EvaluateOptions) -> Studies:
    """The studies of films of a CSV. Raises DataError where one has none."""
    places = read_places(
        csv,
        ids,
        id_column=options.id_column,
        patient_column=options.patient_column,
        study_column=options.study_column,
        view_column=options.view_column,
    )
    if lost := [film for film in ids if film not in places]:
        raise DataError(f"--per-study: {csv} has no row for {listed(lost)}.", "Pass a CSV that names all films.")
    return studies_at([places[film] for film in ids])


def studies_at(places: Sequence[Place]) -> Studies:
    names = np.array(named_apart(places), object)
    return Studies.of(names, np.array([place.view for place in places], object))


def labels_of_studies(studies: Studies, films: LabelTable, reporter: Reporter) -> LabelTable:
    """The labels of studies, from those of their films; how many contradict each other is told."""
    if number := int(studies.unlike(films.targets).sum()):
        what = counted(number, "study has", "studies have")
        reporter.note(f"{what} films with other labels than its others: a finding of one film is one of the study.")
    return studies.table(films)
