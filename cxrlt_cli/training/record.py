"""What a report needs to know of a run beyond its options: versions, hashes, and which films it took and left out."""

import csv
import hashlib
import io
import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from cxrlt_cli import __version__
from cxrlt_cli.config import FitOptions
from cxrlt_cli.documents import read_json
from cxrlt_cli.engine.films import Division
from cxrlt_cli.files import write_text
from cxrlt_cli.nets.manifest import sha256
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.tables.rows import read_rows

RECORD, SPLIT = "record.json", "split.csv"
OF_A_COMMAND = ("command", "fold", "started", "process", "versions")  # told of each of several


@dataclass(frozen=True)
class Record:
    """The content of ``record.json``, and the text of ``split.csv``: every film with its patient and its part."""

    content: dict[str, Any]
    split: str
    resumes: bool = False

    @classmethod
    def of(cls, options: FitOptions, division: Division, command: str) -> "Record":
        """Made before the first epoch, so that hashes are of the files that were read."""
        split = _split_csv(division, options)
        first = division.pairs[0]
        tables = [division.judged] if options.folds else [part.table for part in first]
        csvs = [options.csv, *([options.val_csv] if options.val_csv else [])]
        content = {
            "command": f"cxrlt {command}",
            **({} if options.fold is None else {"fold": options.fold}),
            "started": datetime.now(UTC).isoformat(),
            "versions": {
                "cxrlt": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "timm": timm.__version__,
                "numpy": np.__version__,
            },
            "labels": [_file(path) for path in csvs if path is not None],
            "corrections": [_file(path) for path in options.corrections],
            "exclude": [_file(path) for path in options.exclude],
            "num_rows": sum(_num_rows(path) for path in csvs if path is not None),
            "num_excluded": len({film for table in tables for film in table.left_out}),
            "num_taken": sum(map(len, tables)),
            "split_sha256": hashlib.sha256(split.encode()).hexdigest(),
        }
        return cls(content, split, options.resume)

    def write(self, folder: Path, process: str | None, members: Iterable[Path] = ()) -> None:
        """``record.json`` and ``split.csv`` as training begins; of a run that goes on, below ``continued``.

        ``process``: on what it is trained; None where this command trains nothing. ``members``: folders of folds that
        were trained each by a command of its own; the first of their records is gone on with where there is none yet.
        """
        known = _read(folder / RECORD) if self.resumes else None
        of_members = [one for path in members if (one := _read(path / RECORD))] if self.resumes and not known else []
        mine = [] if process is None else [{**self.content, "process": process}]
        records = [*([known] if known else []), *of_members, *mine]
        if records and records[0]["split_sha256"] != self.content["split_sha256"]:
            records = mine
        if not records:
            return
        first, *others = records
        continued = list(first.get("continued", ()))
        seen = {one.get("started") for one in (first, *continued)}
        continued += [_of_command(one) for one in others if one["started"] not in seen]
        content = {**first, **({"continued": continued} if continued else {})}
        write_text(folder / SPLIT, self.split)
        write_text(folder / RECORD, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is none, or it is damaged."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "split_sha256" in content else None


def _of_command(content: dict[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in OF_A_COMMAND if name in content}


def _file(path: Path) -> dict[str, str]:
    return {"name": path.name, "sha256": sha256(path)}


def _num_rows(path: Path) -> int:
    return sum(1 for _ in read_rows(path)) - 1


def _split_csv(division: Division, options: FitOptions) -> str:
    """``ImageID,PatientID,Split``: train and val, or the fold that judges the film."""
    if options.folds:
        parts = [(f"fold-{number}", judged.table) for number, (_, judged) in enumerate(division.pairs, 1)]
    else:
        training, validation = division.pairs[0]
        parts = [("train", training.table), ("val", validation.table)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((options.id_column, "PatientID", "Split"))
    writer.writerows(_rows(parts))
    return text.getvalue()


def _rows(parts: Sequence[tuple[str, LabelTable]]) -> Iterable[tuple[str, str, str]]:
    for name, table in parts:
        for film, patient in zip(table.ids, table.patients, strict=True):
            yield str(film), str(patient), name
