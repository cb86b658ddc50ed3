"""What the engine says while it works, without knowing who listens."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cxrlt_cli.config import Options, changed, flags

if TYPE_CHECKING:
    from cxrlt_cli.scores.metrics import Comparison, Scores
    from cxrlt_cli.tables.corrections import Corrected

Advance = Callable[[int], None]


@dataclass(frozen=True)
class EpochSummary:
    """One epoch: where it stands in its phase, what was learned, how fast."""

    phase: str
    epoch: int  # from 1, in its phase
    num_epochs: int
    loss: float
    lr_head: float
    lr_backbone: float
    weights: str  # of those that were scored, the ones with the best AP: raw, ema or average
    val_ap: float | None
    val_auroc: float | None
    films_per_second: float
    seconds: float
    best: bool
    ema_decay: float = 0.0  # at the last step; 0: no moving average

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Reporter(Protocol):
    """Who listens: a terminal, a log file, a test."""

    def remote(self) -> "Callable[[], Reporter]":
        """What makes such a reporter in another process; picklable."""

    def note(self, message: str) -> None:
        """Something worth knowing."""

    def warn(self, message: str) -> None:
        """Something that the user may not have meant."""

    def plan(self, title: str, facts: Mapping[str, str]) -> None:
        """What is about to be done."""

    def progress(self, description: str, total: int, unit: str = "films") -> AbstractContextManager[Advance]:
        """A bar over ``total`` films, or whatever ``unit`` says; call what it gives with the number that is done."""

    def epoch(self, summary: EpochSummary) -> None:
        """An epoch has ended."""

    def scores(self, title: str, scores: "Scores") -> None:
        """A table of scores: a result."""

    def comparison(self, first: str, second: str, comparison: "Comparison") -> None:
        """How much better the first is than the second: a result."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Text in rows: a result."""

    def result(self, message: str) -> None:
        """One line of result: what was written, and where."""


class Silent:
    """Of the processes that compute the same, all but the first; what reads films for them may speak by ``aloud``."""

    def __init__(self, aloud: "Callable[[], Reporter] | None" = None) -> None:
        self._aloud = aloud

    def remote(self) -> "Callable[[], Reporter]":
        return self._aloud or Silent

    def note(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        pass

    def plan(self, title: str, facts: Mapping[str, str]) -> None:
        pass

    @contextmanager
    def progress(self, description: str, total: int, unit: str = "films") -> Iterator[Advance]:
        yield lambda _: None

    def epoch(self, summary: EpochSummary) -> None:
        pass

    def scores(self, title: str, scores: "Scores") -> None:
        pass

    def comparison(self, first: str, second: str, comparison: "Comparison") -> None:
        pass

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        pass

    def result(self, message: str) -> None:
        pass


class WarningsAlone(Silent):
    """Of one among several runs side by side: its warnings, with its name, and nothing else."""

    def __init__(self, remote: "Callable[[], Reporter]", name: str) -> None:
        super().__init__(remote)
        self._name = name

    def warn(self, message: str) -> None:
        self.remote()().warn(f"{self._name}: {message}")


def tell_exclusions(reporter: Reporter, excluded: Collection[str], films: Iterable[str]) -> None:
    """Say how many films are left out, and warn where an id that was to be left out is not among them."""
    if not excluded:
        return
    found = sum(film in excluded for film in films)
    reporter.note(f"Left out by --exclude: {counted(found, 'film')}.")
    if found < len(excluded):
        missing = len(excluded) - found
        reporter.warn(f"{counted(missing, 'id')} of --exclude {'is' if missing == 1 else 'are'} not among the films.")


def tell_corrections(reporter: Reporter, number: int, made: "Corrected") -> None:
    """Say what so many corrections made of the tables that are read; of none, nothing."""
    if number:
        reporter.note(f"--corrections: {made}.")
    if left := number - made.changed - made.confirmed:
        reporter.note(f"Of --corrections, {counted(left, 'label')} of films or findings that are not read here.")


def tell_needless(reporter: Reporter, options: Options, names: Iterable[str], why: str) -> None:
    """Say which of these options were given, and change nothing here."""
    if given := changed(options) & set(names):
        verb = "changes" if len(given) == 1 else "change"
        reporter.note(f"{flags(options, given)} {verb} nothing here: {why}.")


PLURALS = {"film": "films", "study": "studies"}


def counted(number: int, one: str, many: str = "") -> str:
    """``1 epoch``, ``1,200 films``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def told_of_written(path: Path, replaced: bool, num_films: int, what: str) -> str:
    """``Wrote out.csv: 1,200 films, 30 findings.``"""
    return f"{'Replaced' if replaced else 'Wrote'} {path}: {counted(num_films, 'film')}, {what}."


def size(num_bytes: float) -> str:
    """``12 MB``, ``1.3 GB``."""
    power = next((power for power in (1, 2) if num_bytes < 999.5 * 1000**power), 3)
    value = num_bytes / 1000**power
    return f"{value:.{0 if value >= 9.95 else 1}f} {('kB', 'MB', 'GB')[power - 1]}"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
