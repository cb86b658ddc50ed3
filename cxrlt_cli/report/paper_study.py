"""What a report is made of: one run, or one file of predictions, as the folder ``data/NAME`` of a report holds it.

``facts.json`` says where it comes from, ``films.csv`` has every film with its part of the split, its patient and its
labels, ``predictions.csv`` the films that are judged. Nothing else is read to make, or to verify, what is printed;
``run.yaml`` is for those who train again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.documents import read_json
from cxrlt_cli.errors import DataError
from cxrlt_cli.machine import num_cores
from cxrlt_cli.report.study_groups import GROUPED, by_column
from cxrlt_cli.scores.bootstrap import Resampled, resample
from cxrlt_cli.scores.groups import GroupComparison
from cxrlt_cli.scores.metrics import Scores, prevalence, score
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable, read_csv, read_labels

DATA, FACTS, FILMS, PREDICTIONS, RUN = "data", "facts.json", "films.csv", "predictions.csv", "run.yaml"
ID, PATIENT, PART = "ImageID", "PatientID", "Split"
TRAIN, VAL, JUDGED = "train", "val", "judged"  # parts; beside fold-1, fold-2, ...


def place_of_part(name: str) -> tuple[int, int, str]:
    """By which parts are sorted: train, val, then fold-2 before fold-10."""
    return {TRAIN: 0, VAL: 1}.get(name, 2), len(name), name


def told_part(name: str) -> str:
    """``Training``, ``Validation``, ``Fold 1``."""
    return {TRAIN: "Training", VAL: "Validation", JUDGED: "Evaluated"}.get(name, name.capitalize().replace("-", " "))


@dataclass(frozen=True)
class Study:
    """One run with its films ``[N]``, and the scores of those that are judged."""

    name: str
    facts: Mapping[str, Any]
    films: pd.DataFrame  # [N] rows of text
    table: LabelTable  # [N]
    predictions: Predictions
    truth: LabelTable  # of the films that are judged, in the order of the predictions
    scores: Scores
    resampled: Resampled | None
    groups: Mapping[str, GroupComparison] = field(default_factory=dict)  # by their column

    @classmethod
    def read(cls, folder: Path, num_resamples: int, advance: Callable[[int], None] = lambda _: None) -> "Study":
        """From ``data/NAME``; raises DataError where a file is damaged."""
        try:
            facts = read_json(folder / FACTS)
            findings, seed = tuple(facts["findings"]), int(facts["seed"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DataError(f"{folder / FACTS} is gone or damaged.", "Make the report again.") from error
        films = read_csv(folder / FILMS)
        table = read_labels(folder / FILMS, findings=findings, needs_patients=False)
        predictions = Predictions.read(folder / PREDICTIONS).select(findings)
        row = {film: place for place, film in enumerate(table.ids)}
        if lost := [film for film in predictions.ids if film not in row]:
            raise DataError(f"{folder / PREDICTIONS} predicts {lost[0]}, which is not in {FILMS}.")
        judged = np.array([row[film] for film in predictions.ids])
        truth = table.rows(judged)
        learned = table.rows((films[PART] == TRAIN).to_numpy())
        scores = score(
            truth.targets,
            predictions.probabilities,
            findings,
            frequencies=prevalence(learned.targets) if len(learned) else None,
            num_patients=truth.num_patients if facts["has_patients"] else None,
        )
        resampled = None
        if num_resamples:
            (resampled,) = resample(
                truth.targets,
                [predictions.probabilities],
                truth.patients,
                num_resamples,
                seed=seed,
                num_threads=num_cores(),
                advance=advance,
            )
            scores = scores.with_intervals(resampled)
        cells = {column: films[column].to_numpy(object)[judged] for column in GROUPED if column in films.columns}
        groups = by_column(cells, truth, predictions, num_resamples, seed, advance)
        return cls(folder.name, facts, films, table, predictions, truth, scores, resampled, groups)

    @property
    def options(self) -> Mapping[str, Any]:
        """Those of ``run.yaml``; none of predictions alone."""
        return self.facts.get("options") or {}

    @property
    def record(self) -> Mapping[str, Any] | None:
        """What ``train`` wrote down of versions and data; None of runs before it did, and of predictions."""
        return self.facts.get("record")

    @property
    def is_run(self) -> bool:
        return bool(self.options)

    @cached_property
    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """Which films ``[N]`` each part of the split has."""
        names = sorted(set(self.films[PART]), key=place_of_part)
        return {name: (self.films[PART] == name).to_numpy() for name in names}

    @property
    def in_folds(self) -> bool:
        return any(name.startswith("fold-") for name in self.parts)

    def num_patients(self, films: NDArray[np.bool_]) -> int | None:
        """Of whom these films are; None where that is not known."""
        return self.table.rows(films).num_patients if self.facts["has_patients"] else None

    def cells(self, column: str) -> NDArray[np.object_] | None:
        """A column ``[N]``, empty where nothing is said; None where the labels had none."""
        return self.films[column].to_numpy(object) if column in self.films.columns else None

    def drawn_as(self, other: "Study") -> Resampled | None:
        """The scores on the patients that were drawn for another study of the same films; None without resamples."""
        alike = self.facts["seed"] == other.facts["seed"]
        if self.resampled is None or (alike and np.array_equal(self.truth.patients, other.truth.patients)):
            return self.resampled
        (resampled,) = resample(
            self.truth.targets,
            [self.predictions.probabilities],
            other.truth.patients,
            len(self.resampled.ap),
            seed=other.facts["seed"],
            num_threads=num_cores(),
        )
        return resampled

    def shares_films_with(self, other: "Study") -> bool:
        """Whether both are judged on the same films and findings, so that their scores can be compared."""
        return (
            list(self.predictions.ids) == list(other.predictions.ids)
            and self.predictions.findings == other.predictions.findings
            and np.array_equal(self.truth.targets, other.truth.targets, equal_nan=True)
        )
