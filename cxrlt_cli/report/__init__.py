"""One page to look at: a single HTML file that needs no network, works by keyboard, on a phone and in print.

What comes from a CSV or a file name, names and ids, is escaped; the page may load nothing and send nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli import __version__
from cxrlt_cli.labels import BANDS
from cxrlt_cli.report import charts
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.texts import escape
from cxrlt_cli.scores.metrics import FindingScore, Scores
from cxrlt_cli.scores.predictions import Predictions

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
BAND_NAMES = {"head": "head (above 10 %)", "medium": "medium", "tail": "tail (below 1 %)"}


@dataclass(frozen=True)
class Mistake:
    """A film on which a finding was missed, or seen where there is none."""

    film: str
    finding: str
    present: bool
    probability: float
    rank: float  # share of the films that have a lower probability for the finding


@dataclass(frozen=True)
class HeatMap:
    """Where the model looked for a finding: a film in its colours as a data URI, and what kind of map it is."""

    film: str
    kind: str  # attention or Grad-CAM
    is_empty: bool = False  # no place speaks for the finding


@dataclass(frozen=True)
class Neighbour:
    """A training film that a film resembles; as a data URI where it is at hand."""

    name: str
    cosine: float
    film: str | None


@dataclass(frozen=True)
class Picture:
    """A mistake with its film as a data URI, and what the model made of it."""

    mistake: Mistake
    film: str
    heat_map: HeatMap | None = None
    neighbours: Sequence[Neighbour] = ()


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
    mistakes: Sequence[Mistake] = (),
    pictures: Sequence[Picture] = (),
    more: Sequence[str] = (),
) -> str:
    """The page of ``scores`` of ``predictions`` against ``targets [N, C]``, as HTML. ``facts``: name and value.

    ``frequencies_of``: which films the frequencies of the findings are of. ``notes``: what was left out or tuned.
    ``tables``: of groups, or of two places. ``more``: further sections, as HTML.
    """
    long_tail, together = charts.long_tail(scores.findings), charts.co_occurrence(predictions.findings, targets)
    sections = [
        section("The long tail at a glance", wide(long_tail), LONG_TAIL.format(frequencies_of)),
        section("Findings", _table(scores), "Click a heading to sort. " + " ".join(map(escape, notes))),
        *(section(escape(table.title), table.html(), escape(table.note)) for table in tables),
        *more,
        section("Curves", _cards(scores, predictions, targets), CURVES),
        section("Findings that occur together", wide(together), TOGETHER),
        section("Worst films", _films(mistakes, pictures), WORST),
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
    "Average precision against how many of the {} have the finding; bars are 95 % intervals, ticks mark chance (the "
    "share of the films that are scored). Dotted lines part head, medium and tail."
)
CURVES = "Precision over recall, ROC, and how often against how sure. Dashed: prevalence, chance, honesty."
TOGETHER = "Of the films with the finding of a row, the share that has that of a column: the darker, the more."
WORST = (
    "Positives that were ranked lowest, and negatives that were ranked highest, at most one of each for a finding. "
    "Some are errors of the model, some of the labels."
)


def worst(predictions: Predictions, targets: NDArray[Any], num_each: int = 6) -> list[Mistake]:
    """The films that were missed most clearly, then the clearest false alarms; at most one of each for a finding."""
    missed: list[Mistake] = []
    alarms: list[Mistake] = []
    for c, name in enumerate(predictions.findings):
        labelled = np.flatnonzero(~np.isnan(targets[:, c]))
        values, truth = predictions.probabilities[labelled, c], targets[labelled, c]
        if not 0 < truth.sum() < len(truth):
            continue
        for present, kept, pick in ((True, missed, np.argmin), (False, alarms, np.argmax)):
            mine = np.flatnonzero((truth == 1) == present)
            index = mine[int(pick(values[mine]))]
            rank = float((values < values[index]).mean())
            film = str(predictions.ids[labelled[index]])
            kept.append(Mistake(film, name, present, float(values[index]), rank))
    missed.sort(key=lambda mistake: mistake.rank)
    alarms.sort(key=lambda mistake: (-mistake.rank, -mistake.probability))
    return missed[:num_each] + alarms[:num_each]


def wide(chart: str) -> str:
    return f'<div class="scroll">{chart}</div>' if chart else ""


def section(title: str, body: str, text: str) -> str:
    if not body:
        return ""
    return f"<section><h2>{title}</h2><p class='note'>{text}</p>{body}</section>"


COLUMNS = ("finding", "freq.", "positives", "AP", "AP 95 %", "AUROC", "AUROC 95 %", "F1", "threshold", "ECE")


def _table(scores: Scores) -> str:
    heads = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in COLUMNS)
    rows = "".join(_table_row(finding) for findings in scores.by_band().values() for finding in findings)
    table = f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _table_row(finding: FindingScore) -> str:
    band = f"<span class='band {finding.band}' title='{BAND_NAMES[finding.band]}'></span>"
    cells = [
        f"<td data-value='{escape(finding.name, quote=True)}'>{band}{escape(finding.name)}</td>",
        f"<td data-value='{finding.frequency}'>{100 * finding.frequency:.2f} %</td>",
        f"<td data-value='{finding.positives}'>{finding.positives:,}</td>",
        _cell(finding.ap),
        _range(finding.ap_ci),
        _cell(finding.auroc),
        _range(finding.auroc_ci),
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
    return f"<td data-value='{bounds[0]}'>{bounds[0]:.3f} to {bounds[1]:.3f}</td>"


def _cards(scores: Scores, predictions: Predictions, targets: NDArray[Any]) -> str:
    cards = []
    for name in BANDS:
        for finding in scores.by_band()[name]:
            column = predictions.findings.index(finding.name)
            labelled = ~np.isnan(targets[:, column])
            y, p = targets[labelled, column], predictions.probabilities[labelled, column]
            if 0 < y.sum() < len(y):
                trio = "".join(
                    draw(finding.name, y, p)
                    for draw in (charts.precision_recall, charts.receiver_operating, charts.reliability)
                )
                band = f"<span class='band {finding.band}'></span>"
                cards.append(
                    f"<div class='card'><h3>{band}{escape(finding.name)}</h3><div class='trio'>{trio}</div></div>"
                )
    return f"<div class='cards'>{''.join(cards)}</div>" if cards else ""


def _films(mistakes: Sequence[Mistake], pictures: Sequence[Picture]) -> str:
    if pictures:
        return f"<div class='films'>{''.join(map(_figure, pictures))}</div>"
    rows = "".join(f"<li>{_told(mistake)}</li>" for mistake in mistakes)
    return f"<ul>{rows}</ul>" if rows else ""


def _figure(picture: Picture) -> str:
    images, text, heat = _image(picture.film, picture.mistake.film), _told(picture.mistake), picture.heat_map
    if heat is not None:
        images += _image(heat.film, heat.kind)
        text += f"<br>Orange: {heat.kind}{'; no place speaks for it' if heat.is_empty else ''}."
    figure = f"<div class='{'pair' if heat else ''}'>{images}</div><figcaption>{text}</figcaption>"
    if picture.neighbours:
        shown = "".join(
            f"<li>{_image(one.film, one.name) if one.film else ''}{one.cosine:.3f} {escape(one.name)}</li>"
            for one in picture.neighbours
        )
        figure += f"<p class='soft'>Nearest training films, by cosine</p><ul class='trio nearest'>{shown}</ul>"
    return f"<figure class='card'>{figure}</figure>"


def _image(source: str, name: str) -> str:
    return f"<img loading='lazy' src='{source}' alt='{escape(name, quote=True)}'>"


def _told(mistake: Mistake) -> str:
    what = "missed" if mistake.present else "false alarm"
    rank = f"{mistake.probability:.3f}, above {100 * mistake.rank:.0f} % of the films"
    return f"<strong>{escape(mistake.finding)}</strong>, {what}: {rank}. {escape(mistake.film)}"
