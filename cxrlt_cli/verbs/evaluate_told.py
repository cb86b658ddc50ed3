"""What ``evaluate`` shows beside its scores: tables, and what was not scored or is too good."""

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import listed
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.score_texts import told_threshold
from cxrlt_cli.scores.metrics import Scores


def show(table: Table, reporter: Reporter) -> None:
    reporter.table(table.title, table.columns, table.rows)
    if table.note:
        reporter.result(f"{table.note}\n")


def tell_what_is_not_scored(scores: Scores, options: EvaluateOptions, reporter: Reporter) -> None:
    if threshold := told_threshold(options.threshold):
        reporter.note(threshold)
    if scores.skipped:
        verb = "count as AP 0" if options.empty == "zero" else "are left out of the means"
        reporter.note(f"Without a positive film: {listed(scores.skipped, 40)}; they {verb}.")
    always = [finding.name for finding in scores.findings if finding.positives and finding.auroc is None]
    if always:
        reporter.note(
            f"Positive on every film: {listed(always, 40)}; AP is 1 whatever the prediction, and there is no AUROC."
        )
