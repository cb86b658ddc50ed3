"""Predictions: probabilities that carry the ids of their films and the names of their findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.data.table import Texts, read_csv
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.files import replacing


@dataclass(frozen=True)
class Predictions:
    """``ids [N]``, ``findings [C]`` and ``probabilities [N, C]``; unique, finite and within [0, 1].

    Raises DataError where they are not.
    """

    ids: Texts
    findings: tuple[str, ...]
    probabilities: NDArray[np.float64]

    def __post_init__(self) -> None:
        expected = (len(self.ids), len(self.findings))
        assert self.probabilities.shape == expected, f"{self.probabilities.shape} probabilities for {expected}"
        if len(set(self.ids)) < len(self.ids):
            raise DataError("Predictions hold a film more than once.")
        if len(set(self.findings)) < len(self.findings):
            raise DataError("Predictions hold a finding more than once.")
        wrong = ~((self.probabilities >= 0) & (self.probabilities <= 1))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            value = self.probabilities[row, column]
            raise DataError(f"'{self.findings[column]}' of film '{self.ids[row]}' is {value}, not a probability.")

    @classmethod
    def read(cls, path: Path | str, id_column: str = "ImageID") -> "Predictions":
        """The predictions of a CSV: an id column, and one column of probabilities a finding.

        Raises DataError that names file, column and row.
        """
        path = Path(path)
        frame = read_csv(path)
        if id_column not in frame.columns:
            raise DataError(f"{path} has no column '{id_column}' (it has {listed(list(frame.columns), 8)}).")
        ids = frame.pop(id_column).to_numpy(object)
        if frame.shape[1] == 0:
            raise DataError(
                f"{path} has no column beside '{id_column}'.", "It needs one column of probabilities a finding."
            )
        numbers = frame.apply(pd.to_numeric, errors="coerce")
        strange = np.argwhere(numbers.isna().to_numpy())
        if len(strange):
            row, column = strange[0]
            name, value = frame.columns[column], frame.iloc[row, column]
            raise DataError(
                f"{path}, row {frame.index[row]}: column '{name}' holds '{value}', which is no number.",
                "A prediction CSV has an id column and probabilities, nothing else.",
            )
        try:
            return cls(ids, tuple(frame.columns), numbers.to_numpy(np.float64))
        except DataError as error:
            raise DataError(f"{path}: {error.message}") from error

    def write(self, path: Path | str, id_column: str = "ImageID") -> None:
        """A CSV whose numbers read back exactly, one row a film; the file appears whole or not at all."""
        frame = pd.DataFrame(self.probabilities, columns=pd.Index(self.findings))
        frame.insert(0, id_column, self.ids)
        with replacing(Path(path)) as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")

    def select(self, findings: Sequence[str]) -> "Predictions":
        """These findings, in this order."""
        columns = [self.findings.index(name) for name in findings]
        return Predictions(self.ids, tuple(findings), self.probabilities[:, columns])

    def rows(self, ids: Sequence[str]) -> "Predictions":
        """These films, in this order."""
        position = {film: row for row, film in enumerate(self.ids)}
        keep = [position[film] for film in ids]
        return Predictions(self.ids[keep], self.findings, self.probabilities[keep])
