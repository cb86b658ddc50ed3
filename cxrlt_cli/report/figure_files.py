"""Charts as SVG files of their own: with a style in them, on white, for a paper."""

import re
from collections.abc import Sequence

import numpy as np

from cxrlt_cli.report import charts
from cxrlt_cli.report.paper_study import Study
from cxrlt_cli.report.texts import escape

EACH, TITLE, ACROSS = 160, 18, 4  # pixels of a small chart and of its title; charts in a row
COLUMNS = 658  # pixels, of which an inch has 96: 174 mm, two columns of a journal
STYLE = """
svg { background: #fff; font-family: Helvetica, Arial, sans-serif; }
text { fill: #444; } .tick, .axis { font-size: 9px; } .label { fill: #111; font-size: 11px; }
.bold { font-weight: 600; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: #ddd; } .cut { stroke: #777; stroke-dasharray: 2 4; } .tick-mark { stroke: #555; stroke-width: 1.5; }
.chance { stroke: #777; stroke-dasharray: 3 3; fill: none; } .curve { stroke: #2a6f97; stroke-width: 1.6; fill: none; }
.dot { fill: #2a6f97; fill-opacity: .85; } .heat { fill: #2a6f97; } .bar { stroke-width: 1.5; stroke-opacity: .5; }
.dot.head { fill: #2f855a; } .dot.medium { fill: #b7791f; } .dot.tail { fill: #c0392b; }
.bar.head { stroke: #2f855a; } .bar.medium { stroke: #b7791f; } .bar.tail { stroke: #c0392b; }
.leader { stroke: #999; stroke-width: .7; }
.frame { fill: #fff; stroke: #444; } .arrow { stroke: #444; } .arrowhead { fill: #444; }
"""
CAPTIONS = {
    "flow": "Flow of films and patients: in the label file, excluded, in each part of the split, and evaluated.",
    "long-tail": "Average precision (AP) of each finding against its frequency, on a logarithmic axis. Bars: 95 % "
    "confidence intervals by bootstrap over patients, where there are any. Ticks: chance level, the prevalence in the "
    "films evaluated. Dotted lines: frequencies of 1 % and 10 %, between tail, medium and head.",
    "together": "Findings that occur together: share of the films with the finding of the row that also have the "
    "finding of the column; white: 0 %, darkest: 100 %. The diagonal is left white.",
    "precision-recall": "Precision-recall curve of each finding. Dashed: prevalence.",
    "roc": "ROC curve of each finding. Dashed: chance.",
    "reliability": "Observed against predicted frequency of each finding. Dashed: perfect calibration. Area of a dot: "
    "share of the films. Axes end where the data do, at the number beside them.",
}
_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_MARK = re.compile(r"(?=<(?:rect|text|line|circle|polyline|polygon|svg)\b)")


def standalone(svg: str) -> str:
    """A chart of a page as a file: its size, its style, and a line for each mark."""
    box = _BOX.search(svg)
    assert box is not None, "every chart says how large it is"
    sized = svg.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{box[1]}" height="{box[2]}"', 1)
    begin = sized.index(">") + 1
    marks = _MARK.sub("\n", sized[begin:])
    return f"{sized[:begin]}<style>{STYLE}</style>{marks}\n"


def figures(study: Study) -> dict[str, str]:
    """The long tail, what occurs together, and the curves of all findings, by the name of their file."""
    drawn = {
        "long-tail": charts.long_tail(study.scores.findings, COLUMNS),
        "together": charts.co_occurrence(study.predictions.findings, study.truth.targets),
    }
    for name, draw in (
        ("precision-recall", charts.precision_recall),
        ("roc", charts.receiver_operating),
        ("reliability", charts.reliability),
    ):
        small = []
        for place, finding in enumerate(study.predictions.findings):
            labelled = ~np.isnan(study.truth.targets[:, place])
            truth = study.truth.targets[labelled, place]
            if 0 < truth.sum() < len(truth):
                small.append((finding, draw(finding, truth, study.predictions.probabilities[labelled, place])))
        drawn[name] = _grid(small)
    return {name: standalone(svg) for name, svg in drawn.items() if svg}


def _grid(small: Sequence[tuple[str, str]]) -> str:
    if not small:
        return ""
    marks = []
    for number, (finding, svg) in enumerate(small):
        row, column = divmod(number, ACROSS)
        x, y = column * (EACH + 10), row * (EACH + TITLE + 10)
        marks.append(f'<text class="label bold" x="{x + 22}" y="{y + 13}">{escape(finding)}</text>')
        size = f'<svg x="{x}" y="{y + TITLE}" width="{EACH}" height="{EACH}"'
        marks.append(svg.replace("<svg", size, 1))
    rows = -(-len(small) // ACROSS)
    width, height = min(ACROSS, len(small)) * (EACH + 10), rows * (EACH + TITLE + 10)
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(marks)}</svg>'
