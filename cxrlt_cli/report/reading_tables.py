"""Operating points, and how many positives a narrow interval takes, as tables for the page."""

from collections.abc import Sequence

from cxrlt_cli.errors import listed
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.scores.differences import MIN_EACH
from cxrlt_cli.scores.metrics import Scores
from cxrlt_cli.scores.readings import Point, reads
from cxrlt_cli.scores.sample_size import positives_for_width

WIDTHS = (0.2, 0.1, 0.05)


def points_table(points: Sequence[Point]) -> Table:
    columns = ("finding", "wanted", "threshold", "sensitivity", "specificity", "PPV", "films per true positive")
    rows, before = [], ""
    for point in points:
        worth, name = point.worth, "" if point.finding == before else point.finding
        before = point.finding
        shares = (str(one) for one in (worth.sensitivity, worth.specificity, worth.ppv))
        rows.append((name, f"{point.wanted:g}", f"{point.threshold:.3g}", *shares, _reads(point)))
    note = (
        f"Findings present in at least {MIN_EACH} patients and absent in as many. Thresholds are fitted on all films; "
        "their sensitivity, specificity and PPV are cross-validated by patient in five folds, with 95 % confidence "
        "intervals over patients. Films per true positive: flagged films for each that has the finding, 1 / PPV."
    )
    return Table("Operating points", columns, rows, note)


def sizes_table(scores: Scores) -> Table:
    """Positives that intervals of AUROC of some widths take, of the findings that have one and are above 0.5.

    At 0.5 and below, the formula's scores of positives and negatives, which are exponential, have no such order.
    """
    columns = ("finding", "positives", "AUROC", "width", *(f"for {width:g}" for width in WIDTHS))
    rows, low = [], []
    for one in scores.findings:
        if one.auroc is None or one.auroc_ci is None:
            continue
        if one.auroc <= 0.5:
            low.append(one.name)
            continue
        needed = (positives_for_width(one.auroc, one.prevalence, width) for width in WIDTHS)
        width = f"{one.auroc_ci[1] - one.auroc_ci[0]:.3f}"
        rows.append((one.name, f"{one.positives:,}", f"{one.auroc:.3f}", width,
                     *("–" if number is None else f"{number:,}" for number in needed)))  # fmt: skip
    note = (
        "Number of positive films for a 95 % confidence interval of AUROC of this width (Hanley & McNeil 1982), with "
        "the AUROC and the prevalence measured here. The formula takes films as independent, and the distribution of "
        "scores from the AUROC; the width in the table is measured, by bootstrap over patients, and differs from the "
        "formula's, most where positives are few."
    )
    if low:
        note += f" Left out, since the formula is for an AUROC above 0.5: {listed(low, 40)}."
    return Table("Sample size for AUROC", columns, rows, note)


def _reads(point: Point) -> str:
    found = reads(point.worth.ppv)
    return "–" if found is None else f"{found['value']:.1f} ({found['ci'][0]:.1f}–{found['ci'][1]:.1f})"
