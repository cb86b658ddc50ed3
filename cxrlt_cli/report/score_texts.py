"""What stands beside scores, in a terminal and on a page: frequencies, chance, and what was not shown."""

import math
from typing import Literal

from cxrlt_cli.errors import listed
from cxrlt_cli.labels import band
from cxrlt_cli.scores.differences import Difference, told_difference
from cxrlt_cli.scores.metrics import MIN_POSITIVES, SURE, Comparison, Scores

MOST = 40  # findings that are named


def told_frequency(share: float) -> str:
    """In per cent, with as many digits as show its band: ``0.97 %`` is below 1 %, as ``1.0 %`` would not be."""
    digits = next((digits for digits in range(1, 6) if band(round(share, digits + 2)) == band(share)), 6)
    return f"{100 * share:.{digits}f} %"


def told_share_below(share: float) -> str:
    """``99.5 %``, rounded down: a film that one other is above is not above all."""
    return f"{math.floor(1000 * share + 1e-9) / 10:.1f} %"


def told_chance(scores: Scores, mark: str = "") -> str:
    """What chance comes to, and for which findings it is not shown that the model is above it; "" without intervals.

    ``mark``: what stands beside those for which it is, such as ``*``.
    """
    tested = [one for one in scores.findings if one.above_chance is not None]
    if not tested:
        return ""
    missing = [one.name for one in tested if not one.above_chance]
    number, how = f"{len(tested) - len(missing)} of {len(tested)} findings", f"{mark}: p" if mark else "p"
    text = (
        f"The chance level is the prevalence for AP and 0.5 for AUROC. AUROC is significantly above it for {number} "
        f"({how} < {SURE} with Holm's correction for all of them)."
    )
    return f"{text} Not significant: {listed(missing, MOST)}." if missing else text


def told_without_interval(scores: Scores) -> str:
    """Which findings have no interval, and why; "" where all do or none was asked for."""
    if scores.ap_ci is None:
        return ""
    few = [one.name for one in scores.findings if one.positives and one.ap_ci is None]
    return f"No confidence interval: fewer than {MIN_POSITIVES} patients have {listed(few, MOST)}." if few else ""


def is_shown(comparison: Comparison) -> bool:
    """Whether the interval of a difference is on one side of 0."""
    return comparison.ci is not None and not comparison.ci[0] <= 0 <= comparison.ci[1]


def told_apart(found: Difference) -> str:
    """``−0.012 (−0.050 to +0.031)``, with the sign that is printed, not the hyphen."""
    return told_difference(found).replace("-", "−")


def told_threshold(threshold: float | Literal["best"]) -> str:
    """Where F1 cuts, for the terminal and the page; empty for the default."""
    if threshold == "best":
        return "--threshold best: F1 is at the best threshold for these same films, so it is too high."
    return "" if threshold == 0.5 else f"--threshold {threshold:g}: F1 is at this threshold."
