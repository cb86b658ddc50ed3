"""Predictions: probabilities that carry the ids of their films and the names of their findings."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, listed, missing_column
from cxrlt_cli.names import fault_of_name, shown
from cxrlt_cli.scores.merging import EPSILON, TINY, merge_members
from cxrlt_cli.tables.columns import FILM_FACTS, is_nameless
from cxrlt_cli.tables.label_table import Texts, check_findings, check_id, read_csv
from cxrlt_cli.tables.outputs import write_table
from cxrlt_cli.tables.values import number_of

OOD_SCORE = "ood_score"  # a column that is no finding


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
        wrong = self._wrong()
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            value = self.probabilities[row, column]
            raise DataError(f"'{self.findings[column]}' of film '{self.ids[row]}' is {value}, not a probability.")

    def _wrong(self) -> NDArray[np.bool_]:
        return ~((self.probabilities >= 0) & (self.probabilities <= 1))

    @classmethod
    def read(cls, path: Path | str, id_column: str = "ImageID") -> "Predictions":
        """The predictions of a CSV: an id column, and one column of probabilities a finding.

        ``ood_score`` and ``FILM_FACTS`` are no findings and left aside. Raises DataError that names file, column and
        row, also of an id or a finding that ``names`` refuses.
        """
        path = Path(path)
        return cls.of_cells(path, *read_cells(path, id_column))

    @classmethod
    def of_cells(cls, path: Path, ids: Texts, frame: pd.DataFrame) -> "Predictions":
        """Those of a table whose cells were read; raises DataError as ``read`` does."""
        numbers = numbers_of(frame)
        strange = np.argwhere(np.isnan(numbers))
        if len(strange):
            row, column = strange[0]
            name, value = frame.columns[column], frame.iloc[row, column]
            raise DataError(
                f"{path}, row {frame.index[row]}: column '{name}' holds '{value}', which is no number.",
                "A prediction CSV has an id column and probabilities, nothing else.",
            )
        try:
            return cls(ids, tuple(frame.columns), numbers)
        except DataError as error:
            raise DataError(f"{path}: {error.message}") from error

    def write(self, path: Path | str, id_column: str = "ImageID") -> None:
        """A CSV whose numbers read back exactly, one row a film; the file appears whole or not at all.

        Where all of them are 0 or 1, decisions, they are written as such. A path that ends in ``.parquet`` gets that.

        Raises DataError where a name would be a formula to a spreadsheet, or would not read back: names that come from
        a file were refused when that was read, and none is changed.
        """
        write_table(self.to_csv(id_column), Path(path), id_column)

    def to_csv(self, id_column: str = "ImageID", *, header: bool = True) -> str:
        """The text of that CSV, or its rows alone; raises DataError as ``write`` does."""
        for name in (id_column, *self.findings, *self.ids):
            if fault := fault_of_name(str(name)):
                raise DataError(f"The CSV is not written: it would hold {shown(str(name))}, which {fault}.")
        if id_column in self.findings:
            raise DataError(f"The CSV is not written: '{id_column}' is the name of its id column and of a finding.")
        frame = self._cells()
        for place, (name, cells) in enumerate({id_column: self.ids, **self.facts}.items()):
            frame.insert(place, name, cells)
        return frame.to_csv(index=False, header=header, lineterminator="\n")

    def _cells(self) -> pd.DataFrame:
        decided = bool(((self.probabilities == 0) | (self.probabilities == 1)).all())
        values = self.probabilities.astype(np.int64) if decided else self.probabilities
        return pd.DataFrame(values, columns=pd.Index(self.findings))

    def select(self, findings: Sequence[str]) -> Self:
        """These findings, in this order."""
        columns = [self.findings.index(name) for name in findings]
        return type(self)(self.ids, tuple(findings), self.probabilities[:, columns])

    def with_column(self, name: str, values: NDArray[np.floating]) -> "Predictions":
        """These and one more, ``[N]``, at the end."""
        columns = np.column_stack([self.probabilities, values.astype(np.float64)])
        return Predictions(self.ids, (*self.findings, name), columns)

    def rows(self, ids: Sequence[str]) -> Self:
        """These films, in this order."""
        position = {film: row for row, film in enumerate(self.ids)}
        keep = [position[film] for film in ids]
        return type(self)(self.ids[keep], self.findings, self.probabilities[keep])


class Decisions(Predictions):
    """1, 0, or NaN where a film is left undecided for a finding: an empty cell of the CSV."""

    def _wrong(self) -> NDArray[np.bool_]:
        return ~np.isin(self.probabilities, (0, 1)) & ~np.isnan(self.probabilities)

    def _cells(self) -> pd.DataFrame:
        return pd.DataFrame(self.probabilities, columns=pd.Index(self.findings)).astype("Int64")


def read_cells(path: Path, id_column: str = "ImageID") -> tuple[Texts, pd.DataFrame]:
    """The ids ``[N]`` of a table of predictions and its columns of findings, as text, checked as ``read`` does."""
    frame = read_csv(path)
    if id_column not in frame.columns:
        raise missing_column(path, id_column, list(frame.columns))
    ids = frame.pop(id_column).to_numpy(object)
    frame = frame.drop(columns=[OOD_SCORE, *FILM_FACTS], errors="ignore")
    if frame.shape[1] == 0:
        raise DataError(
            f"{path} has no column beside '{id_column}'.", "It needs one column of probabilities a finding."
        )
    if unnamed := [name for name in frame.columns if is_nameless(name)]:
        raise DataError(
            f"{path} has a column without a name, {listed(unnamed)}, which holds "
            f"{shown(frame[unnamed[0]].iloc[0])}, ...",
            "Remove it, or give it a finding's name. (Of pandas, to_csv writes an index unless index=False.)",
        )
    check_findings(frame.columns, path)
    for row, film in zip(frame.index, ids, strict=True):
        check_id(film, path, row, id_column)
    return ids, frame


def numbers_of(cells: pd.DataFrame) -> NDArray[np.float64]:
    """Text as numbers ``[N, C]``, with decimal points or, as a German Excel writes them, commas; NaN for other text."""
    columns = []
    for _, column in cells.items():
        numbers = np.array(pd.to_numeric(column, errors="coerce"), np.float64)
        for row in np.flatnonzero(np.isnan(numbers)).tolist():
            number = number_of(column.iloc[row])
            numbers[row] = math.nan if number is None else number
        columns.append(numbers)
    return np.stack(columns, axis=1) if columns else np.empty((len(cells), 0))


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
    stack = np.stack([member.probabilities for member in members])
    first = members[0]
    return Predictions(first.ids, first.findings, merge_members(stack, shares / shares.sum(), mode))


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
