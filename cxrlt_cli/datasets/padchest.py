"""PadChest, PadChest-GR and BIMCV-COVID19: Python lists of names in a cell, and a tree of what is a kind of what.

Bustos et al., Medical Image Analysis 66, 2020; de Castro et al., NEJM AI 2025; de la Iglesia Vayá et al., 2020.
"""

import ast
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.label_tree import CHILDREN, ancestors
from cxrlt_cli.datasets.raw_table import RawTable, distinct, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import (
    UNLABELLED,
    Records,
    States,
    joined,
    parts_of,
    sexes_of,
    states_of_lists,
    views_of,
)
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.patients import LOST
from cxrlt_cli.tables.values import lost_digits

TABLE = "PADCHEST_chest_x_ray_images_labels_160K*.csv"
GROUNDED = "master_table.csv"
BIMCV = "labels_*.tsv"
SILENT = ("exclude", "suboptimal study", "unchanged")  # of the film or the comparison, not of the chest
NORMAL = "normal"
_FILM_OF_BIMCV = re.compile(r"(?:^|/)(sub-S\d+)/(ses-E\d+)/.*?(?:_vp-([a-z]+))?_[a-z]+\.png$")

Numbers = NDArray[np.int64]
Labels = tuple[States, NDArray[np.bool_], tuple[str, ...]]  # [N, C]; films told of [N]; what the tree did
Lists = list[tuple[str, ...] | None]  # of the values of a column; None where a cell says nothing of the film


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films of the set that anything is said of: 160,861 rows, 193 names."""
    single = files.single("PadChest table", TABLE) or files.single("PadChest-GR table", GROUNDED)
    paths = files.given or ([single] if single else files.named(BIMCV))
    if not paths:
        raise files.absent("padchest", TABLE)
    tables = [read_raw(path) for path in paths]
    if any("label_group" in table for table in tables):
        if len(tables) > 1:
            raise DataError("PadChest-GR's table is read alone.", "Import the others apart.")
        return _read_grounded(tables[0])
    for table in tables:
        require_columns(table, ["Labels", "PatientID"], "padchest")
    lists = [_lists(table) for table in tables]
    named = {name for held in lists for names in held if names for name in names}
    findings = _ordered(named | {parent for name in named for parent in ancestors(name)} if options.tree else named)
    labels = [_labels(table, held, options.tree, findings) for table, held in zip(tables, lists, strict=True)]
    return joined([_read(table, files, findings, held) for table, held in zip(tables, labels, strict=True)])


def _read(table: RawTable, files: SetFiles, findings: tuple[str, ...], labels: Labels) -> Records:
    """One of several tables: what another names and this one does not is absent here, not unlabelled."""
    if "ReportID" in table and "ImageID" not in table:
        return _read_bimcv(table, files, findings, labels)
    return _read_table(table, findings, labels)


def _read_table(table: RawTable, findings: tuple[str, ...], labels: Labels) -> Records:
    require_columns(table, ["ImageID", "ImageDir", "PatientID", "StudyID", "Labels", "Projection"], "padchest")
    if lost := lost_digits(table["PatientID"]):
        raise DataError(f"{table.path}: column 'PatientID' holds {sorted(lost)[0]} as a patient.", LOST)
    states, keep, notes = labels
    records = Records(
        texts(f"{folder}/{film}" for folder, film in zip(table["ImageDir"], table["ImageID"], strict=True)),
        findings,
        states,
        patients=table["PatientID"],
        studies=table["StudyID"],
        views=views_of(table["Projection"]),
        sexes=sexes_of(table["PatientSex_DICOM"]),
        ages=texts(map(_age, table["StudyDate_DICOM"], table["PatientBirth"])),
        rows_read=len(table),
        notes=notes,
    )
    return records.rows(keep, "nothing said of the film (no label, exclude, or unchanged alone)")


def _age(study: str, birth: str) -> str:
    """Whole years between the dates of the study and the birth, of which the year alone is known."""
    years = re.match(r"\d{4}", study), re.match(r"\d{4}", birth)
    return str(int(years[0][0]) - int(years[1][0])) if years[0] and years[1] else ""


def _lists(table: RawTable) -> Lists:
    codes, cells = distinct(table["Labels"])
    return [_names(cell, table, codes, number) for number, cell in enumerate(cells)]


def _labels(table: RawTable, lists: Lists, tree: bool, findings: tuple[str, ...]) -> Labels:
    codes, _ = distinct(table["Labels"])
    held = states_of_lists([_with_parents(names or (), tree) for names in lists], np.arange(len(lists)), findings)
    if tree:
        _empty_children(held, lists, findings)
    films = np.bincount(codes, minlength=len(lists))
    notes = _told_tree(held, lists, films, findings) if tree else ()
    return held[codes], np.array([names is not None for names in lists], bool)[codes], notes


def _names(cell: str, table: RawTable, codes: NDArray[np.intp], number: int) -> tuple[str, ...] | None:
    """The findings in the text of a Python list; None where it holds none and not ``normal`` either."""
    if cell in ("", "nan"):
        return None
    try:
        held = ast.literal_eval(cell)
        names = [name.strip() for name in held]
    except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError) as error:
        row = int(np.flatnonzero(codes == number)[0])
        raise DataError(f"{table.where(row)}: 'Labels' holds {cell[:60]!r}, which is no list of names.") from error
    if "exclude" in names:
        return None
    findings = tuple(dict.fromkeys(name for name in names if name and name not in SILENT))
    return findings or None


def _ordered(names: set[str]) -> tuple[str, ...]:
    """Normal first, then by the alphabet, whatever the case."""
    return tuple(sorted(names, key=lambda name: (name != NORMAL, name.lower(), name)))


def _with_parents(names: Sequence[str], tree: bool) -> Sequence[str]:
    return [*names, *{parent for name in names for parent in ancestors(name)}] if tree else names


def _empty_children(states: States, lists: Lists, findings: Sequence[str]) -> None:
    """A parent that is named says nothing of its children: which of them it was stays open, so they are empty."""
    place = {name: number for number, name in enumerate(findings)}
    below = {name: [place[one] for one in findings if name in ancestors(one)] for name in CHILDREN if name in place}
    for number, names in enumerate(lists):
        for child in {child for name in names or () for child in below.get(name, ())}:
            if states[number, child] == 0:
                states[number, child] = UNLABELLED


def _told_tree(states: States, lists: Lists, films: Numbers, findings: Sequence[str]) -> tuple[str, ...]:
    """How many films each parent has by its name alone, and with its children. ``films``: of each list."""
    alone = dict.fromkeys(findings, 0)
    for number, names in enumerate(lists):
        for name in names or ():
            alone[name] += int(films[number])
    positives = dict(zip(findings, (films @ (states == 1)).tolist(), strict=True))
    grown = sorted((name for name in findings if positives[name] > alone[name]), key=lambda name: -positives[name])
    told = [f"{name} {alone[name]:,} -> {positives[name]:,}" for name in grown]
    return (f"Films by the name alone and with its subtypes (--no-tree: alone): {', '.join(told)}.",) if told else ()


def _read_grounded(table: RawTable) -> Records:
    """PadChest-GR: a row for each film and label."""
    require_columns(table, ["StudyID", "ImageID", "PatientID", "label", "split"], "padchest (PadChest-GR)")
    first = {film: row for row, film in reversed(list(enumerate(table["ImageID"])))}
    films = list(dict.fromkeys(table["ImageID"]))
    named: dict[str, list[str]] = {film: [] for film in films}
    for film, label in zip(table["ImageID"], table["label"], strict=True):
        named[film].append(NORMAL if label.lower() == NORMAL else label)
    findings = _ordered({name for names in named.values() for name in names if name})
    rows = np.array([first[film] for film in films], np.int64)
    lists = [[name for name in named[film] if name] for film in films]
    sexes = "PatientSex_DICOM"
    return Records(
        texts(films),
        findings,
        states_of_lists(lists, np.arange(len(films)), findings),
        patients=table["PatientID"][rows],
        studies=table["StudyID"][rows],
        parts=parts_of(table["split"][rows]),
        sexes=sexes_of(table[sexes][rows]) if sexes in table else None,
        rows_read=len(table),
        left_out={"further labels of a film": len(table) - len(films)} if len(table) > len(films) else {},
        notes=("These are the films that CXR-LT 2026 is judged on: not for training or tuning there.",),
    )


def _read_bimcv(table: RawTable, files: SetFiles, findings: tuple[str, ...], labels: Labels) -> Records:
    """BIMCV-COVID19: labels of sessions, whose films are those in the session's folder."""
    require_columns(table, ["PatientID", "ReportID", "Labels"], "padchest (BIMCV-COVID19)")
    if not files.looks_for_films:
        raise DataError(
            f"{table.path} has labels of sessions, not of films: those are found in the folders of the sessions.",
            "Import where the films are, without --missing keep.",
        )
    states, keep, notes = labels
    row_of = {key: row for row, key in enumerate(zip(table["PatientID"], table["ReportID"], strict=True))}
    found = [(path, match) for path in files.films if (match := _FILM_OF_BIMCV.search(path))]
    told = [(path, match, row_of[match[1], match[2]]) for path, match in found if (match[1], match[2]) in row_of]
    rows = np.array([row for _, _, row in told], np.int64)
    without = len(table) - len(set(rows.tolist()))
    records = Records(
        texts(path for path, _, _ in told),
        findings,
        states[rows],
        patients=texts(match[1] for _, match, _ in told),
        studies=texts(match[2] for _, match, _ in told),
        views=views_of(texts(match[3] or "" for _, match, _ in told)),
        rows_read=len(told) + without,
        left_out={"session without a film": without} if without else {},
        notes=notes,
    )
    return records.rows(keep[rows], "nothing said of the film (no label, exclude, or unchanged alone)")
