"""Groups of films compared on the findings that all of them have, at one prevalence; patients resampled once for all.

Letters: N films, C findings, G groups, R resamples. A mean over the findings that a group happens to have says nothing
beside that of another group, and AP rises with prevalence: neither is a difference in skill.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import Interval, Ranking, deciding_patients, numbered, resample_rankings
from cxrlt_cli.scores.differences import MIN_EACH, Difference, Sampled, difference, with_holm
from cxrlt_cli.scores.intervals import Scale, Student, interval
from cxrlt_cli.scores.metrics import prevalence

MIN_GROUP = 30  # patients, below which a group is not scored


@dataclass(frozen=True)
class Group:
    """Films that belong together, and the group that they are compared with; None where others are with them."""

    name: str
    rows: NDArray[np.int64]  # of its films
    reference: str | None = None


@dataclass(frozen=True)
class Standing:
    """AP at the common prevalence and AUROC in one group, of one finding or as means, and how they differ."""

    ap: float
    auroc: float
    ap_difference: Difference | None = None  # from the group's reference
    auroc_difference: Difference | None = None
    ap_ci: Interval | None = None  # 95 %
    auroc_ci: Interval | None = None

    @property
    def differences(self) -> tuple[Difference, ...]:
        return tuple(one for one in (self.ap_difference, self.auroc_difference) if one is not None)


@dataclass(frozen=True)
class GroupStanding:
    """One group: how large it is, its means over the common findings (None without any), and each of these."""

    name: str
    reference: str | None
    num_films: int
    num_patients: int
    macro: Standing | None
    findings: tuple[Standing, ...]


@dataclass(frozen=True)
class GroupComparison:
    """Groups on their common ``findings``, as if each had the ``prevalences`` of all films together."""

    columns: tuple[str, ...]
    findings: tuple[str, ...]
    prevalences: tuple[float, ...]
    groups: tuple[GroupStanding, ...]
    too_small: tuple[tuple[str, int], ...]  # groups that are not scored, and how many patients they have

    def to_json(self) -> dict[str, Any]:
        """Of ``evaluate --json``, under ``group_comparison``; findings with their names."""
        return {
            "columns": list(self.columns),
            "findings": [
                {"name": name, "prevalence": share} for name, share in zip(self.findings, self.prevalences, strict=True)
            ],
            "groups": [
                {
                    **asdict(one),
                    "findings": [
                        {"name": name, **asdict(each)} for name, each in zip(self.findings, one.findings, strict=True)
                    ],
                }
                for one in self.groups
            ],
            "too_small": [{"name": name, "num_patients": number} for name, number in self.too_small],
        }


def large_enough(
    groups: Sequence[tuple[tuple[str, ...], NDArray[np.int64]]], patients: NDArray[Any]
) -> tuple[list[Group], tuple[tuple[str, int], ...]]:
    """The groups of ``MIN_GROUP`` patients or more, with their references, and the others with their patients.

    A group has a name in each column. It is compared with groups that differ from it in the last column alone: with
    the one that has most films in all of them together, or where that is too small here, most films here.
    """
    numbers = [(name, rows, len(set(patients[rows]))) for name, rows in groups]
    kept = [(name, rows) for name, rows, number in numbers if number >= MIN_GROUP]
    small = tuple((", ".join(name), number) for name, _, number in numbers if number < MIN_GROUP)
    of_last: dict[str, int] = {}
    for name, rows in kept:
        of_last[name[-1]] = of_last.get(name[-1], 0) + len(rows)
    found = []
    for name, rows in kept:
        alike = [other for other, _ in kept if other[:-1] == name[:-1]]
        best = max(alike, key=lambda other: of_last[other[-1]])
        found.append(Group(", ".join(name), rows, None if best == name else ", ".join(best)))
    return found, small


def compare_groups(
    columns: Sequence[str],
    groups: Sequence[Group],
    too_small: Sequence[tuple[str, int]],
    findings: Sequence[str],
    targets: NDArray[Any],
    probabilities: NDArray[Any],
    patients: NDArray[Any],
    num_resamples: int,
    *,
    seed: int = 0,
    num_threads: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> GroupComparison:
    """Groups of the films of ``targets [N, C]`` (1, 0, NaN), ``probabilities [N, C]`` and ``patients [N]``.

    Common findings are those that ``MIN_EACH`` patients have and as many have not, in every group. A patient whose
    films are in several groups is drawn for all of them at once. Holm's correction is over all differences of means,
    and, apart from these, over all differences of single findings.
    """
    numbers = numbered(patients)
    deciding = np.array([deciding_patients(targets[group.rows], numbers[group.rows]) for group in groups])  # [G, 2, C]
    common = np.flatnonzero((deciding[:, 1] >= MIN_EACH).all(axis=0)).tolist() if groups else []
    shares = prevalence(targets)
    rankings = [
        [
            Ranking(targets[group.rows, c], probabilities[group.rows, c], numbers[group.rows], float(shares[c]))
            for c in common
        ]
        for group in groups
    ]
    place = {group.name: row for row, group in enumerate(groups)}
    against = [-1 if group.reference is None else place[group.reference] for group in groups]
    standings: list[list[Standing]] = [[] for _ in groups]  # of each group: the means, then each finding
    if common:
        ones = np.ones(numbers.max() + 1)
        values = np.array([[[ranking(ones)] for ranking in row] for row in rankings]).transpose(3, 0, 2, 1)
        resampled = resample_rankings(
            rankings, len(ones), num_resamples, seed=seed, num_threads=num_threads, advance=advance
        )
        standings = _standings(values[:, :, 0], resampled, deciding[:, :, common], against)
    return GroupComparison(
        tuple(columns),
        tuple(findings[c] for c in common),
        tuple(float(shares[c]) for c in common),
        tuple(
            GroupStanding(
                group.name,
                group.reference,
                len(group.rows),
                len(set(numbers[group.rows])),
                own[0] if own else None,
                tuple(own[1:]),
            )
            for group, own in zip(groups, standings, strict=True)
        ),
        tuple(too_small),
    )


def _standings(
    values: Doubles, resampled: Doubles, deciding: NDArray[np.int64], against: Sequence[int]
) -> list[list[Standing]]:
    """Each group's means and findings, less another group's, of scores ``[2, G, C]`` and ``[2, G, R, C]``.

    ``deciding [G, 2, C]``: patients.
    """
    findings = [slice(column, column + 1) for column in range(values.shape[2])]
    kinds = [slice(None), *findings]  # the columns that a mean is over
    found: dict[tuple[int, int, int], Difference] = {}
    for family in (range(1), range(1, len(kinds))):  # of Holm's correction
        places = [
            (score, row, kind)
            for row, other in enumerate(against)
            if other >= 0
            for kind in family
            for score in range(2)
        ]
        differences = []
        for score, row, kind in places:
            columns, other = kinds[kind], against[row]
            value = float(values[score, row, columns].mean() - values[score, other, columns].mean())
            mine, theirs = (
                Sampled(resampled[score, group][:, columns], deciding[group, score, columns]) for group in (row, other)
            )
            differences.append(difference(value, mine, theirs))
        found.update(zip(places, with_holm(differences), strict=True))
    return [
        [
            Standing(
                float(values[0, row, columns].mean()),
                float(values[1, row, columns].mean()),
                found.get((0, row, kind)),
                found.get((1, row, kind)),
                *_intervals(values[:, row, columns], resampled[:, row][:, :, columns], deciding[row][:, columns]),
            )
            for kind, columns in enumerate(kinds)
        ]
        for row in range(len(against))
    ]


def _intervals(values: Doubles, resampled: Doubles, deciding: NDArray[np.int64]) -> tuple[Interval | None, ...]:
    """Of mean AP and mean AUROC, of ``values [2, K]``, their resamples ``[2, R, K]`` and ``deciding [2, K]``."""
    scales: tuple[Scale, Scale] = ("arcsine", "logit")
    return tuple(
        interval(drawn.mean(axis=1), float(own.mean()), Student.of(drawn, number), scale)
        for own, drawn, number, scale in zip(values, resampled, deciding, scales, strict=True)
    )
