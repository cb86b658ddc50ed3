"""``evaluate --errors``: every film that is decided otherwise than it is labelled, as a table."""

import csv
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

COLUMNS = ("finding", "label", "probability", "threshold", "decision", "share_below")


def require_errors(options: EvaluateOptions, inputs: Sequence[Path | None]) -> None:
    """Raise where ``--errors`` cannot be written, or would stand over an input or another output."""
    assert options.errors is not None, "asked for"
    require_table(options.errors, "--errors", inputs)
    for flag, path in (("--json", options.json_path), ("--report", options.report)):
        if path is not None and real(path) == real(options.errors):
            raise OptionError(f"--errors and {flag} are both {path}.", "Give each a file of its own.")


def write_errors(judged: Judged, options: EvaluateOptions, reporter: Reporter) -> None:
    """Write a row for each error at the threshold that F1 cuts at: by finding, misses first, the clearest first."""
    assert options.errors is not None, "asked for"
    id_column = options.id_column if options.per_study is None else options.study_column
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((id_column, *COLUMNS))
    rows = list(_rows(judged, None if options.threshold == "best" else 0.5))
    writer.writerows(rows)
    write_table(text.getvalue(), options.errors, id_column)
    reporter.result(f"Wrote {options.errors}: {counted(len(rows), 'error')}.")


def _rows(judged: Judged, fixed: float | None) -> Iterator[tuple[object, ...]]:
    """``fixed``: the threshold of a finding that has no positive, where it is known without any."""
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
            yield (
                judged.predictions.ids[row],
                finding.name,
                int(labels[row]),
                float(values[row]),
                threshold,
                int(decided[row]),
                round(float(below[row]), 6),
            )
