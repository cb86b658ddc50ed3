"""What a person sees: bars, tables and panels in a terminal; one plain line each where there is none.

Results go to stdout; progress, notes and errors go to stderr. Every text goes through ``visible``: much of
it comes from files, and none of that steers a terminal or is read as Rich's markup.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cxrlt_cli.engine.reporter import PLURALS, Advance, EpochSummary, counted, duration
from cxrlt_cli.errors import CxrltError
from cxrlt_cli.labels import Band
from cxrlt_cli.names import visible

if TYPE_CHECKING:
    from cxrlt_cli.scores.bootstrap import Interval
    from cxrlt_cli.scores.metrics import Comparison, FindingScore, Scores

BAND_STYLES: dict[Band, str] = {"head": "green", "medium": "yellow", "tail": "red"}
BAND_TITLES: dict[Band, str] = {"head": "head (above 10 %)", "medium": "medium", "tail": "tail (below 1 %)"}
EPOCH_COLUMNS = (("phase", 8), ("epoch", 8), ("loss", 9), ("lr head", 9), ("lr body", 9), ("val AP", 8), ("AUROC", 7),
                 ("films/s", 8), ("time", 8), ("", 6))  # fmt: skip


COLUMNS = ("freq.", "pos.", "chance", "AP", "AP 95 %", "AUROC", "AUROC 95 %", "F1", "ECE")
WIDE, WIDER = 100, 112  # columns of a terminal


class RichReporter:
    """A Reporter for a terminal, or for a log where the console is none."""

    def __init__(self, out: Console, err: Console, quiet: bool = False) -> None:
        self._out = out
        self._err = err
        self._quiet = quiet
        self._has_header = False

    def remote(self) -> "Callable[[], RichReporter]":
        return partial(_on_own_consoles, self._quiet)

    def note(self, message: str) -> None:
        if not self._quiet:
            self._err.print(_markup(message), style="dim", soft_wrap=not self._err.is_terminal)

    def warn(self, message: str) -> None:
        self._err.print(f"[yellow]Warning:[/] {_markup(message)}", soft_wrap=not self._err.is_terminal)

    def plan(self, title: str, facts: Mapping[str, str]) -> None:
        if self._quiet:
            return
        if not self._err.is_terminal:
            for name, fact in facts.items():
                _print_plain(self._err, f"{name}: {fact}")
            return
        table = Table.grid(padding=(0, 2))
        for name, fact in facts.items():
            table.add_row(Text(visible(name), style="bold"), Text(visible(fact)))
        self._err.print(Panel(table, title=Text(visible(title)), border_style="cyan", box=box.ROUNDED))

    @contextmanager
    def progress(self, description: str, total: int, unit: str = "films") -> Iterator[Advance]:
        if self._quiet or not self._err.is_terminal:
            yield lambda _: None
            return
        columns = (
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Rate(unit),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._err, transient=True, expand=True) as progress:
            task = progress.add_task(_markup(description), total=total)
            yield lambda number: progress.advance(task, number)

    def epoch(self, summary: EpochSummary) -> None:
        if self._quiet:
            return
        if not self._err.is_terminal:
            scores = f"val AP {_number(summary.val_ap)}, AUROC {_number(summary.val_auroc)}"
            best = ", best" if summary.best else ""
            _print_plain(
                self._err,
                f"{summary.phase} {summary.epoch}/{summary.num_epochs}: loss {summary.loss:.4f}, {scores}, "
                f"{summary.films_per_second:.0f} films/s, {duration(summary.seconds)}{best}",
            )
            return
        if not self._has_header:
            self._err.print("".join(name.rjust(width) for name, width in EPOCH_COLUMNS), style="bold", highlight=False)
            self._has_header = True
        cells = (
            summary.phase,
            f"{summary.epoch}/{summary.num_epochs}",
            f"{summary.loss:.4f}",
            f"{summary.lr_head:.1e}",
            f"{summary.lr_backbone:.1e}" if summary.lr_backbone else "frozen",
            _number(summary.val_ap),
            _number(summary.val_auroc),
            f"{summary.films_per_second:.0f}",
            duration(summary.seconds),
            "best" if summary.best else "",
        )
        line = "".join(cell.rjust(width) for cell, (_, width) in zip(cells, EPOCH_COLUMNS, strict=True))
        self._err.print(line, style="bold green" if summary.best else "", highlight=False)

    def scores(self, title: str, scores: "Scores") -> None:
        from cxrlt_cli.report.score_texts import told_chance, told_without_interval

        self._out.print(_score_table(title, scores, self._out.width))
        if scores.ap_ci is None:
            return
        auroc = f", AUROC {_range(scores.auroc_ci)} (chance 0.5)" if scores.auroc_ci else ""
        chance = _number(scores.chance_ap())
        self.result(f"95 % CI (patient bootstrap): macro AP {_range(scores.ap_ci)} (chance {chance}){auroc}.")
        for text in (told_chance(scores, "*"), told_without_interval(scores)):
            if text:
                self.result(text)
        self.result("")

    def comparison(self, first: str, second: str, comparison: "Comparison") -> None:
        from cxrlt_cli.report.score_texts import is_shown

        certainty = ""
        if comparison.ci is not None:
            shown = "" if is_shown(comparison) else "; not significant"
            certainty = f" (95 % CI, patient bootstrap: {comparison.ci[0]:+.3f} to {comparison.ci[1]:+.3f}{shown})"
        self.result(f"{first} against {second}: macro AP {comparison.ap_difference:+.3f}{certainty}.")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(title=_markup(title), box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.title_justify, table.title_style = "left", "bold"
        widths = [max(map(len, (name, *(row[number] for row in rows)))) for number, name in enumerate(columns)]
        fits = sum(widths) + 2 * len(widths) <= self._out.width
        for number, (name, width) in enumerate(zip(columns, widths, strict=True)):
            numeric = bool(rows) and all(_is_number(row[number]) for row in rows)
            whole = fits or numeric or (number == 0 and width <= 64)  # names stay whole; what is said of them may wrap
            table.add_column(_markup(name), justify="right" if numeric else "left", no_wrap=whole, overflow="fold")
        for row in rows:
            table.add_row(*map(_markup, row))
        self._out.print(table)

    def result(self, message: str) -> None:
        _print_plain(self._out, message)


def _on_own_consoles(quiet: bool) -> RichReporter:
    return RichReporter(*consoles(), quiet)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed or 0
        return Text(f"{rate:.{1 if rate < 10 else 0}f} {self._unit}/s")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read the output has gone; that is no failure of the command."""
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.file.fileno())
        os.close(nothing)


def consoles() -> tuple[Console, Console]:
    """For results and for everything else; 100 columns where there is no terminal to ask."""
    return tuple(
        _Console(stderr=stderr, width=None if stream.isatty() else 100, emoji=False)
        for stderr, stream in ((False, sys.stdout), (True, sys.stderr))
    )  # type: ignore[return-value]


def waiting(console: Console, quiet: bool) -> AbstractContextManager[object]:
    """A sign of life in a terminal while PyTorch and others are imported."""
    return console.status("Starting ...") if console.is_terminal and not quiet else nullcontext()


def show_error(console: Console, error: CxrltError) -> None:
    """What is wrong, and the way out."""
    body = Text(visible(error.message))
    if error.hint:
        body.append(f"\n\n{visible(error.hint)}", style="cyan")
    if console.is_terminal:
        console.print(Panel(body, title="Error", title_align="left", border_style="red", box=box.ROUNDED))
    else:
        _print_plain(console, f"Error: {error}")


def _print_plain(console: Console, text: str) -> None:
    """A line as it is, with what steers a terminal written out."""
    console.print(visible(text), markup=False, highlight=False, soft_wrap=True)


def _markup(text: str) -> str:
    """A text for where Rich reads markup."""
    return escape(visible(text))


def _score_table(title: str, scores: "Scores", width: int) -> Table:
    """With intervals, chance stands in it; they themselves from ``WIDE`` columns on, and frequencies from ``WIDER``."""
    films = counted(scores.num_films, scores.unit, PLURALS[scores.unit])
    if scores.num_patients:
        films += f" of {counted(scores.num_patients, 'patient')}"
    table = Table(title=f"{_markup(title)} ({films})", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.title_justify, table.title_style = "left", "bold"
    sure = scores.ap_ci is not None
    ranges = sure and width >= WIDE
    left_out = {"95 %": not ranges, "chance": not sure, "freq.": sure and width < WIDER}
    names = [name for name in COLUMNS if not any(gone and part in name for part, gone in left_out.items())]
    table.add_column("finding", no_wrap=True, max_width=28 if ranges and width < WIDER else 34)
    for name in names:
        table.add_column("95 %" if "95 %" in name else name, justify="right", no_wrap=True, min_width=5)

    def row(name: str, cells: dict[str, str], style: str = "", ends: bool = False, mark: str = " ") -> None:
        cells["AUROC"] += f" {mark}" if sure else ""
        table.add_row(name, *(cells.get(column, "") for column in names), style=style, end_section=ends)

    means = scores.band_means()
    for band, findings in scores.by_band().items():
        scored = sum(finding.ap is not None for finding in findings)
        if findings:
            table.add_row(Text(BAND_TITLES[band], style=f"bold {BAND_STYLES[band]}"))
        for number, finding in enumerate(findings, 1):
            ends = number == len(findings) and not scored
            style, mark = "dim" if finding.ap is None else "", "*" if finding.above_chance else " "
            row(f"  {_markup(finding.name)}", _cells(finding), style, ends, mark)
        if scored:
            name = f"mean of {counted(scored, f'{band} finding')}"
            row(name, _numbers({**means[band], "chance": scores.chance_ap(findings)}), "italic", ends=True)
    number = sum(finding.ap is not None for finding in scores.findings)
    all_of_them = {**scores.macro(), "chance": scores.chance_ap()}
    row(f"macro mean of {counted(number, 'finding')}", _numbers(all_of_them), "bold")
    return table


def _cells(finding: "FindingScore") -> dict[str, str]:
    """By column."""
    from cxrlt_cli.report.score_texts import told_frequency

    values = {"ap": finding.ap, "auroc": finding.auroc, "f1": finding.f1, "ece": finding.ece}
    return {
        "freq.": told_frequency(finding.frequency),
        "pos.": str(finding.positives),
        **_numbers({**values, "chance": finding.prevalence}),
        "AP 95 %": _range(finding.ap_ci),
        "AUROC 95 %": _range(finding.auroc_ci),
    }


def _range(interval: "Interval | None") -> str:
    return "–" if interval is None else f"{interval[0]:.3f}–{interval[1]:.3f}"


def _numbers(values: Mapping[str, float | None]) -> dict[str, str]:
    """By column."""
    columns = {"chance": "chance", "AP": "ap", "AUROC": "auroc", "F1": "f1", "ECE": "ece"}
    return {column: _number(values[name]) for column, name in columns.items()}


def _is_number(text: str) -> bool:
    return text in ("–", "") or text.removesuffix(" %").lstrip("+-").replace(".", "", 1).replace(",", "").isdigit()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
