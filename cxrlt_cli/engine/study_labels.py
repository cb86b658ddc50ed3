"""The studies that films of a CSV belong to, and their labels. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrlt_cli.config import EvaluateOptions, PredictOptions
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.scores.studies import Studies
from cxrlt_cli.tables.label_table import LabelTable, Texts
from cxrlt_cli.tables.study_columns import Place, read_places


def studies_of(ids: Texts, csv: Path, options: PredictOptions | EvaluateOptions, reporter: Reporter) -> Studies:
    """The studies of films of a CSV. Raises DataError where one has none."""
    places, with_patients = read_places(
        csv,
        ids,
        id_column=options.id_column,
        patient_column=options.patient_column,
        study_column=options.study_column,
        view_column=options.view_column,
    )
    if lost := [film for film in ids if film not in places]:
        raise DataError(f"--per-study: {csv} has no row for {listed(lost)}.", "Pass a CSV that names all films.")
    if with_patients:
        reporter.warn(
            f"Patients of {csv} share names of studies ({options.study_column}): studies are called PATIENT/STUDY."
        )
    return studies_at([places[film] for film in ids], options, reporter)


def studies_at(places: Sequence[Place], options: PredictOptions | EvaluateOptions, reporter: Reporter) -> Studies:
    """The studies of films that lie there; how many have no film of a view that has a weight is told."""
    names, views = ([getattr(place, name) for place in places] for name in ("study", "view"))
    studies = Studies.of(np.array(names, object), np.array(views, object))
    if options.view_weights is not None and (number := studies.num_unweighted(options.view_weights)):
        what = counted(number, "study has", "studies have")
        reporter.warn(f"{what} films alone that --view-weights gives 0: there all films count alike.")
    return studies


def labels_of_studies(studies: Studies, films: LabelTable, reporter: Reporter) -> LabelTable:
    """The labels of studies, from those of their films; how many contradict each other is told."""
    if number := int(studies.unlike(films.targets).sum()):
        what = counted(number, "study has", "studies have")
        reporter.note(f"{what} films with other labels than its others: a finding of one film is one of the study.")
    return studies.table(films)
