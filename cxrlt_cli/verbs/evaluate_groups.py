"""Scores of groups of films, by a column of their CSV."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import listed
from cxrlt_cli.scores.judged import Judged, scored, with_intervals
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.tables.chosen import Chosen
from cxrlt_cli.tables.label_table import read_csv

MIN_GROUP = 10  # films, below which a group is not scored apart


def scores_of_groups(
    judged: Judged, csv: Path, chosen: Chosen, options: EvaluateOptions, reporter: Reporter
) -> dict[str, Scores]:
    """Scores of the films of each value of the column ``--by``, in the order of their names."""
    assert options.by is not None
    frame = chosen.rows_of(read_csv(csv), csv)
    value = dict(zip(frame[options.id_column], frame[options.by], strict=True))
    values: NDArray[np.object_] = np.array([value[film] or "(empty)" for film in judged.truth.ids], object)
    frequencies = np.array([finding.frequency for finding in judged.scores.findings])
    groups, small = {}, []
    for name in sorted(set(values)):
        rows = np.flatnonzero(values == name)
        if len(rows) < MIN_GROUP:
            small.append(f"{name} ({len(rows)})")
            continue
        predictions, truth = judged.predictions.rows(list(judged.truth.ids[rows])), judged.truth.rows(rows)
        scores = scored(predictions, truth, options, frequencies, judged.scores.num_patients is not None)
        (group,) = with_intervals([Judged(judged.path, predictions, truth, scores)], options, lambda _: None)
        groups[str(name)] = group.scores
    if small:
        reporter.note(f"Groups of fewer than {MIN_GROUP} films, not scored apart: {listed(small, 10)}.")
    return groups
