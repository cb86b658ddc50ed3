"""The label file that an import writes, alone or after another set's."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.datasets.raw_table import Texts, distinct, read_raw, texts
from cxrlt_cli.datasets.records import UNLABELLED, Records, States, states_of
from cxrlt_cli.errors import DataError
from cxrlt_cli.labels import plain_name
from cxrlt_cli.names import fault_of_id, fault_of_name, shown
from cxrlt_cli.tables.patients import LOST
from cxrlt_cli.tables.values import lost_digits, meaning_of

ID, PATIENT, PART = "ImageID", "PatientID", "Split"
ABOUT = {PATIENT: "owners", "StudyID": "studies", "ViewPosition": "views", PART: "parts", "PatientSex": "sexes",
         "PatientAge": "ages"}  # fmt: skip
MARKS = {0: ",0", 1: ",1"}


@dataclass(frozen=True)
class LabelFile:
    """N films: columns of text, ``ImageID`` first, then C findings: 1, 0, or below 0 where a film is not labelled."""

    about: dict[str, Texts]  # [N] each
    findings: tuple[str, ...]
    states: States  # [N, C]

    def __len__(self) -> int:
        return len(self.states)

    @classmethod
    def of(cls, records: Records) -> "LabelFile":
        """Settled records as rows.

        Raises DataError where an id or the name of a finding is none that other commands read, or an id is doubled.
        """
        for name in records.findings:
            if fault := fault_of_name(name):
                hint = "Give it another name with a YAML file for --names."
                raise DataError(f"The set has the finding {shown(name)}, which {fault}.", hint)
        seen: set[str] = set()
        for film, patient in zip(records.films, records.owners, strict=True):
            if fault := fault_of_id(film):
                raise DataError(f"The set calls a film {shown(film)}, which {fault}.", "Mend it in the label file.")
            if film in seen:
                raise DataError(f"The set names the film {film} more than once.", "Is one label file named twice?")
            seen.add(film)
            if not patient:
                raise DataError(f"The film {film} has no patient.", "Fill in the column, or leave it out for all.")
        if lost := lost_digits(records.owners):
            raise DataError(f"The label file has {sorted(lost)[0]} as a patient.", LOST)
        held = {name: getattr(records, field) for name, field in ABOUT.items()}
        about = {name: cells for name, cells in held.items() if cells is not None}
        return cls({ID: records.films, **about}, records.findings, records.states)

    def rows(self, keep: NDArray[np.bool_]) -> "LabelFile":
        return LabelFile({name: cells[keep] for name, cells in self.about.items()}, self.findings, self.states[keep])

    def text(self) -> str:
        """The CSV, the same bytes for the same labels."""
        lines = _Lines()
        writer = csv.writer(lines, lineterminator="")
        writer.writerow([*self.about, *self.findings])
        header = lines.pop()
        writer.writerows(zip(*self.about.values(), strict=True))
        known: dict[bytes, str] = {}  # rows of labels, which are few
        rows = [header]
        for line, row in zip(lines, map(bytes, np.ascontiguousarray(self.states)), strict=True):
            if row not in known:
                known[row] = "".join(MARKS.get(state, ",") for state in row)
            rows.append(line + known[row])
        return "\n".join([*rows, ""])

    def after(self, path: Path, base_prefix: str, prefix: str) -> "LabelFile":
        """The films of ``path``, then these; empty where one does not label. Patients get what tells the sets apart.

        ``base_prefix``, ``prefix``: of the patients of either, who are told apart where these differ; empty: none.
        Raises DataError where a film is in both, or two findings are one but for spelling.
        """
        base = _read(path)
        if both := set(base.about[ID]) & set(self.about[ID]):
            raise DataError(
                f"{path} holds {min(both)} already, and {len(both):,} films of this set in all.",
                "Ids are paths below one folder: import each set with --image-dir on the folder that holds both.",
            )
        spelled = {plain_name(name): name for name in base.findings}
        for name in self.findings:
            other = spelled.get(plain_name(name), name)
            if other != name:
                raise DataError(
                    f"{path} has the finding {other}, and this set {name}.",
                    "Import both with --names common, or with a YAML file that gives them one name.",
                )
            if name in base.about:
                raise DataError(f"{path}: column '{name}' holds more than 0, 1 and blanks, and is a finding here.")
        base.about.update(_prefixed(base.about, base_prefix))
        mine = {**self.about, **_prefixed(self.about, prefix)}
        order = dict.fromkeys([ID, *(name for name in ABOUT if name in base.about or name in mine), *base.about])
        about = {
            name: np.concatenate([_filled(base.about, name, len(base)), _filled(mine, name, len(self))])
            for name in order
        }
        findings = tuple(dict.fromkeys([*base.findings, *self.findings]))
        states = np.full((len(base) + len(self), len(findings)), UNLABELLED, np.int8)
        for part, rows in ((base, slice(0, len(base))), (self, slice(len(base), None))):
            states[rows, [findings.index(name) for name in part.findings]] = part.states
        return LabelFile(about, findings, states)


class _Lines(list[str]):
    """What a CSV writer writes, a line an item."""

    write = list.append


def _read(path: Path) -> LabelFile:
    """A label file that is there: columns of 0, 1 and blanks alone are its findings, all others stay as they are."""
    table = read_raw(path)
    if ID not in table:
        raise DataError(f"{path} has no column '{ID}'.", "--append adds to a file that data import wrote.")
    findings = [name for name in table.header if name not in (ID, *ABOUT) and _is_finding(table[name])]
    about = {name: table[name] for name in table.header if name not in findings}
    about.setdefault(PATIENT, about[ID])  # each film its own, as for every command
    return LabelFile(about, tuple(findings), states_of(table, findings))


def _is_finding(cells: Texts) -> bool:
    return all(meaning_of(cell) in ("label", "missing") for cell in distinct(cells)[1])


def _prefixed(columns: dict[str, Texts], prefix: str) -> dict[str, Texts]:
    if not prefix or PATIENT not in columns:
        return {}
    names = [patient if patient.startswith(f"{prefix}:") else f"{prefix}:{patient}" for patient in columns[PATIENT]]
    return {PATIENT: texts(names)}


def _filled(columns: dict[str, Texts], name: str, number: int) -> Texts:
    return columns.get(name, np.full(number, "", object))


def shared_patients(patients: Texts, parts: Texts | None) -> list[str]:
    """The patients whose films are in more than one part, in order."""
    if parts is None:
        return []
    part_of: dict[str, str] = {}
    shared = set()
    for patient, part in zip(patients, parts, strict=True):
        if part and part_of.setdefault(patient, part) != part:
            shared.add(patient)
    return sorted(shared)


def parts_in(parts: Texts | None) -> Sequence[str]:
    """The official parts that films are in: train, val, test, then others."""
    held = set() if parts is None else set(parts) - {""}
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(held, key=lambda part: (order.get(part, 3), part))
