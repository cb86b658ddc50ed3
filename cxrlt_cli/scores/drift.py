"""Whether films that come are like those that something was fitted on: by scores, familiarity and views.

Letters: N films. The scores of each finding, and how unlike the training films are, are held against those of the
reference films by a two-sample test of Kolmogorov and Smirnov at the reference's percentiles, so that few numbers are
kept, and what is counted of films that come does not grow with them. The share of each view is held against that of the
reference films by Fisher's exact test.

False alarms: at most ``ALARMS`` of all looks at films of the same kind, over all tests together (Holm 1979). Films of
one patient count as one film in the reference; of films that come nobody knows the patients, so that each patient is
taken to have as many as there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact, kstwo

from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.differences import holm
from cxrlt_cli.scores.predictions import OOD_SCORE, Predictions
from cxrlt_cli.scores.prevalence_shift import shifted_prevalence
from cxrlt_cli.scores.proportions import kish
from cxrlt_cli.tables.views import FRONTAL, kind_of

ALARMS = 0.01
NUM_PERCENTILES = 99
LEAST = 20  # films, below which nothing is tested
STATED, CLASSIFIED = "stated", "classified"  # views: by a column or DICOM headers, by the checkpoint's classifier


@dataclass(frozen=True)
class Traits:
    """What is known of N films beside their scores."""

    ood_scores: Doubles | None = None  # [N]
    views: Mapping[str, Sequence[str]] = field(default_factory=dict)  # [N] of STATED or CLASSIFIED; empty: not known

    def rows(self, places: Sequence[int]) -> "Traits":
        """Those of some of the films."""
        scores = None if self.ood_scores is None else self.ood_scores[list(places)]
        return Traits(scores, {source: [views[place] for place in places] for source, views in self.views.items()})


NOTHING = Traits()


@dataclass(frozen=True)
class Reference:
    """Scores of reference films: ``below``, the share of them at or below each of ``edges``, by finding.

    By ``OOD_SCORE`` too, where that is known. ``views``: how many films there are of each, by what says so.
    """

    edges: Mapping[str, Sequence[float]]
    below: Mapping[str, Sequence[float]]
    num_films: int
    worth: float  # films of different patients
    views: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, predictions: Predictions, patients: NDArray[np.object_], traits: Traits = NOTHING) -> Self:
        edges, below = {}, {}
        columns = dict(zip(predictions.findings, predictions.probabilities.T, strict=True))
        if traits.ood_scores is not None:
            columns[OOD_SCORE] = traits.ood_scores
        for name, scores in columns.items():
            ordered = np.sort(scores)
            places = np.linspace(0, len(ordered) - 1, NUM_PERCENTILES + 2)[1:-1].round().astype(int)
            chosen = np.unique(ordered[places])
            edges[name] = chosen.tolist()
            below[name] = (np.searchsorted(ordered, chosen, side="right") / len(ordered)).tolist()
        _, sizes = np.unique(patients.astype(str), return_counts=True)
        views = {source: dict(numbers) for source, numbers in _numbers(traits).items() if numbers}
        return cls(edges, below, len(predictions.ids), kish(sizes.astype(np.float64)), views)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Drift:
    """Of one finding, or of familiarity: the largest distance of both distributions, and whether scores are others."""

    distance: float
    higher: bool  # more films above the place where they differ most
    p_value: float  # by itself
    found: bool = False  # after Holm
    prevalence: float | None = None  # of the films that came, if they are like those before in all but that


@dataclass(frozen=True)
class ViewDrift:
    """The share of one view, of films whose view is known."""

    before: float
    now: float
    p_value: float
    found: bool = False


@dataclass(frozen=True)
class Drifts:
    """All that was tested; what could not be is None, or empty."""

    scores: Mapping[str, Drift]  # by finding
    familiarity: Drift | None = None
    views: Mapping[str, ViewDrift] = field(default_factory=dict)

    @property
    def found(self) -> bool:
        tests: list[Drift | ViewDrift] = [*self.scores.values(), *self.views.values()]
        return any(one.found for one in tests) or (self.familiarity is not None and self.familiarity.found)


class Meter:
    """Counts films as they come, in the intervals of a reference, for some of its findings."""

    def __init__(self, reference: Reference, findings: Sequence[str]) -> None:
        self.reference = reference
        self.num_films = 0
        columns = [*findings, *([OOD_SCORE] if OOD_SCORE in reference.edges else [])]
        self._counts = {name: np.zeros(len(reference.edges[name]) + 1) for name in columns}
        self._sums = {name: np.zeros(len(reference.edges[name]) + 1) for name in findings}
        self._views: dict[str, Counter[str]] = {}

    def add(self, scores: Predictions, calibrated: Predictions, traits: Traits = NOTHING) -> None:
        """The next films: their scores as the model gives them, and calibrated ones."""
        self.num_films += len(scores.ids)
        for name, sums in self._sums.items():
            column = scores.findings.index(name)
            place = self._count(name, scores.probabilities[:, column])
            sums += np.bincount(place, calibrated.probabilities[:, column], len(sums))
        if traits.ood_scores is not None and OOD_SCORE in self._counts:
            self._count(OOD_SCORE, traits.ood_scores)
        for source, numbers in _numbers(traits).items():
            self._views.setdefault(source, Counter()).update(numbers)

    def _count(self, name: str, scores: Doubles) -> NDArray[np.int64]:
        place = np.searchsorted(np.asarray(self.reference.edges[name]), scores, "left")
        self._counts[name] += np.bincount(place, minlength=len(self._counts[name]))
        return place

    def drifts(self, prevalences: Mapping[str, float | None]) -> Drifts:
        """Nothing of fewer than ``LEAST`` films. ``prevalences``: where the probabilities were calibrated."""
        if self.num_films < LEAST:
            return Drifts({})
        scores = {name: self._of_scores(name) for name, counts in self._counts.items() if counts.sum() >= LEAST}
        views = self._of_views()
        tests: list[Drift | ViewDrift] = [*scores.values(), *views.values()]
        found = iter([p is not None and p <= ALARMS for p in holm([one.p_value for one in tests])])
        judged = {
            name: replace(one, found=next(found), prevalence=self._prevalence(name, prevalences.get(name)))
            for name, one in scores.items()
        }
        judged_views = {name: replace(one, found=next(found)) for name, one in views.items()}
        familiarity = judged.pop(OOD_SCORE, None)
        return Drifts(judged, familiarity, judged_views)

    def _of_scores(self, name: str) -> Drift:
        counts = self._counts[name]
        mine, theirs = self.reference.worth, max(1.0, self._share * counts.sum())
        together = max(1, round(mine * theirs / (mine + theirs)))
        gaps = np.cumsum(counts)[:-1] / counts.sum() - np.asarray(self.reference.below[name])
        widest = int(np.argmax(np.abs(gaps)))
        distance = float(abs(gaps[widest]))
        return Drift(distance, bool(gaps[widest] < 0), float(kstwo.sf(distance, together)))

    def _of_views(self) -> dict[str, ViewDrift]:
        """By what says most of both; none where nothing says a view of ``LEAST`` films of both."""
        pairs: list[tuple[Mapping[str, int], Mapping[str, int]]] = [
            (self.reference.views.get(source, {}), self._views.get(source, {})) for source in (STATED, CLASSIFIED)
        ]
        before, now = max(pairs, key=lambda pair: min(sum(one.values()) for one in pair))
        if min(sum(before.values()), sum(now.values())) < LEAST:
            return {}
        if FRONTAL in before or FRONTAL in now:
            before, now = _kinds(before), _kinds(now)
        found = {}
        for view in sorted({*before, *now}):
            was, is_now = (numbers.get(view, 0) / sum(numbers.values()) for numbers in (before, now))
            worth = [max(1, round(self._share * sum(numbers.values()))) for numbers in (before, now)]
            hits = [round(share * number) for share, number in zip((was, is_now), worth, strict=True)]
            table = [[hit, number - hit] for hit, number in zip(hits, worth, strict=True)]
            found[view] = ViewDrift(was, is_now, float(fisher_exact(table).pvalue))
        return found

    @property
    def _share(self) -> float:
        """What a film is worth, in films of different patients."""
        return self.reference.worth / self.reference.num_films

    def _prevalence(self, name: str, before: float | None) -> float | None:
        if before is None or not 0 < before < 1:
            return None
        counts = self._counts[name]
        held = counts > 0
        return shifted_prevalence(self._sums[name][held] / counts[held], before, counts[held])


def _numbers(traits: Traits) -> dict[str, Counter[str]]:
    return {source: Counter(view for view in views if view) for source, views in traits.views.items()}


def _kinds(numbers: Mapping[str, int]) -> Counter[str]:
    """Frontal and lateral, where one of two sets says no more."""
    kinds: Counter[str] = Counter()
    for view, number in numbers.items():
        kinds[kind_of(view)] += number
    return kinds
