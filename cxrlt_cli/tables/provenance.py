"""By which rules labels were made: the record that ``data import`` leaves beside its CSV."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrlt_cli.documents import read_json
from cxrlt_cli.files import write_text

RECORD = ".import.json"  # what the name of a record ends in
CHANGED = "; the CSV was changed since"
LONGEST = 1000  # characters of a policy


def record_path(csv: Path) -> Path:
    """``labels.csv.import.json`` for ``labels.csv``."""
    return csv.with_name(csv.name + RECORD)


def write_record(csv: Path, record: Mapping[str, Any]) -> None:
    """The record, with a hash of the CSV that it is of; the same record and CSV give the same bytes."""
    content = {**record, "sha256": _digest(csv)}
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(record_path(csv), f"{text}\n")


def read_policy(csv: Path) -> str | None:
    """The rules in one line, such as ``chexpert; uncertain: empty; unmentioned: 0``; None where there is no record.

    Where the CSV is another than the record is of, that follows. A record that is damaged stops nothing, since labels
    are read without it; but it is said in place of the rules, that nobody takes them for known.
    """
    path = record_path(csv)
    if not path.is_file():
        return None
    try:
        record = read_json(path)
        policy, digest = record["policy"], record["sha256"]
        if not isinstance(policy, str) or not isinstance(digest, str):
            raise TypeError("policy and sha256 are no texts")
    except (OSError, ValueError, KeyError, TypeError):
        return f"unknown, since {path.name} is damaged"
    line = " ".join(policy[:LONGEST].split())
    return line if digest == _digest(csv) else line + CHANGED


def read_record(csv: Path) -> Mapping[str, Any] | None:
    """The whole record of a CSV; None where there is none, or it is damaged."""
    try:
        record = read_json(record_path(csv))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
