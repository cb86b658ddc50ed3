"""Which films a model learned from: by the CSV that it was trained with, and what it held out, where those are there.

Films are known by their ids, and patients by their numbers, so that a copy or a part of that CSV is recognised too.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrlt_cli.config.conditions import columns_of, parse
from cxrlt_cli.documents import read_yaml
from cxrlt_cli.errors import CxrltError
from cxrlt_cli.nets.checkpoints import Checkpoint
from cxrlt_cli.tables.chosen import Chosen, rows_with_cells
from cxrlt_cli.tables.label_table import LabelTable, read_exclusions, read_header
from cxrlt_cli.tables.values import patient_of


@dataclass(frozen=True)
class Learned:
    """Ids of films, and their patients where a column says whose they are."""

    films: frozenset[str]
    patients: frozenset[str]
    in_folds: bool = False  # as a member of a run with --folds

    def seen(self, films: Sequence[str], patients: Sequence[str]) -> list[bool]:
        """For each film whether it was learned from, or another one of its patient; ``patients`` may be the films.

        Where no film was, the set is another one, whose patients may have the same numbers.
        """
        known = [film in self.films for film in films]
        if not any(known):
            return known
        return [one or whose in self.patients for one, whose in zip(known, patients, strict=True)]

    def number(self, table: LabelTable) -> int:
        return sum(self.seen(list(table.ids), list(table.patients)))

    def number_by_patient(self, table: LabelTable) -> int:
        """Films of patients whose numbers it learned from, whatever the films are called."""
        return sum(whose in self.patients for whose in table.patients)


def learned_by(path: Path, checkpoint: Checkpoint) -> Learned | None:
    """What the checkpoint at ``path`` learned from when it was last trained; None where its CSV is not there, or is no
    longer what it was.
    """
    options = {**checkpoint.training.get("options", {}), **_options_beside(path)}
    csv = options.get("csv")
    if not isinstance(csv, str) or not Path(csv).is_file():
        return None
    id_column, patient_column = options.get("id_column", "ImageID"), options.get("patient_column", "PatientID")
    try:
        left_out = _left_out(options, path, id_column)
        rows = [cells for _, cells in rows_with_cells(Path(csv), _chosen(options, Path(csv)))]
        learned = [cells for cells in rows if cells[id_column] not in left_out]
    except (CxrltError, OSError, KeyError, TypeError):
        return None
    patients = {patient_of(cells[patient_column]) for cells in learned if patient_column in cells}
    return Learned(
        frozenset(cells[id_column] for cells in learned), frozenset(patients - {""}), options.get("folds") is not None
    )


def _chosen(options: dict[str, Any], csv: Path) -> Chosen:
    """The rows that were taken; more than those where headers of films said which."""
    split, where = options.get("split"), options.get("where")
    if where is not None:
        where = where if set(columns_of(parse(where))) <= set(read_header(csv)) else None
    return Chosen(None if split is None else tuple(split), where)


def _left_out(options: dict[str, Any], path: Path, id_column: str) -> Collection[str]:
    """Films that were excluded, and those of this CSV that were held out to judge by."""
    excluded = [Path(one) for one in options.get("exclude", ()) if Path(one).is_file()]
    held_out = (path if path.is_dir() else path.parent) / "val_predictions.csv"
    return read_exclusions([*excluded, *([held_out] if held_out.is_file() else [])], id_column)


def _options_beside(path: Path) -> dict[str, Any]:
    """What ``run.yaml`` says; a path in it is the whole one, and in the checkpoint as it was typed."""
    try:
        content = read_yaml((path if path.is_dir() else path.parent) / "run.yaml")
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
