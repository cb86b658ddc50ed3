"""Labels that somebody looked at again: CSVs of film, finding and label, whose labels stand in place of others."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pandas as pd

from cxrlt_cli.errors import DataError, listed, missing_column
from cxrlt_cli.names import meant, shown
from cxrlt_cli.tables.columns import WRITTEN
from cxrlt_cli.tables.rows import read_rows
from cxrlt_cli.tables.values import label_of

FINDING, LABEL = "finding", "label"


@dataclass(frozen=True)
class Corrected:
    """What corrections made of one table: labels that are others now, of so many films, and labels that stayed."""

    changed: int = 0
    films: int = 0
    confirmed: int = 0

    def __add__(self, other: "Corrected") -> "Corrected":
        """Of two tables without a film in common."""
        return Corrected(self.changed + other.changed, self.films + other.films, self.confirmed + other.confirmed)

    def __str__(self) -> str:
        labels, films = "label" if self.changed == 1 else "labels", "film" if self.films == 1 else "films"
        told = f"{self.changed:,} {labels} of {self.films:,} {films} corrected"
        return f"{told}, {self.confirmed:,} confirmed" if self.confirmed else told

    def policy(self, before: str | None) -> str | None:
        """The rules by which labels were made, with what was corrected behind them; None where nothing is known."""
        if not self.changed and not self.confirmed:
            return before
        return f"{before}; {self}" if before else str(self)


@dataclass(frozen=True)
class Corrections:
    """``labels``: of a finding, by film: 1, 0 or NaN where nobody knows."""

    labels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.labels.values()))

    def cells(self) -> set[tuple[str, str]]:
        """Film and finding of each."""
        return {(film, finding) for finding, films in self.labels.items() for film in films}

    def only(self, findings: Sequence[str] | None) -> Self:
        """Those of some findings; None: of all."""
        if findings is None:
            return self
        return replace(self, labels={name: films for name, films in self.labels.items() if name in findings})

    def put_in(self, frame: pd.DataFrame, id_column: str) -> tuple[pd.DataFrame, Corrected]:
        """A table of text with these labels in place of its own; films and findings that it lacks are passed over."""
        row = {film: place for place, film in enumerate(frame[id_column])}
        changed, confirmed, films = 0, 0, set()
        columns = {}
        for finding in [name for name in self.labels if name in frame.columns]:
            cells = frame[finding].to_numpy(object).copy()
            for film, label in self.labels[finding].items():
                if film not in row:
                    continue
                before = label_of(cells[row[film]])
                if before == label or (before is not None and math.isnan(before) and math.isnan(label)):
                    confirmed += 1
                else:
                    changed += 1
                    films.add(film)
                    cells[row[film]] = "" if math.isnan(label) else f"{label:g}"
            columns[finding] = cells
        return frame.assign(**columns), Corrected(changed, len(films), confirmed)


def read_corrections(paths: Sequence[Path], id_column: str, patient_column: str, csvs: Sequence[Path]) -> Corrections:
    """The labels of these CSVs, of films and findings of ``csvs``.

    Raises DataError with file and row where a column is missing or strange, a label is none, two labels are given
    for one film and finding, or a film or a finding is in none of ``csvs``.
    """
    if not paths:
        return Corrections()
    films, columns = _known(csvs, id_column)
    findings = [name for name in columns if name not in (id_column, patient_column, *WRITTEN)]
    labels: dict[str, dict[str, float]] = {}
    first: dict[tuple[str, str], str] = {}
    for path in paths:
        rows = read_rows(path)
        _, header = next(rows)
        for name in (id_column, FINDING, LABEL):
            if name not in header:
                raise DataError(
                    f"{path} is no CSV of corrections: it has no column '{name}'.",
                    f"It takes {id_column}, {FINDING} and {LABEL} (1, 0 or empty).",
                )
        others = [name for name in header if name not in (id_column, patient_column, FINDING, LABEL)]
        if others:
            raise DataError(
                f"{path} is no CSV of corrections: it has {listed(others, 40)} too, as suspects and errors have.",
                f"Write the labels of those that you looked at into a CSV of {id_column}, {FINDING} and {LABEL} alone.",
            )
        places = [header.index(name) for name in (id_column, FINDING, LABEL)]
        for number, row in rows:
            film, finding, cell = (row[place] for place in places)
            where = f"{path}, row {number}"
            _require_known(film, "film", films, csvs, where)
            _require_known(finding, "finding", findings, csvs, where)
            label = label_of(cell)
            if label is None:
                raise DataError(f"{where}: column '{LABEL}' holds {shown(cell)}.", "Write 1, 0, or nothing.")
            known = labels.setdefault(finding, {}).setdefault(film, label)
            before = first.setdefault((film, finding), where)
            if known != label and not (math.isnan(known) and math.isnan(label)):
                raise DataError(
                    f"{where} corrects {shown(finding)} of {shown(film)} to {_told(label)}, and {before} to "
                    f"{_told(known)}.",
                    "Keep one of the two rows.",
                )
    return Corrections(labels)


def _told(label: float) -> str:
    return "unknown" if math.isnan(label) else f"{label:g}"


def _known(csvs: Sequence[Path], id_column: str) -> tuple[set[str], list[str]]:
    """Films and columns of any of these."""
    films: set[str] = set()
    columns: list[str] = []
    for path in csvs:
        rows = read_rows(path)
        _, header = next(rows)
        if id_column not in header:
            raise missing_column(path, id_column, header)
        films.update(row[header.index(id_column)] for _, row in rows)
        columns += [name for name in header if name not in columns]
    return films, columns


def _require_known(name: str, what: str, known: Collection[str], csvs: Sequence[Path], where: str) -> None:
    if name not in known:
        near = meant(name, sorted(known))
        raise DataError(f"{where}: {listed(csvs)} has no {what} {shown(name)}.{near}", "Mend or remove the row.")
