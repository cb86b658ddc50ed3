"""Whether films that come are like those that something was fitted on, by the scores that a model gives them.

Letters: N films, C findings. The scores of each finding are held against those of the reference films by a two-sample
test of Kolmogorov and Smirnov at the reference's percentiles, so that few numbers are kept, and what is counted of
films that come does not grow with them.

False alarms: at most ``ALARMS`` of all looks at films of the same kind, over all findings together (Holm 1979). Films
of one patient count as one film in the reference; of films that come nobody knows the patients, so that each patient is
taken to have as many as there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstwo

from cxrlt_cli.scores.differences import holm
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.prevalence_shift import shifted_prevalence
from cxrlt_cli.scores.proportions import kish

ALARMS = 0.01
NUM_PERCENTILES = 99
LEAST = 20  # films, below which nothing is tested


@dataclass(frozen=True)
class Reference:
    """Scores of reference films: ``below``, the share of them at or below each of ``edges``, by finding."""

    edges: Mapping[str, Sequence[float]]
    below: Mapping[str, Sequence[float]]
    num_films: int
    worth: float  # films of different patients

    @classmethod
    def of(cls, predictions: Predictions, patients: NDArray[np.object_]) -> Self:
        edges, below = {}, {}
        for name, scores in zip(predictions.findings, predictions.probabilities.T, strict=True):
            ordered = np.sort(scores)
            places = np.linspace(0, len(ordered) - 1, NUM_PERCENTILES + 2)[1:-1].round().astype(int)
            chosen = np.unique(ordered[places])
            edges[name] = chosen.tolist()
            below[name] = (np.searchsorted(ordered, chosen, side="right") / len(ordered)).tolist()
        _, sizes = np.unique(patients.astype(str), return_counts=True)
        return cls(edges, below, len(predictions.ids), kish(sizes.astype(np.float64)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Drift:
    """Of one finding: the largest distance of both distributions, and whether its scores are others."""

    distance: float
    higher: bool  # more films above the place where they differ most
    p_value: float  # of this finding by itself
    found: bool  # after Holm
    prevalence: float | None  # of the films that came, if they are like those before in all but that


class Meter:
    """Counts the scores of films as they come, in the intervals of a reference, for some of its findings."""

    def __init__(self, reference: Reference, findings: Sequence[str]) -> None:
        self.reference = reference
        self.num_films = 0
        self._counts = {name: np.zeros(len(reference.edges[name]) + 1) for name in findings}
        self._sums = {name: np.zeros(len(reference.edges[name]) + 1) for name in findings}

    def add(self, scores: Predictions, calibrated: Predictions) -> None:
        """The next films: their scores as the model gives them, and calibrated ones."""
        self.num_films += len(scores.ids)
        for name, counts in self._counts.items():
            column = scores.findings.index(name)
            place = np.searchsorted(np.asarray(self.reference.edges[name]), scores.probabilities[:, column], "left")
            counts += np.bincount(place, minlength=len(counts))
            self._sums[name] += np.bincount(place, calibrated.probabilities[:, column], len(counts))

    def drifts(self, prevalences: Mapping[str, float | None]) -> dict[str, Drift]:
        """By finding; none of fewer than ``LEAST`` films. ``prevalences``: where the probabilities were calibrated."""
        if self.num_films < LEAST:
            return {}
        share = self.reference.worth / self.reference.num_films
        mine, theirs = self.reference.worth, max(1.0, share * self.num_films)
        together = max(1, round(mine * theirs / (mine + theirs)))
        tested = {}
        for name, counts in self._counts.items():
            gaps = np.cumsum(counts)[:-1] / self.num_films - np.asarray(self.reference.below[name])
            widest = int(np.argmax(np.abs(gaps)))
            distance = float(abs(gaps[widest]))
            tested[name] = distance, bool(gaps[widest] < 0), float(kstwo.sf(distance, together))
        found = [p is not None and p <= ALARMS for p in holm([p_value for *_, p_value in tested.values()])]
        return {
            name: Drift(*values, found=one, prevalence=self._prevalence(name, prevalences.get(name)))
            for (name, values), one in zip(tested.items(), found, strict=True)
        }

    def _prevalence(self, name: str, before: float | None) -> float | None:
        if before is None or not 0 < before < 1:
            return None
        counts = self._counts[name]
        held = counts > 0
        return shifted_prevalence(self._sums[name][held] / counts[held], before, counts[held])
