"""Labels from a CSV: read as text, checked, excluded from, split by patient, counted.

Letters: N films, C findings. Everything is read as text first: a patient number of 39 digits is no float. Row numbers
in messages are those that a spreadsheet shows, the header being row 1.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.labels import CXR_LT_2026, UNSEEN, LabelSpace

Texts = NDArray[np.object_]

LABELS = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0, "": np.nan, "nan": np.nan, "NaN": np.nan, "NA": np.nan}
FIRST_ROW = 2  # the header is row 1


@dataclass(frozen=True)
class LabelTable:
    """N films with C findings each: 1, 0, or NaN where a film is not labelled."""

    ids: Texts  # [N]
    patients: Texts  # [N]
    targets: NDArray[np.float32]  # [N, C]
    space: LabelSpace
    passed_over: tuple[str, ...] = ()  # columns of the CSV that are no findings

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Positive films of each finding, ``[C]``."""
        return np.asarray((self.targets == 1).sum(axis=0), np.int64)

    @property
    def num_labelled(self) -> NDArray[np.int64]:
        """Labelled films of each finding, ``[C]``."""
        return np.asarray((~np.isnan(self.targets)).sum(axis=0), np.int64)

    @property
    def num_patients(self) -> int:
        return len(set(self.patients))

    def rows(self, keep: NDArray[Any]) -> "LabelTable":
        """The films that a mask ``[N]`` or an array of indices names."""
        return replace(self, ids=self.ids[keep], patients=self.patients[keep], targets=self.targets[keep])

    def without(self, ids: Iterable[str]) -> "LabelTable":
        """The films that are not among ``ids``."""
        dropped = set(ids)
        return self.rows(np.array([film not in dropped for film in self.ids], bool))

    def select(self, findings: Sequence[str]) -> "LabelTable":
        """These findings, in this order."""
        columns = [self.space.findings.index(name) for name in findings]
        return replace(self, targets=self.targets[:, columns], space=LabelSpace.of(findings))

    def split(self, fraction: float, seed: int) -> tuple["LabelTable", "LabelTable"]:
        """Training and validation films with no patient in both, the rare findings shared out first.

        Patients are drawn finding by finding, from the rarest on, until the validation films hold ``fraction`` of its
        positives (rounded); then patients without any positive until they hold ``fraction`` of the films. After
        iterative stratification (Sechidis et al., ECML 2011), with patients for units.
        """
        patients, member = np.unique(self.patients.astype(str), return_inverse=True)
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(patients))
        positives = np.zeros((len(patients), len(self.space)), np.int64)
        np.add.at(positives, member, self.targets == 1)
        num_films = np.bincount(member, minlength=len(patients))

        held_out = np.zeros(len(patients), bool)
        decided = np.zeros(len(patients), bool)
        for finding in np.argsort(self.counts, kind="stable"):
            wanted = round(fraction * int(self.counts[finding]))
            having = order[positives[order, finding] > 0]
            have = int(positives[held_out, finding].sum())
            for patient in having[~decided[having]]:
                number = int(positives[patient, finding])
                if abs(have + number - wanted) < abs(have - wanted):
                    held_out[patient] = True
                    have += number
            decided[having] = True
        wanted, have = round(fraction * len(self)), int(num_films[held_out].sum())
        for patient in order[~decided[order]]:
            if have >= wanted:
                break
            held_out[patient] = True
            have += int(num_films[patient])
        return self.rows(~held_out[member]), self.rows(held_out[member])


def read_labels(
    path: Path,
    *,
    id_column: str = "ImageID",
    patient_column: str = "PatientID",
    findings: Sequence[str] | None = None,
    needs_patients: bool = True,
) -> LabelTable:
    """The label table of a CSV.

    ``findings``: the columns to read; None takes every column whose values are only 0, 1 and empty. Empty means not
    labelled. Without a ``patient_column``, where ``needs_patients`` is False, every film is its own patient.

    Raises DataError that names file, column and row: a column that is missing or doubled, an id that is empty,
    doubled or leaves the image folder, a patient that is empty, a value that is neither 0, 1 nor empty.
    """
    frame = read_csv(path)
    ids = _ids(frame, path, id_column)
    if patient_column not in frame.columns and not needs_patients:
        patients = ids
    else:
        hint = f"Pass --patient-column. Where every film is of another patient, --patient-column {id_column} will do."
        patients = _column(frame, path, patient_column, hint)
        for row in np.flatnonzero(patients == ""):
            raise DataError(f"{path}, row {frame.index[int(row)]}: column '{patient_column}' is empty.", hint)
    others = [name for name in frame.columns if name not in (id_column, patient_column, "")]
    if findings is None:
        names = [name for name in others if _is_finding(frame[name], name, path)]
        if not names:
            raise DataError(
                f"{path} has no column of 0 and 1 (it has {listed(list(frame.columns), 8)}).",
                "Findings are such columns, one each. Name yours with --findings.",
            )
    else:
        names = list(findings)
        for name in names:
            _column(frame, path, name, "Check --findings.")
    columns = [_targets(frame[name], name, path) for name in names]
    targets = np.stack(columns, axis=1) if len(ids) else np.zeros((0, len(names)), np.float32)
    passed_over = tuple(name for name in others if name not in names)
    return LabelTable(ids, patients, targets, LabelSpace.of(names), passed_over)


def read_ids(path: Path, id_column: str = "ImageID") -> Texts:
    """The ids of a CSV, ``[N]``, in its order; checked like those of ``read_labels``."""
    return _ids(read_csv(path), path, id_column)


def read_exclusions(paths: Iterable[Path], id_column: str = "ImageID") -> set[str]:
    """The ids that any of these CSVs lists."""
    excluded: set[str] = set()
    for path in paths:
        excluded.update(_column(read_csv(path), path, id_column, "Pass --id-column."))
    return excluded


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV as text, one column a name; cells without the spaces around them. The index is the row in a spreadsheet.

    Rows without any text are passed over.

    Raises DataError where the file is missing, empty, not UTF-8, has a doubled column, or a row with more or fewer
    cells than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if not header:
                raise DataError(f"{path} is empty.", "It needs a header and one row a film.")
            if len(header) == 1 and (separator := next((mark for mark in ";\t" if mark in header[0]), None)):
                kind = "semicolons" if separator == ";" else "tabs"
                raise DataError(f"{path} is separated by {kind}, not by commas.", "Save it as a CSV with commas.")
            doubled = [name for name, number in Counter(header).items() if number > 1 and name]
            if doubled:
                raise DataError(f"{path} has more than one column '{doubled[0]}'.", "Rename or remove the others.")
            rows, numbers = [], []
            for number, row in enumerate(reader, FIRST_ROW):
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) == len(header):
                    rows.append([cell.strip() for cell in row])
                    numbers.append(number)
                else:
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} cells, but the header has {len(header)}.",
                        "A cell that holds a comma must stand in quotes.",
                    )
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the path of the CSV.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a CSV.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).", "Is it a CSV? Then save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}.", "Is it a CSV with commas and closed quotes?"
        ) from error
    return pd.DataFrame(rows, index=numbers, columns=pd.Index(header, dtype=object), dtype=object)


def _column(frame: pd.DataFrame, path: Path, name: str, hint: str) -> Texts:
    if name not in frame.columns:
        raise DataError(f"{path} has no column '{name}' (it has {listed(list(frame.columns), 8)}).", hint)
    return frame[name].to_numpy(object)


def _ids(frame: pd.DataFrame, path: Path, id_column: str) -> Texts:
    ids = _column(frame, path, id_column, "Pass --id-column.")
    if len(ids) == 0:
        raise DataError(f"{path} has a header but no row.", "It needs one row a film.")
    seen: dict[str, int] = {}
    for row, film in zip(frame.index, ids, strict=True):
        where = f"{path}, row {row}: column '{id_column}'"
        if not film:
            raise DataError(f"{where} is empty.", "Every row needs the name of its film.")
        if film in seen:
            raise DataError(f"{where} holds '{film}', as row {seen[film]} does.", "Keep one row a film.")
        if _leaves_folder(film):
            raise DataError(
                f"{where} holds '{film}', which leaves the image folder.", "Ids are paths below --image-dir."
            )
        seen[film] = row
    return ids


def _leaves_folder(film: str) -> bool:
    """Absolute or upward on any system: a CSV made on Windows is as dangerous as one made here."""
    parts = film.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or parts[0][1:2] == ":" or "\0" in film


def _is_finding(column: "pd.Series[Any]", name: str, path: Path) -> bool:
    """Whether a column's values are labels. One that nearly is, or has a challenge finding's name, must be."""
    values = Counter(column)
    binary = sum(number for value, number in values.items() if value and value in LABELS)
    others = sum(number for value, number in values.items() if value not in LABELS)
    if others and (binary >= others or name in CXR_LT_2026 or name in UNSEEN):
        _targets(column, name, path)
    return binary > 0 and others == 0


def _targets(column: "pd.Series[Any]", name: str, path: Path) -> NDArray[np.float32]:
    targets = column.map(LABELS)
    strange = ~column.isin(list(LABELS)).to_numpy(bool)
    if strange.any():
        row = int(np.flatnonzero(strange)[0])
        more = f" ({int(strange.sum())} such rows)" if strange.sum() > 1 else ""
        raise DataError(
            f"{path}, row {column.index[row]}: column '{name}' holds '{column.iloc[row]}'{more}; a label is 0, 1, or "
            "empty for not labelled.",
            "Mend the column, or name the columns that are findings with --findings.",
        )
    return targets.to_numpy(np.float32)
