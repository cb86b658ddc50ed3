"""Films of a study to one prediction and one label of the study.

Letters: N films, S studies, C findings. The films of a study need not stand together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.predictions import OOD_SCORE, Predictions
from cxrlt_cli.tables.label_table import LabelTable, Texts
from cxrlt_cli.tables.views import OTHER, kind_of

PerStudy = Literal["mean", "max", "noisy-or"]


@dataclass(frozen=True)
class Studies:
    """``names [S]``; ``member [N]``: the study of each film, by its place; ``views [N]``: as a column says."""

    names: Texts
    member: NDArray[np.int64]
    views: Texts

    @classmethod
    def of(cls, studies: Texts, views: Texts) -> "Studies":
        """Of the study ``[N]`` of each film, in the order in which they first appear."""
        place = {name: index for index, name in enumerate(dict.fromkeys(studies))}
        member = np.array([place[name] for name in studies], np.int64)
        return cls(np.array(list(place), object), member, views)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Films of each study, ``[S]``."""
        return np.bincount(self.member, minlength=len(self))

    def shares(self, weights: Mapping[str, float] | None) -> Doubles:
        """What each film counts for in the mean of its study, ``[N]``: by its view, or else frontal, lateral or other.

        The weights that stand for a study's films are made to sum to 1; where all of them are 0, its films count alike.
        Raises DataError where a view has no weight.
        """
        if weights is None:
            return np.asarray(1 / self.sizes[self.member])
        each, total = self._weighed(weights)
        return np.asarray(np.where(total > 0, each / np.where(total > 0, total, 1), 1 / self.sizes[self.member]))

    def num_unweighted(self, weights: Mapping[str, float]) -> int:
        """Studies all of whose films weigh 0."""
        _, total = self._weighed(weights)
        return len(set(self.member[total == 0].tolist()))

    def _weighed(self, weights: Mapping[str, float]) -> tuple[Doubles, Doubles]:
        """The weight ``[N]`` of each film, and of all films of its study."""
        known = {view: weights.get(view, weights.get(kind_of(view) or OTHER)) for view in dict.fromkeys(self.views)}
        if bare := [view or "(empty)" for view, weight in known.items() if weight is None]:
            raise DataError(
                f"--view-weights has none for the views {listed(bare)}.",
                "Give each view one, or each kind: frontal=7,lateral=3,other=5.",
            )
        each = np.array([known[view] for view in self.views], np.float64)
        total = np.asarray(np.bincount(self.member, each, len(self)), np.float64)
        return each, total[self.member]

    def merged(self, values: Doubles, how: PerStudy, weights: Mapping[str, float] | None = None) -> Doubles:
        """Probabilities ``[N, C]`` of films to ``[S, C]`` of studies.

        ``mean``, by ``shares``; ``max``; ``noisy-or``: that at least one film shows it, if films err apart.
        """
        if how == "max":
            out = np.zeros((len(self), values.shape[1]))
            np.maximum.at(out, self.member, values)
            return out
        if how == "noisy-or":
            with np.errstate(divide="ignore"):
                logs = np.log1p(-values)
            return np.asarray(-np.expm1(self._sums(logs)))
        return np.clip(self._sums(values * self.shares(weights)[:, None]), 0.0, 1.0)

    def predictions(self, films: Predictions, how: PerStudy, weights: Mapping[str, float] | None = None) -> Predictions:
        """Of studies; ``ood_score`` is the mean of its films', however findings are merged."""
        values = self.merged(films.probabilities, how, weights)
        if OOD_SCORE in films.findings:
            column = films.findings.index(OOD_SCORE)
            values[:, column] = self.merged(films.probabilities[:, [column]], "mean")[:, 0]
        return Predictions(self.names, films.findings, values)

    def targets(self, films: NDArray[np.float32]) -> NDArray[np.float32]:
        """Labels ``[N, C]`` of films (1, 0, NaN) to ``[S, C]``: 1 where any film's is; 0 where those known are."""
        out = np.full((len(self), films.shape[1]), -np.inf, np.float32)
        np.maximum.at(out, self.member, np.where(np.isnan(films), -np.inf, films).astype(np.float32))
        return np.where(np.isneginf(out), np.nan, out).astype(np.float32)

    def table(self, films: LabelTable) -> LabelTable:
        """The labels of studies; each is of the patient of its films."""
        patients, targets = self.firsts(films.patients), self.targets(films.targets)
        return replace(films, ids=self.names, patients=patients, targets=targets, views=None)

    def unlike(self, films: NDArray[np.float32]) -> NDArray[np.bool_]:
        """``[S]``: whether labels ``[N, C]`` of films of a study contradict each other, in some finding."""
        lowest = -self.targets(-films)
        return np.asarray(((self.targets(films) != lowest) & ~np.isnan(lowest)).any(axis=1), bool)

    def firsts(self, films: Texts) -> Texts:
        """Of something that all films of a study share ``[N]``, such as the patient, that of each study ``[S]``."""
        return films[np.unique(self.member, return_index=True)[1]]

    def _sums(self, values: Doubles) -> Doubles:
        out = np.empty((len(self), values.shape[1]))
        for column, each in enumerate(values.T):
            out[:, column] = np.bincount(self.member, each, len(self))
        return out
