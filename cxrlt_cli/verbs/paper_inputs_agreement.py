"""Whether the scores that ``report`` computes are those that ``train`` wrote of the same predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrlt_cli.documents import read_json
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.scores.metrics import score
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import LabelTable

CLOSE = 1e-6  # a single label among a million films moves AP by more than another machine's rounding


def require_agreement(
    run: Path, predictions: Predictions, tables: Sequence[LabelTable], changed: Sequence[str], reporter: Reporter
) -> None:
    """Raise DataError where AP of a finding is not that of ``metrics.json``: other labels were read than the run had.

    ``changed``: files of labels that are known to be others now; then it is a warning.
    """
    path = run / "metrics.json"
    try:
        before = {finding["name"]: finding["ap"] for finding in read_json(path)["findings"]}
    except (OSError, ValueError, LookupError, TypeError):
        reporter.warn(f"{path} is gone or damaged: whether the scores are still those of the run was not checked.")
        return
    targets = {
        str(film): labels
        for table in tables
        for film, labels in zip(table.ids, table.select(predictions.findings).targets, strict=True)
    }
    truth = np.stack([targets[film] for film in predictions.ids])
    now = {one.name: one.ap for one in score(truth, predictions.probabilities, predictions.findings).findings}
    others = [name for name in now if _differ(now[name], before.get(name))]
    if not others:
        return
    told = ", ".join(f"{name} {_told(now[name])}, not {_told(before.get(name))}" for name in others[:3])
    more = f", and {len(others) - 3} more" if len(others) > 3 else ""
    said = f"AP is not that of {path}: {told}{more}."
    if not changed:
        raise DataError(said, "Give the labels that it was judged by, or train again.")
    reporter.warn(f"{said} Of other labels: {listed(changed)} was changed.")


def _differ(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > CLOSE


def _told(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
