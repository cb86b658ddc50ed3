"""One page to look at: a single HTML file that needs no network, works by keyboard, on a phone and in print.

What comes from a CSV or a file name, names and ids, is escaped; the page may load nothing and send nothing.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli import __version__
from cxrlt_cli.labels import BANDS
from cxrlt_cli.report import charts
from cxrlt_cli.report.film_cards import HeatMap, Mistake, Neighbour, Picture, film_cards, told_grids, worst
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.score_texts import told_frequency
from cxrlt_cli.report.texts import escape
from cxrlt_cli.scores.metrics import FindingScore, Scores
from cxrlt_cli.scores.predictions import Predictions

__all__ = ["HeatMap", "Mistake", "Neighbour", "Picture", "document", "page", "section", "wide", "worst"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
BAND_NAMES = {"head": "head (above 10 %)", "medium": "medium", "tail": "tail (below 1 %)"}


def page(
    title: str,
    facts: Sequence[tuple[str, str]],
    scores: Scores,
    predictions: Predictions,
    targets: NDArray[Any],
    *,
    frequencies_of: str = "training films",
    notes: Sequence[str] = (),
    tables: Sequence[Table] = (),
    readings: Sequence[Table] = (),
    mistakes: Sequence[Mistake] = (),
    pictures: Sequence[Picture] = (),
    more: Sequence[str] = (),
) -> str:
    """The page of ``scores`` of ``predictions`` against ``targets [N, C]``, as HTML. ``facts``: name and value.

    ``frequencies_of``: which films the frequencies of the findings are of. ``notes``: what was left out or tuned.
    ``tables``: of groups, or of two places. ``readings``: tables that go with the curves.
    ``more``: further sections, as HTML.
    """
    long_tail, together = charts.long_tail(scores.findings), charts.co_occurrence(predictions.findings, targets)
    sections = [
        section("The long tail at a glance", wide(long_tail), LONG_TAIL.format(frequencies_of)),
        section("Findings", _table(scores), "Click a heading to sort. " + " ".join(map(escape, notes))),
        *(section(escape(table.title), table.html(), escape(table.note)) for table in tables),
        *more,
        section("Curves", _cards(scores, predictions, targets), CURVES),
        *(section(escape(table.title), table.html(), escape(table.note)) for table in readings if table.rows),
        section("Findings that occur together", wide(together), TOGETHER),
        section("Missed and false alarms", film_cards(mistakes, pictures), f"{WORST} {told_grids(pictures)}".rstrip()),
    ]
    return document(title, facts, sections)


def document(title: str, facts: Sequence[tuple[str, str]], sections: Sequence[str]) -> str:
    """A whole page of sections of HTML, with its style and script in it."""
    resources = files(__name__)
    style = (resources / "page.css").read_text(encoding="utf-8")
    script = (resources / "page.js").read_text(encoding="utf-8")
    lines = "".join(f"<li><span class='soft'>{escape(name)}</span><b>{escape(value)}</b></li>" for name, value in facts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="soft">cxrlt {__version__}. Research software, not a medical device.</p>
<ul class="tiles">{lines}</ul>
</header>
<main>{"".join(sections)}</main>
<script>{script}</script>
</body>
</html>
"""


LONG_TAIL = (
    "Average precision against the prevalence in the {}. Bars: 95 % CI (patient bootstrap). Ticks: chance level (the "
    "prevalence in the scored films). Dotted lines separate head, medium and tail."
)
CURVES = (
    "Precision-recall (PR), ROC, reliability (calibration; its axes end where the data do), and standardised net "
    f"benefit (Vickers & Elkin 2006; cut at {charts.WORST:g}; below 0, acting does harm). Dashed: prevalence (PR), "
    "chance (ROC), perfect calibration, and treating every film, or none, as positive."
)
TOGETHER = (
    "Share of the films with the row's finding that also have the column's finding: the stronger the colour, the more. "
    "The diagonal is left empty."
)
WORST = (
    "For each finding, the positive films with the lowest scores and the negative films with the highest. Some are "
    "errors of the model, some of the labels."
)


def wide(chart: str) -> str:
    return f'<div class="scroll">{chart}</div>' if chart else ""


def section(title: str, body: str, text: str) -> str:
    if not body:
        return ""
    return f"<section><h2>{title}</h2><p class='note'>{text}</p>{body}</section>"


COLUMNS = ("finding", "freq.", "positives", "chance", "AP", "AP 95 %", "AUROC", "AUROC 95 %", "above chance", "F1",
           "threshold", "ECE")  # fmt: skip
SHOWN = {True: "significant", False: "not significant", None: "–"}


def _table(scores: Scores) -> str:
    heads = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in COLUMNS)
    rows = "".join(_table_row(finding) for findings in scores.by_band().values() for finding in findings)
    table = f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _table_row(finding: FindingScore) -> str:
    band = f"<span class='band {finding.band}' title='{BAND_NAMES[finding.band]}'></span>"
    cells = [
        f"<td data-value='{escape(finding.name, quote=True)}'>{band}{escape(finding.name)}</td>",
        f"<td data-value='{finding.frequency}'>{told_frequency(finding.frequency)}</td>",
        f"<td data-value='{finding.positives}'>{finding.positives:,}</td>",
        _cell(finding.prevalence),
        _cell(finding.ap),
        _range(finding.ap_ci),
        _cell(finding.auroc),
        _range(finding.auroc_ci),
        f"<td data-value='{'' if finding.p_chance is None else finding.p_chance}'>{SHOWN[finding.above_chance]}</td>",
        _cell(finding.f1),
        _cell(finding.threshold),
        _cell(finding.ece),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(value: float | None) -> str:
    return "<td data-value=''>–</td>" if value is None else f"<td data-value='{value}'>{value:.3f}</td>"


def _range(bounds: tuple[float, float] | None) -> str:
    if bounds is None:
        return "<td data-value=''>–</td>"
    return f"<td data-value='{bounds[0]}'>{bounds[0]:.3f}–{bounds[1]:.3f}</td>"


def _cards(scores: Scores, predictions: Predictions, targets: NDArray[Any]) -> str:
    cards = []
    for name in BANDS:
        for finding in scores.by_band()[name]:
            column = predictions.findings.index(finding.name)
            labelled = ~np.isnan(targets[:, column])
            y, p = targets[labelled, column], predictions.probabilities[labelled, column]
            if 0 < y.sum() < len(y):
                four = "".join(
                    draw(finding.name, y, p)
                    for draw in (
                        charts.precision_recall,
                        charts.receiver_operating,
                        charts.reliability,
                        charts.decision_curve,
                    )
                )
                band = f"<span class='band {finding.band}'></span>"
                cards.append(
                    f"<div class='card'><h3>{band}{escape(finding.name)}</h3><div class='pair'>{four}</div></div>"
                )
    return f"<div class='cards'>{''.join(cards)}</div>" if cards else ""
