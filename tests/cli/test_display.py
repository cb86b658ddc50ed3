import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cxrlt_cli.cli.display import RichReporter, consoles, show_error
from cxrlt_cli.engine.reporter import EpochSummary
from cxrlt_cli.errors import DataError
from cxrlt_cli.labels import CXR_LT_2026
from cxrlt_cli.scores.bootstrap import resample
from cxrlt_cli.scores.metrics import Comparison, Scores, score

SUMMARY = EpochSummary("all", 3, 60, 0.0712, 1.5e-4, 1.5e-5, "ema", 0.4, None, 47.2, 131.0, True)


def reporter(terminal: bool, quiet: bool = False) -> tuple[io.StringIO, io.StringIO, RichReporter]:
    """What goes to stdout, what goes to stderr, and who writes it."""
    out, err = io.StringIO(), io.StringIO()
    return out, err, RichReporter(console(out, terminal), console(err, terminal), quiet)


def console(file: io.StringIO, terminal: bool) -> Console:
    return Console(file=file, force_terminal=terminal, width=100, color_system=None, emoji=False)


def scores() -> Scores:
    rng = np.random.default_rng(0)
    frequencies = np.geomspace(0.4, 0.002, 30)
    targets = (rng.random((500, 30)) < frequencies).astype(float)
    targets[0], targets[:, 29] = 1, 0
    return score(targets, rng.random((500, 30)), CXR_LT_2026, frequencies=frequencies, num_patients=321)


def test_the_table_is_sorted_by_frequency_in_bands_and_fits() -> None:
    out, _, talker = reporter(terminal=True)
    talker.scores("Validation", scores())
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "500 films of 321 patients" in lines[0]
    rows = [line for line in lines if any(f" {name} " in line for name in CXR_LT_2026)]
    assert len(rows) == 30
    assert [line.split()[0] for line in rows][:2] == ["Normal", "aortic"]
    bands = [line.split()[0] for line in lines if line.strip().startswith(("head", "medium", "tail"))]
    assert bands == ["head", "medium", "tail"]
    assert rows[29].count("–") == 3
    assert sum("mean of" in line for line in lines) == 4
    assert "macro mean of 29 findings" in lines[-2] + lines[-1]


def test_numbers_stand_under_each_other_and_words_do_not() -> None:
    out, _, talker = reporter(terminal=True)
    talker.table("x", ["name", "share", "word"], [["a", "9.5 %", "b"], ["", "100.0 %", ""], ["c", "–", "1 of 2"]])
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    shares = [line.index(cell) + len(cell) for line, cell in zip(lines[4:], ("9.5 %", "100.0 %", "–"), strict=False)]
    assert len(set(shares)) == 1
    assert lines[4].index("b", shares[0]) == lines[6].index("1 of 2")


def test_an_epoch_is_a_row_in_a_terminal_and_a_line_elsewhere() -> None:
    _, err, talker = reporter(terminal=True)
    talker.epoch(SUMMARY)
    talker.epoch(SUMMARY)
    header, first, second = err.getvalue().splitlines()
    assert header.split()[:3] == ["phase", "epoch", "loss"]
    assert first == second
    assert len(header) == len(first) <= 100
    assert {"3/60", "0.0712", "1.5e-04", "0.400", "–", "47", "best"} <= set(first.split())
    _, err, talker = reporter(terminal=False)
    talker.epoch(SUMMARY)
    assert err.getvalue() == "all 3/60: loss 0.0712, val AP 0.400, AUROC –, 47 films/s, 2 min, best\n"


def test_quiet_is_quiet_but_for_results_and_warnings() -> None:
    out, err, talker = reporter(terminal=True, quiet=True)
    talker.note("x")
    talker.plan("x", {"a": "b"})
    talker.epoch(SUMMARY)
    with talker.progress("x", 3) as advance:
        advance(3)
    assert err.getvalue() == out.getvalue() == ""
    talker.result("done")
    assert out.getvalue() == "done\n"
    talker.warn("careful")
    assert "careful" in err.getvalue()


def test_names_are_not_markup() -> None:
    out, err, talker = reporter(terminal=True)
    talker.note("[red]x[/red]")
    talker.warn("film [1].png")
    talker.plan("[a]", {"out": "[b]/c"})
    talker.scores("[bold]t", score(np.ones((2, 1)), np.ones((2, 1)), ["[red]Mass"]))
    assert "[red]x[/red]" in err.getvalue()
    assert "film [1].png" in err.getvalue()
    assert "[b]/c" in err.getvalue()
    assert "[red]Mass" in out.getvalue()
    assert "[bold]t" in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_an_error_shows_its_message_and_its_hint(terminal: bool) -> None:
    err = io.StringIO()
    show_error(console(err, terminal), DataError("labels.csv has no column 'x'.", "Pass --id-column."))
    assert "labels.csv has no column 'x'." in err.getvalue()
    assert "Pass --id-column." in err.getvalue()
    assert ("╭" in err.getvalue()) == terminal


HOSTILE = "a\x1b[31mb\x07c\x9b2Jd\u202ee\ud800f\rg\x00h:bomb:[red]i[/red]"
SHOWN = r"a\x1b[31mb\x07c\x9b2Jd\u202ee\ud800f\rg\x00h:bomb:[red]i[/red]"


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_that_comes_from_a_file_steers_the_terminal(terminal: bool) -> None:
    """Whatever a reporter or an error is told, it is shown, with what would steer written out."""
    scored = replace(scores(), findings=tuple(replace(one, name=HOSTILE[:6]) for one in scores().findings))
    shows: list[Callable[[RichReporter], None]] = [
        lambda talker: talker.note(HOSTILE),
        lambda talker: talker.warn(HOSTILE),
        lambda talker: talker.result(HOSTILE),
        lambda talker: talker.plan(HOSTILE, {"out": "x"}) if terminal else talker.note(HOSTILE),
        lambda talker: talker.plan("x", {HOSTILE: "x"}),
        lambda talker: talker.plan("x", {"x": HOSTILE}),
        lambda talker: talker.table(HOSTILE, ["x"], [["y"]]),
        lambda talker: talker.table("x", [HOSTILE], [["y"]]),
        lambda talker: talker.table("x", ["x"], [[HOSTILE]]),
        lambda talker: talker.comparison(HOSTILE, "x", Comparison(0.1, None, None)),
        lambda talker: talker.scores(HOSTILE, scored),
        lambda talker: show_error(talker._err, DataError(HOSTILE, "x")),
        lambda talker: show_error(talker._err, DataError("x", HOSTILE)),
    ]
    for show in shows:
        out, err, talker = reporter(terminal)
        talker._out.width = talker._err.width = 400
        show(talker)
        seen = out.getvalue() + err.getvalue()
        assert SHOWN in "".join(seen.split()), ascii(seen)
        assert not set(seen) & set(HOSTILE) & set("\x1b\x07\x9b\u202e\ud800\r\x00")
        seen.encode()


def test_a_bar_shows_what_it_is_told_and_no_more() -> None:
    _, err, talker = reporter(terminal=True)
    with talker.progress(HOSTILE[:6], 2) as advance:
        advance(2)
    assert r"a\x1b[31m" in err.getvalue()
    assert "\x1b[31m" not in err.getvalue()


def test_the_terminal_of_a_command_shows_no_pictures_for_words(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = consoles()
    RichReporter(out, err).note("films/:bomb:.png")
    assert capsys.readouterr().err == "films/:bomb:.png\n"


def test_whoever_stops_reading_warnings_takes_no_results_along(tmp_path: Path) -> None:
    code = (
        "from cxrlt_cli.cli.display import RichReporter, consoles\n"
        "reporter = RichReporter(*consoles())\n"
        "for number in range(3): reporter.warn('nobody listens')\n"
        "reporter.result('written')\n"
    )
    reads, writes = os.pipe()
    os.close(reads)
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=writes, check=False)
    os.close(writes)
    assert done.returncode == 0
    assert (tmp_path / "out").read_text() == "written\n"


def test_chance_and_intervals_fit_into_100_columns_and_what_is_not_shown_is_said() -> None:
    judged = scores()
    targets = np.zeros((500, 30))
    for column, finding in enumerate(judged.findings):
        targets[: finding.positives, column] = 1
    probabilities = np.random.default_rng(1).random((500, 30))
    probabilities[:, 0] += targets[:, 0]
    judged = score(targets, probabilities, CXR_LT_2026, num_patients=500)
    (drawn,) = resample(targets, [probabilities], np.arange(500), 30)
    shown = {}
    for width in (80, 100, 120):
        out, _, talker = reporter(terminal=True)
        talker._out.width = width
        talker.scores("Validation", judged.with_intervals(drawn))
        lines = [line.rstrip() for line in out.getvalue().splitlines()]
        table = lines[: next(row for row, line in enumerate(lines) if line.startswith("95 %"))]
        assert max(map(len, table)) <= width
        assert "…" not in "".join(table[:3])
        shown[width] = table[2].split()
    assert shown[80] == ["finding", "pos.", "chance", "AP", "AUROC", "F1", "ECE"]
    assert shown[100] == ["finding", "pos.", "chance", "AP", "95", "%", "AUROC", "95", "%", "F1", "ECE"]
    assert shown[120] == ["finding", "freq.", "pos.", "chance", "AP", "95", "%", "AUROC", "95", "%", "F1", "ECE"]
    (normal,) = [line for line in table if line.startswith("   Normal")]
    assert " * " in normal
    text = " ".join(" ".join(lines).split())
    assert "(chance 0." in text
    assert "Not significant: " in text
    assert "Normal" not in text.split("Not significant: ")[1]
    assert "No confidence interval: fewer than 5 patients have " in text


@pytest.mark.parametrize(("ci", "ends"), [((-0.01, 0.03), "not significant"), ((0.01, 0.03), "+0.030")])
def test_a_comparison_is_no_verdict_where_nothing_is_shown(ci: tuple[float, float], ends: str) -> None:
    out, _, talker = reporter(terminal=True)
    talker.comparison("a", "b", Comparison(0.02, ci, 0.9))
    assert out.getvalue().replace("\n", " ").strip().endswith(f"{ends}).")
