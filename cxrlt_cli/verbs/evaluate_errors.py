"""``evaluate --errors``: every film that is decided otherwise than it is labelled, as a table."""

import csv as csv_module
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import real
from cxrlt_cli.scores.judged import Judged
from cxrlt_cli.tables.outputs import require_table, write_table
from cxrlt_cli.tables.study_columns import known_cells

COLUMNS = ("finding", "label", "probability", "threshold", "decision", "share_below")


def require_errors(options: EvaluateOptions, inputs: Sequence[Path | None]) -> None:
    """Raise where ``--errors`` cannot be written, or would stand over an input or another output."""
    assert options.errors is not None, "asked for"
    require_table(options.errors, "--errors", inputs)
    for flag, path in (("--json", options.json_path), ("--report", options.report)):
        if path is not None and real(path) == real(options.errors):
            raise OptionError(f"--errors and {flag} are both {path}.", "Give each a file of its own.")


def write_errors(judged: Judged, csv: Path, options: EvaluateOptions, reporter: Reporter) -> None:
    """Write a row for each error at the threshold that F1 cuts at: by finding, misses first, the clearest first."""
    assert options.errors is not None, "asked for"
    id_column = options.id_column if options.per_study is None else options.study_column
    text = io.StringIO()
    writer = csv_module.writer(text, lineterminator="\n")
    errors = list(_errors(judged, None if options.threshold == "best" else options.threshold))
    films = [str(judged.truth.ids[row]) for row, _ in errors]
    names, known = _whose(judged, films, csv, options)
    writer.writerow((id_column, *names, *COLUMNS))
    writer.writerows((film, *known[film], *cells) for film, (_, cells) in zip(films, errors, strict=True))
    write_table(text.getvalue(), options.errors, id_column)
    reporter.result(f"Wrote {options.errors}: {counted(len(errors), 'error')}.")


def _whose(
    judged: Judged, films: Sequence[str], csv: Path, options: EvaluateOptions
) -> tuple[list[str], dict[str, list[str]]]:
    """The columns of patient, study and view that are known, of studies the patient's, and their cells."""
    if options.per_study is None:
        columns = (options.id_column, options.patient_column, options.study_column, options.view_column)
        return known_cells(csv, films, columns)
    if judged.scores.num_patients is None:
        return [], {film: [] for film in films}
    truth = judged.truth
    return [options.patient_column], {str(study): [str(p)] for study, p in zip(truth.ids, truth.patients, strict=True)}


def _errors(judged: Judged, fixed: float | None) -> Iterator[tuple[int, tuple[object, ...]]]:
    """The row of each, and its cells; probabilities as their own CSV has them.

    ``fixed``: the threshold of a finding that has no positive, where it is known without any.
    """
    for c, finding in enumerate(judged.scores.findings):
        threshold = fixed if finding.threshold is None else finding.threshold
        if threshold is None:
            continue
        labels, values = judged.truth.targets[:, c], judged.predictions.probabilities[:, c]
        below = judged.share_below(c)
        decided = values >= threshold
        missed = np.flatnonzero((labels == 1) & ~decided)
        alarms = np.flatnonzero((labels == 0) & decided)
        for row in (*missed[np.argsort(values[missed])], *alarms[np.argsort(-values[alarms])]):
            share = round(float(below[row]), 6)
            cells = (finding.name, int(labels[row]), float(values[row]), threshold, int(decided[row]), share)
            yield int(row), cells
