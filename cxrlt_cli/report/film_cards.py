"""The films of a page on which a finding was missed, or seen where there is none, with a box that searches them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.report.score_texts import told_share_below
from cxrlt_cli.report.texts import escape
from cxrlt_cli.scores.predictions import Predictions

NUM_EACH = 5  # misses of a finding that are shown, and as many false alarms


@dataclass(frozen=True)
class Mistake:
    """A film on which a finding was missed, or seen where there is none."""

    film: str
    finding: str
    present: bool
    probability: float
    rank: float  # share of the films that have a lower probability for the finding
    whose: str = ""  # patient, study and view, where they are known


@dataclass(frozen=True)
class HeatMap:
    """Where the model looked for a finding: a film in its colours as a data URI, and what kind of map it is."""

    film: str
    kind: str  # attention or Grad-CAM
    is_empty: bool = False  # no place speaks for the finding
    grid: str = ""  # a sentence on its cells


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

    @property
    def num_bytes(self) -> int:
        """Of what it adds to a page."""
        heat_map = 0 if self.heat_map is None else len(self.heat_map.film)
        return len(self.film) + heat_map + sum(len(one.film or "") for one in self.neighbours)


def worst(predictions: Predictions, targets: NDArray[Any], num_each: int = NUM_EACH) -> list[Mistake]:
    """Of each finding the positives that are ranked lowest, then the negatives that are ranked highest.

    ``targets [N, C]``: 1, 0, NaN. A positive that every negative is ranked below is no miss, and a negative that every
    positive is ranked above is no false alarm.
    """
    found = []
    for c, name in enumerate(predictions.findings):
        labelled = np.flatnonzero(~np.isnan(targets[:, c]))
        values, truth = predictions.probabilities[labelled, c], targets[labelled, c] == 1
        if not 0 < truth.sum() < len(truth):
            continue
        missed = np.flatnonzero(truth & (values <= values[~truth].max()))
        alarms = np.flatnonzero(~truth & (values >= values[truth].min()))
        missed = missed[np.argsort(values[missed], kind="stable")]
        alarms = alarms[np.argsort(-values[alarms], kind="stable")]
        for place in (*missed[:num_each], *alarms[:num_each]):
            film, rank = str(predictions.ids[labelled[place]]), float((values < values[place]).mean())
            found.append(Mistake(film, name, bool(truth[place]), float(values[place]), rank))
    return found


def film_cards(mistakes: Sequence[Mistake], pictures: Sequence[Picture] = ()) -> str:
    """A card for each mistake, by finding, with its picture where there is one; "" without any."""
    shown = {(one.mistake.film, one.mistake.finding, one.mistake.present): one for one in pictures}
    mistakes = mistakes or [one.mistake for one in pictures]
    groups = []
    for name, mine in groupby(mistakes, lambda one: one.finding):
        cards = "".join(_figure(one, shown.get((one.film, one.finding, one.present))) for one in mine)
        groups.append(f"<section class='group'><h3>{escape(name)}</h3><div class='films'>{cards}</div></section>")
    return f"{SEARCH}<div class='searched'>{''.join(groups)}</div>" if groups else ""


SEARCH = (
    "<p class='search' hidden><label>Search <input type='search' placeholder='film, finding, study, view'></label> "
    "<output></output></p>"
)


NO_HEAT = "Nothing on this film speaks for the finding, so there is no heat map."


def told_grids(pictures: Sequence[Picture]) -> str:
    """How coarse the heat maps are; "" without any."""
    return " ".join(dict.fromkeys(one.heat_map.grid for one in pictures if one.heat_map and one.heat_map.grid))


def _figure(mistake: Mistake, picture: Picture | None) -> str:
    what = "missed" if mistake.present else "false alarm"
    words = f"{mistake.film} {mistake.finding} {what} {mistake.whose}".lower()
    figure = f"<figcaption>{_told(mistake)}</figcaption>" if picture is None else _pictured(picture)
    return f"<figure class='card' data-words='{escape(words, quote=True)}'>{figure}</figure>"


def _pictured(picture: Picture) -> str:
    images, text, heat = _image(picture.film, picture.mistake.film), _told(picture.mistake), picture.heat_map
    if heat is not None and not heat.is_empty:
        images += _image(heat.film, heat.kind)
    if heat is not None:
        text += f"<br>{NO_HEAT}" if heat.is_empty else f"<br>Orange: {heat.kind}."
    figure = f"<div class='{'pair' if heat else ''}'>{images}</div><figcaption>{text}</figcaption>"
    if picture.neighbours:
        shown = "".join(
            f"<li>{_image(one.film, one.name) if one.film else ''}{one.cosine:.3f} {escape(one.name)}</li>"
            for one in picture.neighbours
        )
        title = "<p class='soft'>Most similar training films, by cosine similarity</p>"
        figure += f"{title}<ul class='trio nearest'>{shown}</ul>"
    return figure


def _image(source: str, name: str) -> str:
    return f"<img loading='lazy' src='{source}' alt='{escape(name, quote=True)}'>"


def _told(mistake: Mistake) -> str:
    what = "missed" if mistake.present else "false alarm"
    rank = f"{mistake.probability:.3f}, above that of {told_share_below(mistake.rank)} of the films labelled for it"
    whose = f"<br>{escape(mistake.whose)}" if mistake.whose else ""
    return f"<strong>{escape(mistake.finding)}</strong>, {what}: {rank}. {escape(mistake.film)}{whose}"
