import json
import re
import shutil
import subprocess
from html import unescape
from math import nan
from pathlib import Path

import pytest

from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.suspects_page import Shown, suspects_page

EVIL = "</script><script>alert('x')</script>\" & Co"
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
SHOWN = [
    Shown("a.png", "Mass", 1, 0.01, 0.025, DOT),
    Shown('b, "2".png', "Mass", 0, 0.9, 0.99),
    Shown("a.png", EVIL, 0, 0.8, 0.9),
    Shown("c.png", "No Finding", 0, 0.7, 0.9, "", is_normal=True, others={"Mass": 1.0, "Hernia": nan, "Edema": 0.0}),
]


def made() -> str:
    films = {film: f"{DOT}{number}" for number, film in enumerate(dict.fromkeys(one.film for one in SHOWN))}
    table = Table("Labels that are probably wrong", ("finding",), [(EVIL,)], "a note")
    return suspects_page(EVIL, [("suspect labels", "4")], SHOWN, films, table, "ImageID")


def test_each_film_stands_in_the_page_once_and_nothing_runs_out_of_a_name() -> None:
    html = made()
    assert "alert('x')</script>" not in html
    assert html.count(f'"{DOT}0"') == 1
    data = re.search(r"<script type='application/json' id='data'>(.*?)</script>", html)
    assert data is not None
    content = json.loads(data.group(1))
    assert content["rows"][2] == ["a.png", EVIL, 0, 0.8, 0.9, 0, None]
    assert len(content["films"]) == 3
    assert not re.findall(r"https?://|@import|url\(", html)


def test_answers_are_kept_for_these_labels_alone() -> None:
    def key(html: str) -> str:
        found = re.search(r'"key": "(.*?)"', html)
        assert found is not None
        return found.group(1)

    assert key(made()) == key(made())
    other = suspects_page("x", [], SHOWN[:2], {"a.png": DOT, 'b, "2".png': DOT}, Table("", (), []), "ImageID")
    assert key(other) != key(made())


PROBE = """<script>
(async () => {
  let blob, name;
  URL.createObjectURL = (given) => { blob = given; return "blob:x"; };
  HTMLAnchorElement.prototype.click = function () { name = this.download; };
  const press = (key, more) => document.dispatchEvent(new KeyboardEvent("keydown", { key, ...more }));
  const text = (id) => document.getElementById(id).textContent;
  const nowhere = () => !document.getElementById("nowhere").hidden;
  const heat = () => !document.getElementById("heat").hidden;
  const seen = [text("question"), text("said"), text("others"), heat(), nowhere()];
  press("h"); seen.push(heat()); press("h");
  press("n"); press("y"); press("y", { ctrlKey: true }); press("u");
  seen.push(text("question"), text("said"), text("others"), nowhere(), text("progress"));
  press("ArrowLeft"); press("ArrowLeft");
  seen.push(text("name"), document.querySelector("[aria-pressed=true]").dataset.answer);
  press("n"); press("y");
  document.getElementById("save").click();
  const key = JSON.parse(text("data")).key;
  document.title = JSON.stringify({ seen, name, csv: await blob.text(), kept: localStorage.getItem(key),
    progress: text("progress"), wide: document.documentElement.scrollWidth });
})();
</script></body>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_browser_takes_answers_by_keyboard_and_saves_them(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(made().replace("</body>", PROBE))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=3000", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=400,800",
         (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout, re.DOTALL)
    assert title is not None
    state = json.loads(unescape(title.group(1)))
    assert state["seen"] == [
        "Mass: is it there?",
        "Labelled present. The model's probability is 0.010, above that of 2.5 % of the films labelled for it.",
        "",
        False,
        False,
        True,
        "Is this film normal?",
        "Labelled not normal. The model's probability is 0.700, above that of 90.0 % of the films labelled for it.",
        "Other labels of this film. Present: Mass. Not labelled: Hernia. Absent: 1.",
        True,
        "4 of 4; 3 answered, 2 unlike their label.",
        'b, "2".png',
        "1",
    ]
    assert state["name"] == "corrections.csv"
    quoted = EVIL.replace('"', '""')
    assert state["csv"] == f'ImageID,finding,label\na.png,Mass,0\n"b, ""2"".png",Mass,0\na.png,"{quoted}",1\n'
    assert json.loads(state["kept"]) == {"0": "0", "1": "0", "2": "1"}
    assert state["progress"] == "4 of 4; 3 answered, 2 unlike their label."
    assert state["wide"] <= 500
