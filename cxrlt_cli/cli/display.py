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


WIDE = 100  # columns, from which a finding's interval has a place in the table


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
        self._out.print(_score_table(title, scores, wide=self._out.width >= WIDE))
        if scores.ap_ci is not None:
            auroc = f", AUROC {_range(scores.auroc_ci)}" if scores.auroc_ci else ""
            self.result(f"95 % of resampled patients: macro AP {_range(scores.ap_ci)}{auroc}.\n")

    def comparison(self, first: str, second: str, comparison: "Comparison") -> None:
        certainty = ""
        if comparison.ci is not None:
            certainty = f" (95 % of resampled patients: {comparison.ci[0]:+.3f} to {comparison.ci[1]:+.3f}"
            certainty += f"; better in {100 * (comparison.p_better or 0):.0f} % of them)"
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


def _score_table(title: str, scores: "Scores", wide: bool) -> Table:
    films = counted(scores.num_films, scores.unit, PLURALS[scores.unit])
    if scores.num_patients:
        films += f" of {counted(scores.num_patients, 'patient')}"
    table = Table(title=f"{_markup(title)} ({films})", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.title_justify, table.title_style = "left", "bold"
    table.add_column("finding", no_wrap=True, max_width=34)
    for name, width in (("freq.", 6), ("pos.", 5), ("AP", 5), ("AUROC", 5), ("F1", 5), ("ECE", 5)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    shows = wide and scores.ap_ci is not None  # the interval of each finding's AP
    if shows:
        table.add_column("AP 95 %", justify="right", no_wrap=True)
    means = scores.band_means()
    for band, findings in scores.by_band().items():
        scored = sum(finding.ap is not None for finding in findings)
        if findings:
            table.add_row(Text(BAND_TITLES[band], style=f"bold {BAND_STYLES[band]}"))
        for number, finding in enumerate(findings, 1):
            ends = number == len(findings) and not scored
            cells = (*_finding_row(finding), *([_range(finding.ap_ci)] if shows else []))
            table.add_row(*cells, style="dim" if finding.ap is None else "", end_section=ends)
        if scored:
            name = f"mean of {counted(scored, f'{band} finding')}"
            table.add_row(name, "", "", *_numbers(means[band]), style="italic", end_section=True)
    number = sum(finding.ap is not None for finding in scores.findings)
    table.add_row(f"macro mean of {counted(number, 'finding')}", "", "", *_numbers(scores.macro()), style="bold")
    return table


def _finding_row(finding: "FindingScore") -> tuple[str, ...]:
    values = {"ap": finding.ap, "auroc": finding.auroc, "f1": finding.f1, "ece": finding.ece}
    frequency = f"{100 * finding.frequency:.1f} %"
    return "  " + _markup(finding.name), frequency, str(finding.positives), *_numbers(values)


def _range(interval: "Interval | None") -> str:
    return "–" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _numbers(values: Mapping[str, float | None]) -> tuple[str, ...]:
    return tuple(_number(values[name]) for name in ("ap", "auroc", "f1", "ece"))


def _is_number(text: str) -> bool:
    return text in ("–", "") or text.removesuffix(" %").lstrip("+-").replace(".", "", 1).replace(",", "").isdigit()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
