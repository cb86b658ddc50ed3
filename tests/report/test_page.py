import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.report import HeatMap, Neighbour, Picture, page, worst
from cxrlt_cli.report.film_cards import NO_HEAT
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.reading_tables import sizes_table
from cxrlt_cli.scores.bootstrap import resample
from cxrlt_cli.scores.metrics import Scores, score
from cxrlt_cli.scores.predictions import Predictions

EVIL = "<script>alert('x')</script>\" onload='y' & Co"
NAMES = ("Normal", EVIL, "never", "rare")
NUM_FILMS = 200
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


def judged() -> tuple[Scores, Predictions, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = (rng.random((NUM_FILMS, 4)) < (0.5, 0.2, 0.0, 0.02)).astype(float)
    targets[:5, 0] = np.nan
    probabilities = np.clip(0.3 * np.nan_to_num(targets) + 0.7 * rng.random(targets.shape), 0, 1)
    ids = np.array([f"{EVIL}{row}.png" for row in range(NUM_FILMS)], object)
    scores = score(targets, probabilities, NAMES, num_patients=100)
    (resampled,) = resample(targets, [probabilities], np.arange(NUM_FILMS) // 2, 40)
    return scores.with_intervals(resampled), Predictions(ids, NAMES, probabilities), targets


def made() -> str:
    scores, predictions, targets = judged()
    mistakes = worst(predictions, targets)
    near = [Neighbour(f"{EVIL}.png", 0.5, DOT), Neighbour(EVIL, 0.25, None)]
    pictures = [Picture(mistake, DOT, HeatMap(DOT, "Grad-CAM"), near) for mistake in mistakes]
    return page(f"{EVIL} on truth", [("films", EVIL)], scores, predictions, targets, pictures=pictures)


class Reader(HTMLParser):
    """Tags with their attributes, and whether every one is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "line", "circle", "rect", "polyline", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle", "rect", "polyline"):
            assert self.open.pop() == tag


def test_names_and_ids_are_escaped() -> None:
    html = made()
    assert "alert('x')</script>" not in html
    assert f"<h1>{escape(EVIL)} on truth</h1>" in html, "the name of a file"
    assert f"<b>{escape(EVIL)}</b>" in html, "a fact"
    assert f"<h3><span class='band medium'></span>{escape(EVIL)}</h3>" in html.replace("band head", "band medium")
    assert re.search(rf"of the films labelled for it\. {re.escape(escape(EVIL))}\d+\.png", html), "an id"
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert sum(tag == "script" for tag, _ in reader.tags) == 1
    assert not [attributes for _, attributes in reader.tags if any(name.startswith("on") for name in attributes)]


def test_nothing_is_loaded_from_anywhere() -> None:
    html = made()
    assert not re.findall(r"https?://|//[a-z]+\.|@import|url\(", html)
    reader = Reader()
    reader.feed(html)
    sources = [str(attributes["src"]) for _, attributes in reader.tags if "src" in attributes]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "default-src 'none'" in html


def test_every_finding_has_its_row_and_what_is_missing_is_no_zero() -> None:
    scores, predictions, targets = judged()
    html = page("x", [], scores, predictions, targets)
    rows = re.findall(r"<tr><td data-value='(.*?)'>", html)
    assert len(rows) == 4
    never = re.search(r"<tr><td data-value='never'>.*?</tr>", html)
    assert never is not None
    assert never.group().count("–") == 7
    assert html.count("<div class='card'>") == 3


def test_heat_maps_say_once_how_coarse_they_are_and_an_empty_one_is_not_shown() -> None:
    scores, predictions, targets = judged()
    mistakes = worst(predictions, targets)[:4]
    heat = [HeatMap(DOT, "Grad-CAM", empty, "A heat map has 3 x 3 cells.") for empty in (False, True, False, False)]
    pictures = [Picture(mistake, DOT, one) for mistake, one in zip(mistakes, heat, strict=True)]
    html = page("x", [], scores, predictions, targets, pictures=pictures)
    assert html.count("A heat map has 3 x 3 cells.") == html.count(NO_HEAT) == 1
    assert html.count("alt='Grad-CAM'") == html.count("Orange: Grad-CAM.") == 3


def test_sample_sizes_are_of_findings_that_are_ranked_better_than_by_chance() -> None:
    """The formula of Hanley & McNeil gives numbers for an AUROC of 0.4, which mean nothing."""
    scores, *_ = judged()
    first, *others = scores.findings
    assert first.name == "Normal"
    worse = replace(scores, findings=(replace(first, auroc=0.4), *others))
    for of, names in ((scores, ["Normal", EVIL]), (worse, [EVIL])):
        table = sizes_table(of)
        assert [row[0] for row in table.rows if row[0] in ("Normal", EVIL)] == names
        assert ("above 0.5: Normal." in table.note) == (of is worse)
        assert "bootstrap over patients" in table.note


def test_tables_notes_and_whose_frequencies_stand_on_the_page() -> None:
    scores, predictions, targets = judged()
    tables = [Table(EVIL, ("group", EVIL), [(EVIL, EVIL)], EVIL)]
    html = page("x", [], scores, predictions, targets, tables=tables, notes=[EVIL], frequencies_of="films at hand")
    assert "against the prevalence in the films at hand" in html
    assert html.count("<table") == 2
    assert "alert('x')</script>" not in html


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_browser_shows_it_without_errors_and_sorts_by_click(tmp_path: Path) -> None:
    probe = """<script>
    const rows = () => [...document.querySelectorAll("tbody tr")].map(row => row.cells[4].dataset.value).join("|");
    const button = document.querySelectorAll("th button")[4];
    const seen = [rows()];
    button.click(); seen.push(rows());
    button.click(); seen.push(rows());
    button.focus();
    function found() {
      const box = document.querySelector("input[type=search]"), seen = [];
      for (const text of ["", "Normal MISSED", "normal nobody"]) {
        box.value = text;
        box.dispatchEvent(new Event("input"));
        const cards = [...document.querySelectorAll("figure")].filter((card) => card.offsetParent !== null);
        seen.push([cards.length, cards.every((card) => card.textContent.includes("Normal, missed")),
          [...document.querySelectorAll(".group")].filter((group) => group.offsetParent !== null).length,
          document.querySelector("output").textContent]);
      }
      return seen;
    }
    document.title = JSON.stringify({seen, sort: button.closest("th").getAttribute("aria-sort"),
      focused: document.activeElement === button, wide: document.documentElement.scrollWidth, found: found()});
    </script></body>"""
    (tmp_path / "page.html").write_text(made().replace("</body>", probe))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run(
        [*command, "--window-size=400,800", (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout, re.DOTALL)
    assert title is not None
    state = json.loads(unescape(title.group(1)))
    down, up = ([float(value) for value in order.split("|") if value] for order in state["seen"][1:])
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert all(order.endswith("|") for order in state["seen"][1:]), "what is missing comes last"
    assert (state["sort"], state["focused"]) == ("ascending", True)
    assert state["wide"] <= 500, "a phone does not scroll sideways"
    every, some, nothing = state["found"]
    number = every[0]
    assert number > 5
    assert every == [number, False, 3, f"{number} films"]
    assert some == [5, True, 1, f"5 of {number}"]
    assert nothing == [0, True, 0, f"0 of {number}"]
