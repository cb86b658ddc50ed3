"""Groups of films, by columns of their CSV: compared on what all of them have, and each by itself for ``--json``."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import listed
from cxrlt_cli.machine import num_cores
from cxrlt_cli.scores.groups import MIN_GROUP, GroupComparison, compare_groups, large_enough
from cxrlt_cli.scores.judged import Judged, scored, with_intervals
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.tables.chosen import Chosen
from cxrlt_cli.tables.groupings import By, Grouping, crossed, decades, grouped, read_by
from cxrlt_cli.tables.label_table import read_csv

HINT_ON_NUMBERS = "Numbers go into groups with a colon, such as --by {}:4."


def compared_groups(
    judged: Judged, csv: Path, chosen: Chosen, options: EvaluateOptions, reporter: Reporter
) -> tuple[GroupComparison, dict[str, Scores]]:
    """The comparison of the groups of ``--by``, and the scores of each by itself where ``--json`` wants them."""
    columns, groupings = groupings_of(judged.truth.ids, csv, chosen, options)
    names = [one.column for one in columns]
    if len(names) > 1:
        is_typed = [one.text for one in columns] == list(options.by)
        why = "" if is_typed else ", how films were taken before whose they are"
        reporter.note(f"Groups are by {' and '.join(names)}{why}; those that are compared differ in {names[-1]} alone.")
    groups, small = large_enough(crossed(groupings), judged.truth.patients)
    if small:
        fewer = [f"{name} ({number})" for name, number in small]
        hint = ""
        if len(names) == 1 and len(small) > len(groups) and columns[0].num_quantiles is None and _numeric(small):
            hint = f" {HINT_ON_NUMBERS.format(names[0])}"
        reporter.note(f"Groups of fewer than {MIN_GROUP} patients, not scored: {listed(fewer, 10)}.{hint}")
    if not groups:
        reporter.warn(f"No group of --by has {MIN_GROUP} patients, so nothing is compared.")
    with reporter.progress("Resampling patients of groups", options.bootstrap, "resamples") as advance:
        comparison = compare_groups(
            names,
            groups,
            small,
            judged.predictions.findings,
            judged.truth.targets,
            judged.predictions.probabilities,
            judged.truth.patients,
            options.bootstrap,
            seed=options.seed,
            num_threads=num_cores(),
            advance=advance,
        )
    if len(comparison.findings) < len(judged.predictions.findings) / 2 and (ages := decades(groupings)):
        common = f"{len(comparison.findings)} of {counted(len(judged.predictions.findings), 'finding')}"
        reporter.note(f"Compared on {common}, for the others are too rare in some group. Fewer groups: --by {ages}:2.")
    if options.json_path is None:
        return comparison, {}
    frequencies = np.array([finding.frequency for finding in judged.scores.findings])
    scores = {}
    for group in groups:
        predictions = judged.predictions.rows(list(judged.truth.ids[group.rows]))
        truth = judged.truth.rows(group.rows)
        own = scored(predictions, truth, options, frequencies, judged.scores.num_patients is not None)
        (one,) = with_intervals([Judged(judged.path, predictions, truth, own)], options, lambda _: None)
        scores[group.name] = one.scores
    return comparison, scores


def groupings_of(
    ids: Iterable[str], csv: Path, chosen: Chosen, options: EvaluateOptions
) -> tuple[list[By], list[Grouping]]:
    """The columns of ``--by`` and the groups of these films; raises DataError where numbers are wanted and are none."""
    frame = chosen.rows_of(read_csv(csv), csv).set_index(options.id_column, drop=False)
    frame = frame.loc[list(ids)]
    columns = read_by(options.by, csv, list(frame.columns))
    return columns, [grouped(one, frame[one.column].to_numpy(object), csv) for one in columns]


def _numeric(small: Sequence[tuple[str, int]]) -> bool:
    return all(name.replace(".", "", 1).isdecimal() for name, _ in small)
