"""VinDr-CXR and VinDr-PCXR: a row a reader, or a row a box; several readers become one label.

Nguyen et al., Scientific Data 2022; Pham et al., 2022.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import RawTable, distinct, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import Records, States, joined, part_of_file, states_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, listed

LABELS = ("image_labels_train.csv", "image_labels_test.csv")
BOXES = ("train.csv", "annotations_*.csv")  # Kaggle's, PhysioNet's
RENAMED = {"Other diseases": "Other disease"}  # as the test file calls it
SEEN_BY = {"majority": "most of a film's readers", "any": "any of a film's readers", "all": "all of a film's readers"}
NO_FINDING = "No finding"

Numbers = NDArray[np.int64]


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of the set, 15,000 and 3,000 of VinDr-CXR; who the patients are is not told."""
    paths = files.given or files.named(*LABELS) or files.named(*BOXES)
    if not paths:
        raise files.absent("vindr", f"{LABELS[0]}, or Kaggle's train.csv")
    tables = [read_raw(path) for path in paths]
    for table in tables:
        require_columns(table, ["image_id"], "vindr")
    kinds = [_read_boxes if "class_name" in table else _read_labels for table in tables]
    if len(set(kinds)) > 1:
        raise DataError(f"{listed(paths)} say the same twice: labels and boxes.", "Name one of them as SOURCE.")
    return joined([kind(table, options.readers) for kind, table in zip(kinds, tables, strict=True)])


def _read_labels(table: RawTable, readers: str) -> Records:
    """A row for each film and reader; without a reader, the consensus of all."""
    reader = next((name for name in table.header if name.lower() == "rad_id"), None)
    columns = [name for name in table.header if name not in ("image_id", reader)]
    states = states_of(table, columns)
    if (states < 0).any():
        row, place = np.argwhere(states < 0)[0]
        raise DataError(f"{table.where(int(row))}: column '{columns[place]}' is empty; a reader says 0 or 1.")
    findings = [RENAMED.get(name, name) for name in columns]
    films = list(table["image_id"])
    if reader is not None:
        films, votes, number = _votes(table, states, reader)
        states = _decided(votes, number, readers)
    return _records(table, films, findings, states, readers)


def _votes(table: RawTable, states: States, reader: str) -> tuple[list[str], Numbers, Numbers]:
    """Films in order of their ids, their votes ``[N, C]`` and their readers ``[N]``."""
    pairs = list(zip(table["image_id"], table[reader], strict=True))
    if len(set(pairs)) < len(pairs):
        seen: set[tuple[str, str]] = set()
        row = next(row for row, pair in enumerate(pairs) if pair in seen or seen.add(pair))  # type: ignore[func-returns-value]
        raise DataError(f"{table.where(row)}: reader {pairs[row][1]} has read {pairs[row][0]} twice.")
    codes, values = distinct(table["image_id"])
    order = np.argsort(np.array(values, str), kind="stable")
    place = np.empty(len(values), np.int64)
    place[order] = np.arange(len(values))
    votes = np.zeros((len(values), states.shape[1]), np.int64)
    np.add.at(votes, place[codes], states)
    return [values[number] for number in order], votes, np.bincount(place[codes], minlength=len(values))


def _decided(votes: Numbers, number: Numbers, readers: str) -> States:
    """Labels of votes ``[N, C]`` among a number of readers ``[N]``: of more than half, of any, or of all."""
    needed = {"majority": number // 2 + 1, "any": np.ones_like(number), "all": number}[readers]
    return (votes >= needed[:, None]).astype(np.int8)


def _read_boxes(table: RawTable, readers: str) -> Records:
    """A row for each box, or for a reader who saw nothing."""
    require_columns(table, ["class_name", "rad_id"], "vindr")
    if "" in table["class_name"]:
        row = int(np.flatnonzero(table["class_name"] == "")[0])
        raise DataError(
            f"{table.where(row)}: column 'class_name' is empty; where nothing is seen it says {NO_FINDING}."
        )
    films = sorted(set(table["image_id"]))
    names = sorted(set(table["class_name"]) - {NO_FINDING})
    findings = [*names, NO_FINDING]
    place = {film: number for number, film in enumerate(films)}
    column = {name: number for number, name in enumerate(findings)}
    readers_of: list[set[str]] = [set() for _ in films]
    votes = np.zeros((len(films), len(findings)), np.int64)
    said = set(zip(table["image_id"], table["class_name"], table["rad_id"], strict=True))
    for film, name, reader in said:
        votes[place[film], column[name]] += 1
        readers_of[place[film]].add(reader)
    number = np.array([len(of) for of in readers_of], np.int64)
    states = _decided(votes, number, readers)
    return _records(table, films, findings, states, readers)


def _records(table: RawTable, films: Sequence[str], findings: Sequence[str], states: States, readers: str) -> Records:
    merged = len(table) - len(films)
    part = part_of_file(table.path)  # and the folder of the films
    return Records(
        texts(f"{part}/{film}.dicom" if part else f"{film}.dicom" for film in films),
        tuple(findings),
        states,
        patients=texts(films),
        knows_patients=False,
        parts=texts([part] * len(films)),
        rows_read=len(table),
        left_out={"further readers or boxes of a film": merged} if merged else {},
        notes=(f"{table.path.name}: positive is what {SEEN_BY[readers]} saw.",) if merged else (),
    )
