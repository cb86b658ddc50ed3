"""Predictions: probabilities that carry the ids of their films and the names of their findings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import eq
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.names import fault_of_name, shown
from cxrlt_cli.scores.merging import EPSILON, TINY, merge_members
from cxrlt_cli.tables.columns import FILM_FACTS
from cxrlt_cli.tables.label_table import Texts
from cxrlt_cli.tables.number_table import NumberTable, read_numbers
from cxrlt_cli.tables.outputs import write_table

OOD_SCORE = "ood_score"  # a column that is no finding
LEFT_ASIDE = (OOD_SCORE, *FILM_FACTS)  # where predictions are read
PIECE = 2**14  # films whose rows are text at a time


@dataclass(frozen=True)
class Predictions:
    """``ids [N]``, ``findings [C]`` and ``probabilities [N, C]``; unique, finite and within [0, 1].

    ``facts``: columns ``[N]`` of ``FILM_FACTS``, to be written beside the ids. Raises DataError where ids are doubled
    or a probability is none.
    """

    ids: Texts
    findings: tuple[str, ...]
    probabilities: NDArray[np.float64]
    facts: Mapping[str, Texts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = (len(self.ids), len(self.findings))
        assert self.probabilities.shape == expected, f"{self.probabilities.shape} probabilities for {expected}"
        if len(self.ids) == 0:
            raise DataError("Predictions hold no film.")
        if len(set(self.ids)) < len(self.ids):
            films, times = np.unique(self.ids.astype(str), return_counts=True)
            raise DataError(f"Predictions hold a film more than once: {listed(list(films[times > 1]))}.")
        if len(set(self.findings)) < len(self.findings):
            raise DataError("Predictions hold a finding more than once.")
        faults = (np.flatnonzero(self._wrong(column)) for column in self.probabilities.T)
        firsts = [(int(rows[0]), column) for column, rows in enumerate(faults) if len(rows)]
        if firsts:
            row, column = min(firsts)
            value = self.probabilities[row, column]
            raise DataError(f"'{self.findings[column]}' of film '{self.ids[row]}' is {value}, not a probability.")

    def _wrong(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        return ~((values >= 0) & (values <= 1))

    @classmethod
    def read(cls, path: Path | str, id_column: str = "ImageID") -> "Predictions":
        """The predictions of a CSV: an id column, and one column of probabilities a finding.

        ``ood_score`` and ``FILM_FACTS`` are no findings and left aside. Raises DataError that names file, column and
        row, also of an id or a finding that ``names`` refuses.
        """
        table = read_numbers(Path(path), id_column, LEFT_ASIDE)
        table.require_numbers()
        return cls.of_table(table)

    @classmethod
    def of_table(cls, table: NumberTable) -> Self:
        """Those of a table that was read; raises DataError that names it."""
        try:
            return cls(table.ids, table.columns, table.values)
        except DataError as error:
            raise DataError(f"{table.path}: {error.message}") from error

    def write(self, path: Path | str, id_column: str = "ImageID") -> None:
        """A CSV whose numbers read back exactly, one row a film; the file appears whole or not at all.

        Where all of them are 0 or 1, decisions, they are written as such. A path that ends in ``.parquet`` gets that.

        Raises DataError where a name would be a formula to a spreadsheet, or would not read back: names that come from
        a file were refused when that was read, and none is changed.
        """
        self._require_names(id_column)
        write_table(self._pieces(id_column, header=True), Path(path), id_column)

    def to_csv(self, id_column: str = "ImageID", *, header: bool = True) -> str:
        """The text of that CSV, or its rows alone; raises DataError as ``write`` does."""
        self._require_names(id_column)
        return "".join(self._pieces(id_column, header))

    def _require_names(self, id_column: str) -> None:
        for name in chain((id_column, *self.findings), self.ids):
            if fault := fault_of_name(str(name)):
                raise DataError(f"The CSV is not written: it would hold {shown(str(name))}, which {fault}.")
        if id_column in self.findings:
            raise DataError(f"The CSV is not written: '{id_column}' is the name of its id column and of a finding.")

    def _pieces(self, id_column: str, header: bool) -> Iterator[str]:
        kind = self._kind()
        for start in range(0, len(self.ids), PIECE):
            part = slice(start, start + PIECE)
            frame = pd.DataFrame(self.probabilities[part], columns=pd.Index(self.findings)).astype(kind)
            for place, (name, cells) in enumerate({id_column: self.ids, **self.facts}.items()):
                frame.insert(place, name, cells[part])
            yield frame.to_csv(index=False, header=header and start == 0, lineterminator="\n")

    def _kind(self) -> Literal["int64", "float64", "Int64"]:
        """What its numbers are written as."""
        return "int64" if all(np.isin(column, (0, 1)).all() for column in self.probabilities.T) else "float64"

    def select(self, findings: Sequence[str]) -> Self:
        """These findings, in this order."""
        if tuple(findings) == self.findings:
            return self
        columns = [self.findings.index(name) for name in findings]
        return type(self)(self.ids, tuple(findings), self.probabilities[:, columns])

    def with_column(self, name: str, values: NDArray[np.floating]) -> "Predictions":
        """These and one more, ``[N]``, at the end."""
        columns = np.column_stack([self.probabilities, values.astype(np.float64)])
        return Predictions(self.ids, (*self.findings, name), columns)

    def rows(self, ids: Sequence[str]) -> Self:
        """These films, in this order."""
        if len(ids) == len(self.ids) and all(map(eq, ids, self.ids)):
            return self
        position = {film: row for row, film in enumerate(self.ids)}
        keep = [position[film] for film in ids]
        return type(self)(self.ids[keep], self.findings, self.probabilities[keep])


class Decisions(Predictions):
    """1, 0, or NaN where a film is left undecided for a finding: an empty cell of the CSV."""

    def _wrong(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        return ~np.isin(values, (0, 1)) & ~np.isnan(values)

    def _kind(self) -> Literal["int64", "float64", "Int64"]:
        return "Int64"


def require_same(what: str, mine: Iterable[str], theirs: Iterable[str], my_name: str, their_name: str) -> None:
    """Raise DataError where two members have not the same films, or findings: nothing is dropped, nothing made up."""
    first, second = set(mine), set(theirs)
    missing, extra = sorted(first - second), sorted(second - first)
    if missing or extra:
        lacks = [f"lacks the {what}s {listed(missing)}"] if missing else []
        has = [f"has the {what}s {listed(extra)} that {my_name} lacks"] if extra else []
        flag = "--findings, or --union" if what == "finding" else "--csv, which says which films to write"
        raise DataError(
            f"{their_name} {' and '.join(lacks + has)}.", f"Members must have the same {what}s, or pass {flag}."
        )


def blend(members: Sequence[Predictions], weights: Sequence[float] | None = None, mode: str = "mean") -> Predictions:
    """One prediction of several for the same films and findings, in this order, with weights that are made to sum to 1.

    ``mean`` of the probabilities; ``logit_mean``, the sigmoid of the mean logit; ``gmean``, the geometric mean;
    ``median`` (weighted: where half of the weight is reached; between two, their middle); ``max`` (of members with a
    weight above 0); ``rank``: the mean rank of each film for a finding, ties sharing their average rank, as a share of
    the films.
    """
    shares = np.full(len(members), 1.0) if weights is None else np.asarray(weights, np.float64)
    assert len(shares) == len(members), "a weight for each member"
    if not (shares >= 0).all() or not shares.sum() > 0:
        given = listed([f"{share:g}" for share in shares], 20)
        raise DataError(f"Weights are {given}; none may be negative, nor all 0.")
    first = members[0]
    merged = merge_members([member.probabilities for member in members], shares / shares.sum(), mode)
    return Predictions(first.ids, first.findings, merged)


def blend_known(
    members: Sequence[Predictions],
    findings: Sequence[str],
    weights: Sequence[float] | None = None,
    mode: str = "mean",
) -> Predictions:
    """``blend`` of members that need not have the same findings: each is blended of those that know it."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in findings:
        knowing = tuple(index for index, member in enumerate(members) if name in member.findings)
        groups.setdefault(knowing, []).append(name)
    parts = []
    for knowing, names in groups.items():
        shares = None if weights is None else [weights[index] for index in knowing]
        if shares is not None and not any(shares):
            raise DataError(f"The members that know {listed(names)} have weight 0.", "Leave it out with --findings.")
        parts.append(blend([members[index].select(names) for index in knowing], shares, mode))
    together = tuple(name for part in parts for name in part.findings)
    probabilities = np.concatenate([part.probabilities for part in parts], axis=1)
    return Predictions(members[0].ids, together, probabilities).select(findings)


def normal_gating(predictions: Predictions, alpha: float = 0.5, normal: str = "Normal") -> Predictions:
    """``p_c (1 - p_normal)^alpha`` for every finding but the one that means normal, which stays.

    Pham et al., arXiv:2602.13430, by name and in log space: the reference clips at 1e-6, where films tie and AP
    changes. It lowers findings on films that look normal, so it changes their order; it helped its authors and hurt
    another team.
    """
    column = predictions.findings.index(normal)
    abnormal = np.maximum(1 - predictions.probabilities[:, column], EPSILON)
    logs = np.log(np.maximum(predictions.probabilities, TINY)) + alpha * np.log(abnormal)[:, None]
    gated = np.where(predictions.probabilities > 0, np.exp(logs), 0.0)
    gated[:, column] = predictions.probabilities[:, column]
    return Predictions(predictions.ids, predictions.findings, gated)
