"""Labels from a CSV or Parquet file: read as text, checked, excluded from, split by patient, counted.

Letters: N films, C findings. Everything is read as text first: a patient number of 39 digits is no float. Row numbers
in messages are those that a spreadsheet shows, the header being row 1.
"""

import hashlib
import shlex
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, listed, missing_column
from cxrlt_cli.labels import LabelSpace
from cxrlt_cli.names import fault_of_id, fault_of_name, nearest, shown
from cxrlt_cli.tables.chosen import EVERY, Chosen
from cxrlt_cli.tables.columns import LISTS, Column, is_nameless, judged_columns, nameless, require_labels, targets_of
from cxrlt_cli.tables.corrections import Corrected, Corrections
from cxrlt_cli.tables.fold_shares import share_out
from cxrlt_cli.tables.known_headers import naming_import
from cxrlt_cli.tables.parts import COLUMN
from cxrlt_cli.tables.patients import LOST, read_patients
from cxrlt_cli.tables.provenance import read_policy
from cxrlt_cli.tables.rows import read_rows, require_single
from cxrlt_cli.tables.values import is_float
from cxrlt_cli.tables.views import view_cell

Texts = NDArray[np.object_]

PIECE = 2**13  # rows that are text at a time, where they become numbers
HINT_ON_IDS = "Ids are paths below --image-dir, and are written as they are. Rename the film, here and on the disk."
HINT_ON_PATHS = "Ids are paths below --image-dir: cut off what stands before that."


@dataclass(frozen=True)
class LabelTable:
    """N films with C findings each: 1, 0, or NaN where a film is not labelled."""

    ids: Texts  # [N]
    patients: Texts  # [N]
    targets: NDArray[np.float32]  # [N, C]
    space: LabelSpace
    ignored: tuple[Column, ...] = ()  # columns of the CSV that are no findings
    doubtful: tuple[str, ...] = ()  # findings that look like metadata
    left_out: tuple[str, ...] = ()  # ids that were excluded
    policy: str | None = None  # by which rules the labels were made, where data import wrote that down
    num_of_part: Mapping[str, int] = field(default_factory=Counter)  # rows of the whole CSV, by their column Split
    views: Texts | None = None  # [N], how each was taken; None where no column says
    corrected: Corrected = field(default_factory=Corrected)  # of the labels that are read

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
        views = None if self.views is None else self.views[keep]
        return replace(self, ids=self.ids[keep], patients=self.patients[keep], targets=self.targets[keep], views=views)

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

    def folds(self, number: int, seed: int) -> NDArray[np.int64]:
        """The fold ``[N]`` of each film, from 0: a patient is in one alone, the rare findings are shared out first."""
        patients, member = np.unique(self.patients.astype(str), return_inverse=True)
        positives = np.zeros((len(patients), len(self.space)), np.int64)
        np.add.at(positives, member, self.targets == 1)
        num_films = np.bincount(member, minlength=len(patients))
        return share_out(positives, num_films, number, np.random.default_rng(seed))[member]


def read_labels(
    path: Path,
    *,
    id_column: str = "ImageID",
    patient_column: str = "PatientID",
    view_column: str = "ViewPosition",
    findings: Sequence[str] | None = None,
    needs_patients: bool = True,
    excluded: Collection[str] = (),
    chosen: Chosen = EVERY,
    corrections: Corrections | None = None,
) -> LabelTable:
    """The label table of a CSV, without the films that are ``excluded``, whose rows are not looked at.

    ``chosen``: the rows that are looked at. ``corrections``: labels in place of those of the CSV.

    ``findings``: the columns to read; None takes those that ``tables.columns`` finds. What a cell means is told in
    ``tables.values``; a film without a label is NaN. Without a ``patient_column``, where ``needs_patients`` is False,
    every film is its own patient.

    Raises DataError that names file, column and row: a column that is missing or doubled, an id that is doubled or
    that ``names.fault_of_id`` refuses, a finding that ``names.fault_of_name`` does, a patient that is empty or lost
    its digits, a value that is no label.
    """
    whole = read_csv(path)
    with naming_import(path, list(whole.columns)):
        num_of_part = Counter(whole[COLUMN]) if COLUMN in whole.columns else Counter[str]()
        frame = chosen.rows_of(whole, path)
        out = _column(frame, path, id_column)
        mask = np.array([film in excluded for film in out], bool)
        frame, out = frame[~mask], out[mask]
        if mask.all() and len(out):
            raise DataError(f"--exclude leaves no film of {path}.")
        ids = _ids(frame, path, id_column)
        corrected = Corrected()
        if corrections is not None:
            frame, corrected = corrections.only(findings).put_in(frame, id_column)
        patients = read_patients(frame, str(path), id_column, patient_column, needs_patients=needs_patients)
        columns = judged_columns(frame, (id_column, patient_column), findings)
        _require_columns(findings or (), frame, path)
        read = {column.name: column for column in columns if column.kind == "finding"}
        ignored = tuple(column for column in columns if column.kind != "finding")
        if not read:
            hint = "Findings are such columns, one each. Name yours with --findings."
            lists = any(column.kind == "lists" for column in ignored)
            raise DataError(
                f"{path} has no column of 0 and 1 (it has {listed(ignored, 40) or 'no other column'}).",
                LISTS if lists else hint,
            )
        names = list(findings or read)
        check_findings(names, path)
        require_labels(frame, list(read.values()), str(path))
        targets = np.stack([targets_of(frame[name]) for name in names], axis=1)
        doubtful = tuple(column.name for column in read.values() if column.why and findings is None)
        policy = corrected.policy(read_policy(path))
        views = None
        if view_column in frame.columns:
            views = np.array([view_cell(cell) for cell in frame[view_column]], object)
        space = LabelSpace.of(names)
        return LabelTable(
            ids, patients, targets, space, ignored, doubtful, tuple(out), policy, num_of_part, views, corrected
        )


def read_ids(path: Path, id_column: str = "ImageID", chosen: Chosen = EVERY) -> Texts:
    """The ids of a CSV, ``[N]``, in its order, of the ``chosen`` rows; checked like those of ``read_labels``."""
    whole = read_csv(path)
    with naming_import(path, list(whole.columns)):
        return _ids(chosen.rows_of(whole, path), path, id_column)


def read_exclusions(paths: Iterable[Path], id_column: str = "ImageID") -> set[str]:
    """The ids that any of these CSVs lists."""
    excluded: set[str] = set()
    for path in paths:
        excluded.update(_column(read_csv(path), path, id_column))
    return excluded


def check_findings(names: Iterable[str], path: Path) -> None:
    """Raise DataError where one of these columns of ``path`` has a name that no finding may have."""
    for name in names:
        if fault := fault_of_name(name):
            raise DataError(f"{path} has the column {shown(name)}, which {fault}.", "Rename it in the CSV.")


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV as text, one column a name; cells without the spaces around them. The index is the row in a spreadsheet.

    A Parquet file is read as the CSV that it could be (``tables.parquet``). Rows without any text are passed over, and
    so are columns without a name and any text; one with text is called ``(column 1)`` by its place.

    Raises DataError where the file is missing, empty, not UTF-8, has a doubled column, a row of more or fewer cells
    than the header or of more than ``MAX_ROW`` characters, or a NUL; or is a Parquet file that cannot be read.
    """
    pieces = list(read_pieces(path))
    frame = pd.concat(pieces) if len(pieces) > 1 else pieces[0]
    void = [name for name in frame.columns if is_nameless(name) and (frame[name] == "").all()]
    frame = frame.drop(columns=void)
    require_single(frame.columns, path)
    return frame


def read_pieces(path: Path, size: int = PIECE) -> Iterator[pd.DataFrame]:
    """``read_csv``, at most ``size`` rows at a time, with the columns that have no text; one piece at least."""
    rows = read_rows(path)
    _, header = next(rows)
    names = pd.Index([name or nameless(place) for place, name in enumerate(header)], dtype=object)
    first = True
    while (piece := list(islice(rows, size))) or first:
        first = False
        cells = [row for _, row in piece]
        frame = pd.DataFrame(cells, index=[number for number, _ in piece], columns=range(len(names)), dtype=object)
        yield frame.set_axis(names, axis=1)


def read_header(path: Path) -> list[str]:
    """The names of a CSV's columns."""
    return next(read_rows(path))[1]


def stream_ids(path: Path, id_column: str, size: int = 2**16, chosen: Chosen = EVERY) -> Iterator[list[str]]:
    """The ids of a CSV, ``size`` at a time, checked like those of ``read_ids``; a doubled one is told at the end.

    What is kept of those before is a number of 8 bytes each, by which a second one of the same name is found.
    """
    rows = read_rows(path)
    _, header = next(rows)
    if id_column not in header:
        with naming_import(path, header):
            raise missing_column(path, id_column, header)
    column = header.index(id_column)
    rows = chosen.stream(rows, header, path)
    hashes: list[NDArray[np.uint64]] = []
    while chunk := list(islice(rows, size)):
        ids = [row[column] for _, row in chunk]
        for (number, _), film in zip(chunk, ids, strict=True):
            check_id(film, path, number, id_column)
        digests = (hashlib.blake2b(film.encode(), digest_size=8).digest() for film in ids)
        hashes.append(np.frombuffer(b"".join(digests), np.uint64))
        yield ids
    if not hashes:
        raise DataError(f"{path} has a header but no row.", "It needs one row a film.")
    known, times = np.unique(np.concatenate(hashes), return_counts=True)
    if (times > 1).any():
        _tell_doubled(path, column, set(known[times > 1].tolist()), chosen)


def ids_as_they_are(path: Path, id_column: str, chosen: Chosen = EVERY) -> Iterator[str]:
    """The ids of a CSV that ``stream_ids`` went through already."""
    rows = read_rows(path)
    _, header = next(rows)
    column = header.index(id_column)
    return (row[column] for _, row in chosen.stream(rows, header, path))


def _tell_doubled(path: Path, column: int, suspects: set[int], chosen: Chosen) -> None:
    """Raise DataError with the first two rows of one name, of those whose hashes are doubled."""
    seen: dict[str, int] = {}
    rows = read_rows(path)
    _, header = next(rows)
    for number, row in chosen.stream(rows, header, path):
        film = row[column]
        digest = int.from_bytes(hashlib.blake2b(film.encode(), digest_size=8).digest(), sys.byteorder)
        if digest in suspects:
            if film in seen:
                where = f"{path}, row {number}"
                raise DataError(f"{where} holds '{film}', as row {seen[film]} does.", "Keep one row a film.")
            seen[film] = number


def _require_columns(findings: Sequence[str], frame: pd.DataFrame, path: Path) -> None:
    missing = [name for name in findings if name not in frame.columns]
    if not missing:
        return
    near = {name: nearest(name, frame.columns) for name in missing}
    hint = "Check --findings."
    if all(near.values()):
        hint = f"Pass --findings {shlex.quote(','.join(near.get(name) or name for name in findings))}."
    raise DataError(f"{path} has no column {listed([shown(name) for name in missing])}.", hint)


def _column(frame: pd.DataFrame, path: Path, id_column: str) -> Texts:
    if id_column not in frame.columns:
        raise missing_column(path, id_column, list(frame.columns))
    return frame[id_column].to_numpy(object)


def _ids(frame: pd.DataFrame, path: Path, id_column: str) -> Texts:
    ids = _column(frame, path, id_column)
    if len(ids) == 0:
        raise DataError(f"{path} has a header but no row.", "It needs one row a film.")
    seen: dict[str, int] = {}
    for row, film in zip(frame.index, ids, strict=True):
        check_id(film, path, row, id_column)
        if film in seen:
            where = f"{path}, row {row}: column '{id_column}'"
            raise DataError(f"{where} holds '{film}', as row {seen[film]} does.", "Keep one row a film.")
        seen[film] = row
    return ids


def check_id(film: str, path: Path, row: int, id_column: str) -> None:
    """Raise DataError where an id names no film, or is one that is refused."""
    where = f"{path}, row {row}: column '{id_column}'"
    if not film:
        raise DataError(f"{where} is empty.", "Every row needs the name of its film.")
    if fault := fault_of_id(film):
        hint = HINT_ON_PATHS if "leaves" in fault else HINT_ON_IDS
        raise DataError(f"{where} holds {shown(film)}, which {fault}.", hint)
    if is_float(film):
        raise DataError(f"{where} holds '{film}' as an id.", LOST)
