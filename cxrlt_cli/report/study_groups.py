"""The films of a study in groups by view, sex and age, compared as ``evaluate --by`` compares them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.machine import num_cores
from cxrlt_cli.scores.groups import GroupComparison, compare_groups, large_enough
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.groupings import EMPTY, By, Grouping, crossed, grouped, years_of
from cxrlt_cli.tables.label_table import LabelTable

VIEW, SEX, AGE = "ViewPosition", "PatientSex", "PatientAge"
GROUPED = {VIEW: "View", SEX: "Sex", AGE: "Age"}  # columns, and what they are called in tables
AGES = (40, 60)  # years, at which a group of age begins
AGE_GROUPS = (f"below {AGES[0]}", f"{AGES[0]} to {AGES[1] - 1}", f"{AGES[1]} or older", EMPTY)


def by_column(
    cells: Mapping[str, NDArray[np.object_]],
    truth: LabelTable,
    predictions: Predictions,
    num_resamples: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, GroupComparison]:
    """The comparison of each column of ``GROUPED`` that ``cells [N]`` has, of the films of ``truth``.

    Films of which a column says nothing are in none of its groups; a column without two groups that are large enough
    has no differences.
    """
    found = {}
    for column, title in GROUPED.items():
        if column not in cells:
            continue
        grouping = _by_age(cells[column]) if column == AGE else grouped(By(column), cells[column], Path(column))
        known = [(name, rows) for name, rows in crossed([grouping]) if name != (EMPTY,)]
        groups, small = large_enough(known, truth.patients)
        found[column] = compare_groups(
            [title],
            groups,
            small,
            predictions.findings,
            truth.targets,
            predictions.probabilities,
            truth.patients,
            num_resamples,
            seed=seed,
            num_threads=num_cores(),
            advance=advance,
        )
    return found


def _by_age(cells: NDArray[np.object_]) -> Grouping:
    """Three groups of adults by years; what is no age is not known."""
    ages = [years_of(str(cell)) for cell in cells]
    last = len(AGE_GROUPS) - 1
    places = [last if age is None else int(np.searchsorted(AGES, age, side="right")) for age in ages]
    return Grouping(AGE, AGE_GROUPS, np.array(places, np.int64))
