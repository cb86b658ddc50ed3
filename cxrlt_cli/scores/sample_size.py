"""How many positive films an interval of AUROC of a wanted width takes."""

import math

from scipy.special import ndtri

from cxrlt_cli.scores.bootstrap import LEVEL
from cxrlt_cli.scores.proportions import smallest


def auroc_error(auroc: float, positives: float, negatives: float) -> float:
    """The standard error of an AUROC of independent films (Hanley & McNeil, Radiology 1982)."""
    both_positive, both_negative = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = (
        auroc * (1 - auroc)
        + (positives - 1) * (both_positive - auroc**2)
        + (negatives - 1) * (both_negative - auroc**2)
    )
    return math.sqrt(variance / (positives * negatives))


def positives_for_width(auroc: float, prevalence: float, width: float) -> int | None:
    """How many positives, among negatives as the prevalence has it, make the 95 % interval no wider than ``width``.

    Films are of as many patients. An AUROC of 1 or 0 has no width to go by: None, as where no number is enough.
    """
    if not 0 < auroc < 1:
        return None
    quantile = float(ndtri((1 + LEVEL) / 2))

    def too_wide(positives: int) -> bool:
        negatives = max(1.0, positives * (1 - prevalence) / prevalence)
        return 2 * quantile * auroc_error(auroc, positives, negatives) > width

    return smallest(too_wide)
