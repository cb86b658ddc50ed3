"""Decisions held against the truth: what ``evaluate`` does with a file of 0, 1 and empty cells alone."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import PLURALS, counted
from cxrlt_cli.errors import OptionError
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.scores.decisions import DecisionScore
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.scores.proportions import Share
from cxrlt_cli.tables.label_table import LabelTable

NEEDLESS = ("bootstrap", "threshold", "empty", "image_dir")
SHARES = ("sensitivity", "specificity", "ppv", "npv")


def require_alone(options: EvaluateOptions, path: Path, of_studies: bool) -> None:
    """Raise OptionError where decisions are to be compared, or shown as only probabilities can be."""
    if len(options.predictions) > 1:
        raise OptionError(f"{path} holds decisions (0, 1, empty), which are scored alone.", "Pass it alone.")
    of_probabilities = (
        ("--by", options.by),
        ("--against", options.against),
        ("--checkpoint", options.checkpoint),
        ("--perturb", options.perturb),
        ("--errors", options.errors),
        ("--suspects", options.suspects),
        ("--per-study", options.per_study and not of_studies),
    )
    given = [flag for flag, value in of_probabilities if value]
    if given:
        raise OptionError(
            f"{given[0]} is for probabilities, and {path} holds decisions (0, 1, empty).",
            "Pass the probabilities that they were made of (--out of infer).",
        )


def table_of(decided: Sequence[DecisionScore], truth: LabelTable, scores: Scores, path: Path, csv: Path) -> Table:
    """A row a finding; shares from 0 to 1, as wherever else sensitivities stand."""
    films = counted(scores.num_films, scores.unit, PLURALS[scores.unit])
    if scores.num_patients:
        films += f" of {counted(scores.num_patients, 'patient')}"
    some = any(one.undecided for one in decided)
    columns = ("finding", "pos.", *(("open",) if some else ()), "sens.", "spec.", "PPV", "NPV")
    title = f"{path} on {csv}: decisions ({films})"
    return Table(title, columns, list(_rows(decided, some)), _told(decided, truth, scores.num_patients is not None))


def to_json(scores: Sequence[DecisionScore], truth: LabelTable) -> dict[str, Any]:
    """Of ``--json``, under ``decisions``; shares from 0 to 1."""
    findings = [{**asdict(one), **{name: _share_json(getattr(one, name)) for name in SHARES}} for one in scores]
    return {"intervals": _intervals(truth), "findings": findings}


def _share_json(share: Share) -> dict[str, Any] | None:
    if share.value is None:
        return None
    return {"value": share.value, "ci": [share.low, share.high], "num_films": share.films}


def _intervals(truth: LabelTable) -> str:
    if truth.num_patients == len(truth):
        return "exact 95 % intervals"
    return "exact 95 % intervals over patients: several films of one patient count for fewer, the more alike they are"


def _told(scores: Sequence[DecisionScore], truth: LabelTable, has_patients: bool) -> str:
    """What the numbers are."""
    told = [f"In brackets: {_intervals(truth)}."]
    if not has_patients:
        told.append("The labels do not name patients: each film counts as one patient.")
    told.append("Predictive values are those at the prevalence of these films.")
    open_, positives = sum(one.undecided for one in scores), sum(one.undecided_positives for one in scores)
    if open_:
        cells = counted(open_, "cell is empty", "cells are empty")
        told.append(f"All are of what was decided: {cells}, {positives:,} of positive films, and in none of these.")
    return " ".join(told)


def _rows(scores: Sequence[DecisionScore], some: bool) -> Iterator[tuple[str, ...]]:
    for one in scores:
        open_ = (f"{one.undecided:,}",) if some else ()
        yield (one.name, f"{one.positives:,}", *open_, *(str(getattr(one, name)) for name in SHARES))
