"""The page of labels that are probably wrong: one film at a time, answered by keyboard, saved as a CSV."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from math import isnan

from cxrlt_cli.names import visible
from cxrlt_cli.report import document, section
from cxrlt_cli.report.film_cards import NO_HEAT
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.texts import escape

HOW = (
    "Most suspect first. Keys: y, yes; n, no; u, unsure; arrows go back and forth; h shows where the model looked. "
    "Save makes a CSV of the answers for --corrections: 1, 0, or empty where you are unsure."
)


@dataclass(frozen=True)
class Shown:
    """A label to look at again. ``heat``: where the model looked, laid over the film; empty: nowhere; None: unknown."""

    film: str
    finding: str
    label: int
    probability: float
    share_below: float  # of the films labelled for the finding, with a lower one
    heat: str | None = None
    is_normal: bool = False  # the finding says that there is none
    others: Mapping[str, float] = field(default_factory=dict)  # labels of the film by finding: 1, 0, NaN

    @property
    def question(self) -> str:
        return "Is this film normal?" if self.is_normal else f"{self.finding}: is it there?"

    @property
    def labelled(self) -> str:
        words = ("not normal", "normal") if self.is_normal else ("absent", "present")
        return f"Labelled {words[self.label]}."

    @property
    def other_labels(self) -> str:
        """Those that are present or missing by name, the others by their number."""
        if not self.others:
            return ""
        present = [name for name, label in self.others.items() if label == 1]
        missing = [name for name, label in self.others.items() if isnan(label)]
        told = [f"Other labels of this film. Present: {', '.join(present) or 'none'}."]
        if missing:
            told.append(f"Not labelled: {', '.join(missing)}.")
        return " ".join([*told, f"Absent: {len(self.others) - len(present) - len(missing)}."])


def suspects_page(
    title: str,
    facts: Sequence[tuple[str, str]],
    shown: Sequence[Shown],
    films: Mapping[str, str],
    table: Table,
    id_column: str,
    note: str = "",
) -> str:
    """The page as HTML. ``films``: a data URI of each film that is shown; ``facts``: name and value; ``note``: more on
    the heat maps.
    """
    resources = files(__name__.rpartition(".")[0])
    style = (resources / "suspects.css").read_text(encoding="utf-8")
    script = (resources / "suspects.js").read_text(encoding="utf-8")
    places = {film: place for place, film in enumerate(films)}
    rows = [
        [one.film, one.finding, one.label, one.probability, one.share_below, places[one.film], one.heat]
        for one in shown
    ]
    key = hashlib.sha256(json.dumps([row[:3] for row in rows]).encode()).hexdigest()[:16]
    content = {
        "key": f"cxrlt-suspects-{key}",
        "idColumn": id_column,
        "films": list(films.values()),
        "rows": rows,
        "shown": [
            [visible(text) for text in (one.film, one.question, one.labelled, one.other_labels)] for one in shown
        ],
    }
    data = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
    body = f"<style>{style}</style>{FRAME}<script type='application/json' id='data'>{data}</script>"
    body += f"<script>{script}</script>"
    sections = [
        section("Review", body, f"{HOW} {escape(note)}".rstrip()),
        section(escape(table.title), table.html(), escape(table.note)),
    ]
    return document(title, facts, sections)


FRAME = f"""
<div class='look'>
<div class='film'><img id='film' alt='film'><img id='heat' alt='where the model looked' hidden></div>
<div>
<h3 id='question'></h3>
<p id='said'></p>
<p id='others'></p>
<p class='soft' id='name'></p>
<p class='soft' id='nowhere' hidden>{NO_HEAT}</p>
<p class='answers'><button type='button' data-answer='1'><u>y</u>es</button>
<button type='button' data-answer='0'><u>n</u>o</button>
<button type='button' data-answer=''><u>u</u>nsure</button></p>
<p class='answers'><button type='button' id='back' aria-label='back'>&larr;</button>
<button type='button' id='next' aria-label='next'>&rarr;</button>
<button type='button' id='look'><u>h</u>eat map</button></p>
<p id='progress' role='status'></p>
<p class='answers'><button type='button' id='save'>Save corrections.csv</button></p>
<p class='soft' id='kept'></p>
</div>
</div>
"""
