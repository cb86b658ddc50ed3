"""The next command, which each command names in its last line as it can be typed."""

import shlex
from collections.abc import Iterable
from typing import Any

from cxrlt_cli.config import Options, changed, flag
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.tables.label_table import read_header

ROWS = ("csv", "id_column", "patient_column", "where", "exclude", "corrections")  # which rows, and what they say
REPEATED = {"exclude", "corrections", "by"}  # an option for each value; others take them separated by commas


def tell_next(reporter: Reporter, *words: object) -> None:
    """``Next: cxrlt evaluate runs/a --csv labels.csv``; words in capitals stand for what only the user knows."""
    reporter.note(f"Next: cxrlt {shlex.join(map(str, words))}")


def typed(options: Options, names: Iterable[str]) -> list[str]:
    """Those of these options that the command has and that differ from their defaults, as they are typed."""
    given = changed(options) & set(names)
    return [word for name in type(options).model_fields if name in given for word in _words(options, name)]


def tell_scoring(reporter: Reporter, options: Any, findings: Iterable[str], are_phantoms: bool = False) -> bool:
    """``evaluate`` of ``--out`` as the next command, where ``--csv`` has columns of ``findings``; whether it was told.

    ``are_phantoms``: the films are those that a command without ``--csv`` takes, whose labels ``evaluate`` finds.
    """
    known = are_phantoms if options.csv is None else not set(findings).isdisjoint(read_header(options.csv))
    if known:
        tell_next(reporter, "evaluate", options.out, *typed(options, (*ROWS, "per_study", "study_column")))
    return known


def _words(options: Options, name: str) -> list[str]:
    value, option = getattr(options, name), flag(type(options), name)
    if value is True or value is False:
        return [option if value else f"--no-{option[2:]}"]
    if isinstance(value, dict):
        value = [f"{key}={one}" for key, one in value.items()]
    if not isinstance(value, tuple | list):
        return [option, str(value)]
    if name in REPEATED:
        return [word for one in value for word in (option, str(one))]
    return [option, ",".join(map(str, value))]
