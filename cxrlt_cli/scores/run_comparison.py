"""Several models on the same films: each against the first, on the same resampled patients, and over seeds.

Letters: R resamples, C findings, S seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.bootstrap import Interval, Resampled
from cxrlt_cli.scores.differences import Difference, with_holm
from cxrlt_cli.scores.intervals import NO_SPREAD, Student, error_of, interval, signed_interval
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.scores.spread import SeedVariance, over_seeds, student_of_seeds

Seeds = Mapping[int | None, tuple[Scores, Resampled]]  # of one model: what each seed scored; None where there is one
Score = Literal["ap", "auroc"]


@dataclass(frozen=True)
class Compared:
    """A macro score of a model, the mean over its seeds, and how much it is above that of the first model."""

    value: float
    ci: Interval | None
    difference: Difference | None = None


@dataclass(frozen=True)
class RunStanding:
    """One model among several; a score is None where it does not exist."""

    name: str
    num_seeds: int
    ap: Compared | None
    auroc: Compared | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare_runs(runs: Mapping[str, Seeds], seed: int = 0) -> list[RunStanding]:
    """Each model, and its differences from the first; Holm's correction is over all differences of both scores.

    Seeds are drawn beside patients where a model has several. Models of the same seeds are compared seed by seed. Of
    two seeds there is no p: how much seeds vary would be known from a single difference.
    """
    first = next(iter(runs.values()))
    standings = [
        RunStanding(
            name,
            len(mine),
            _compared(mine, None if mine is first else first, "ap", seed),
            _compared(mine, None if mine is first else first, "auroc", seed),
        )
        for name, mine in runs.items()
    ]
    differences = [one.difference for row in standings for one in (row.ap, row.auroc) if one and one.difference]
    corrected = iter(with_holm(differences))

    def with_p(one: Compared | None) -> Compared | None:
        return one if one is None or one.difference is None else replace(one, difference=next(corrected))

    return [replace(row, ap=with_p(row.ap), auroc=with_p(row.auroc)) for row in standings]


def _compared(mine: Seeds, first: Seeds | None, score: Score, seed: int) -> Compared | None:
    value = _mean(mine, score)
    if value is None:
        return None
    drawn = [resampled for _, resampled in mine.values()]
    ours = _Drawn.of(drawn, score, seed)
    held = interval(ours.macro, value, ours.student, "arcsine" if score == "ap" else "logit")
    other = None if first is None else _mean(first, score)
    if first is None or other is None:
        return Compared(value, held)
    if set(mine) == set(first):
        pairs = [(mine[one][1], first[one][1]) for one in mine]
        apart = _Drawn.of_pairs(pairs, score, seed)
    else:
        theirs = _Drawn.of([resampled for _, resampled in first.values()], score, seed + 1)
        apart = ours.less(theirs)
    return Compared(value, held, _difference(value - other, apart))


def _difference(value: float, drawn: "_Drawn") -> Difference:
    error = error_of(drawn.macro, value)
    if error is None:
        return Difference(value)
    student = drawn.student
    held = signed_interval(drawn.macro, value, student)
    if any(one.freedom < 2 for one in drawn.seeds):
        return Difference(value, held)
    return Difference(value, held, student.p(value / error) if error > NO_SPREAD else 1.0)


@dataclass(frozen=True)
class _Drawn:
    """Resampled macro scores ``[R]``, with seeds drawn and as means over them, and means of each finding ``[R, C]``.

    ``fewest [C]``: patients of a finding's smaller class. ``seeds``: none where there is one, two of a difference of
    models of other seeds.
    """

    macro: Doubles
    mean: Doubles
    each: Doubles
    fewest: Any
    seeds: tuple[SeedVariance, ...]

    @property
    def student(self) -> Student:
        patients = Student.of(self.each, self.fewest)
        return student_of_seeds(patients, self.mean, self.seeds) if self.seeds else patients

    def less(self, other: "_Drawn") -> "_Drawn":
        return _Drawn(
            self.macro - other.macro,
            self.mean - other.mean,
            self.each - other.each,
            self.fewest,
            (*self.seeds, *other.seeds),
        )

    @classmethod
    def of(cls, drawn: Sequence[Resampled], score: Score, seed: int) -> "_Drawn":
        return cls._over(
            [_macro(one, score) for one in drawn], [_each(one, score) for one in drawn], drawn, score, seed
        )

    @classmethod
    def of_pairs(cls, pairs: Sequence[tuple[Resampled, Resampled]], score: Score, seed: int) -> "_Drawn":
        macro = [_macro(one, score) - _macro(other, score) for one, other in pairs]
        each = [_each(one, score) - _each(other, score) for one, other in pairs]
        return cls._over(macro, each, [one for one, _ in pairs], score, seed)

    @classmethod
    def _over(
        cls, macro: Sequence[Doubles], each: Sequence[Doubles], drawn: Sequence[Resampled], score: Score, seed: int
    ) -> "_Drawn":
        fewest = drawn[0].positive_patients if score == "ap" else drawn[0].fewest
        drawn_macro, seeds = (macro[0], ()) if len(macro) == 1 else (over_seeds(macro, seed), (SeedVariance.of(macro),))
        return cls(drawn_macro, np.mean(macro, axis=0), np.mean(each, axis=0), fewest, seeds)


def _macro(resampled: Resampled, score: Score) -> Doubles:
    return resampled.macro_ap() if score == "ap" else resampled.macro_auroc()


def _each(resampled: Resampled, score: Score) -> Doubles:
    return resampled.ap if score == "ap" else resampled.auroc


def _mean(seeds: Seeds, score: Score) -> float | None:
    values = [scores.macro()[score] for scores, _ in seeds.values()]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
