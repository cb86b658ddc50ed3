"""``evaluate --per-study``: films to studies, or predictions that are of studies already."""

from collections.abc import Sequence
from pathlib import Path

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.engine.study_labels import labels_of_studies, studies_of
from cxrlt_cli.errors import OptionError
from cxrlt_cli.scores.decisions import read_predicted
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable, read_header

Pair = tuple[Predictions, LabelTable]


def read_files(options: EvaluateOptions) -> tuple[list[Predictions], bool]:
    """What is to be scored, and whether it is of studies: their ids stand in ``--study-column`` then."""
    if options.per_study is None:  # a pipe is read once
        return [read_predicted(path, options.id_column) for path in options.predictions], False
    columns = [read_header(path) for path in options.predictions]
    of_studies = [options.id_column not in one and options.study_column in one for one in columns]
    if len(set(of_studies)) > 1:
        one, other = options.predictions
        raise OptionError(
            f"{one} and {other}: one has predictions of films, the other of studies.", "Compare two files of one kind."
        )
    column = options.study_column if of_studies[0] else options.id_column
    return [read_predicted(path, column) for path in options.predictions], of_studies[0]


def truth_of_studies(films: LabelTable, csv: Path, options: EvaluateOptions, reporter: Reporter) -> LabelTable:
    """The labels of studies, of those of all their films."""
    return labels_of_studies(studies_of(films.ids, csv, options, reporter), films, reporter)


def to_studies(aligned: Sequence[Pair], csv: Path, options: EvaluateOptions, reporter: Reporter) -> list[Pair]:
    """Predictions and labels of films, which are the same films in all pairs, to those of their studies."""
    assert options.per_study is not None, "asked for"
    films = aligned[0][1]
    studies = studies_of(films.ids, csv, options, reporter)
    truth = labels_of_studies(studies, films, reporter)
    return [(studies.predictions(mine, options.per_study, options.view_weights), truth) for mine, _ in aligned]
