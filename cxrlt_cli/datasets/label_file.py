"""The label file that an import writes, alone or after another set's."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrlt_cli.datasets.raw_table import RawTable, Texts, read_raw
from cxrlt_cli.datasets.records import Records
from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.label_table import check_findings, check_id

ID, PATIENT, PART = "ImageID", "PatientID", "Split"
ABOUT = {PATIENT: "owners", "StudyID": "studies", "ViewPosition": "views", PART: "parts", "PatientSex": "sexes",
         "PatientAge": "ages"}  # fmt: skip


@dataclass(frozen=True)
class LabelFile:
    """Columns of text, ``ImageID`` first, then what is known of the films, then findings: 1, 0 or empty."""

    columns: dict[str, Texts]
    findings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.columns[ID])

    @classmethod
    def of(cls, records: Records, path: Path) -> "LabelFile":
        """Settled records as the columns of ``path``.

        Raises DataError where an id or the name of a finding is none that other commands read, or an id is doubled.
        """
        check_findings(records.findings, path)
        seen: set[str] = set()
        for row, film in enumerate(records.films):
            check_id(film, path, row + 2, ID)
            if film in seen:
                raise DataError(f"The set names the film {film} more than once.", "Keep one row a film.")
            seen.add(film)
        held = {name: getattr(records, field) for name, field in ABOUT.items()}
        about = {name: cells for name, cells in held.items() if cells is not None}
        marks = np.array(["0", "1", ""], object)  # the last is any state below 0
        labels = {name: marks[np.maximum(records.states[:, place], -1)] for place, name in enumerate(records.findings)}
        return cls({ID: records.films, **about, **labels}, records.findings)

    def rows(self, keep: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> "LabelFile":
        return LabelFile({name: cells[keep] for name, cells in self.columns.items()}, self.findings)

    def text(self) -> str:
        """The CSV, the same bytes for the same labels."""
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(zip(*self.columns.values(), strict=True))
        return written.getvalue()

    def after(self, path: Path, kind: str) -> "LabelFile":
        """The films of ``path``, then these, with ``kind:`` before their patients; empty where one does not label.

        Raises DataError where a film is in both.
        """
        base = read_raw(path)
        both = set(base[ID]) & set(self.columns[ID])
        if both:
            raise DataError(
                f"{path} holds {min(both)} already, and {len(both):,} films of this set in all.",
                "Ids are paths below one folder: import each set with --image-dir on the folder that holds both.",
            )
        mine = dict(self.columns)
        mine[PATIENT] = np.array([f"{kind}:{patient}" for patient in mine[PATIENT]], object)
        others = [name for name in base.header if name not in (ID, *ABOUT)]
        names = [ID, *(name for name in ABOUT if name in base or name in mine), *others]
        names += [name for name in self.findings if name not in others]
        columns = {name: np.concatenate([_filled(base, name), _mine(mine, name, len(self))]) for name in names}
        return LabelFile(columns, tuple(name for name in names if name not in (ID, *ABOUT)))


def _filled(base: RawTable, name: str) -> Texts:
    return base[name] if name in base else np.full(len(base), "", object)


def _mine(columns: dict[str, Texts], name: str, number: int) -> Texts:
    return columns.get(name, np.full(number, "", object))


def shared_patients(records: Records) -> list[str]:
    """The patients whose films are in more than one part, in order."""
    if records.parts is None:
        return []
    part_of: dict[str, str] = {}
    shared = set()
    for patient, part in zip(records.owners, records.parts, strict=True):
        if part and part_of.setdefault(patient, part) != part:
            shared.add(patient)
    return sorted(shared)


def parts_in(records: Records) -> Sequence[str]:
    """The official parts that films are in: train, val, test, then others."""
    held = set() if records.parts is None else set(records.parts) - {""}
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(held, key=lambda part: (order.get(part, 3), part))
