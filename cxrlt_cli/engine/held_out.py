"""Whether predictions are those that the members of a run gave for films that they were not trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cxrlt_cli.engine.several import members_in, out_of_fold
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_header

ROUNDED = 6e-4  # of probabilities written with three digits


def warning_of_source(predictions: Predictions, run: Path) -> str:
    """How many films the run learned from have other probabilities than out of fold; empty for none, or no folds."""
    known: set[str] = set()
    same: set[str] = set()
    for table in _held_out(run):
        own = Predictions.read(table, read_header(table)[0])  # the id column that the run was trained with
        known.update(own.ids)
        same |= _same(predictions, own)
    number = sum(film in known and film not in same for film in predictions.ids)
    if not number:
        return ""
    return (
        f"{number:,} of these {len(predictions.ids):,} films have other probabilities than {run} gave them out of "
        "fold, and were trained on by its other members. If a model that was trained on a film predicted it, the "
        "scores are too high."
    )


def _held_out(run: Path) -> Iterator[Path]:
    """The tables of a run with folds: of all seeds together, of each, and of each member as it predicted."""
    whole = out_of_fold(run)
    if whole is not None:
        yield whole
        yield from sorted(run.glob("seed-*/oof_predictions.csv"))
        yield from (table for member in members_in(run) if (table := member / "val_predictions.csv").is_file())


def _same(predictions: Predictions, own: Predictions) -> set[str]:
    """Films with the same probabilities in both, but for rounding."""
    row = {film: index for index, film in enumerate(own.ids)}
    films = [film for film in predictions.ids if film in row]
    findings = [name for name in predictions.findings if name in own.findings]
    if not films or not findings:
        return set()
    pair = (one.select(findings).rows(films).probabilities for one in (predictions, own))
    close = np.abs(np.subtract(*pair)).max(axis=1) < ROUNDED
    return {film for film, is_close in zip(films, close, strict=True) if is_close}
