"""Labels that are probably wrong: a CSV of them, and a page to look at their films."""

import csv as csv_module
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.data.levels import Film
from cxrlt_cli.data.thumbnails import data_uri, heat_uri, shrunk
from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.engine.film_looks import Seen, readable
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.files import real, require_file, write_text
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.report.suspects_page import Shown, suspects_page
from cxrlt_cli.scores.bootstrap import Interval
from cxrlt_cli.scores.judged import Judged
from cxrlt_cli.scores.suspects import Suspicion, suspicion
from cxrlt_cli.tables.corrections import Corrections
from cxrlt_cli.tables.label_table import LabelTable
from cxrlt_cli.tables.outputs import require_table, write_table
from cxrlt_cli.tables.study_columns import known_cells

if TYPE_CHECKING:
    from cxrlt_cli.engine.heat_map_model import HeatMapModel

NUM_RESAMPLES = 200  # at most: each is fitted anew
NUM_SHOWN = 200  # labels on the page
LONGEST = 512  # pixels of the longer side of a film on the page
OUT_OF_FOLD = "oof_predictions.csv"  # as train --folds writes it
COLUMNS = ("finding", "label", "probability", "share_below", "wrong", "rank", "suspect")
NOTE = (
    "Estimates, for predictions of films that the model did not learn from. The estimate is too high for findings that "
    "the model often misses, because a missed sign looks like a wrong label 1, and too low where many labels are wrong."
)


@dataclass(frozen=True)
class _Suspect:
    film: str
    finding: str
    label: int
    probability: float
    share_below: float  # of the labelled films, with a lower one
    wrong: float
    rank: int  # within its finding
    suspect: bool  # among as many as are expected


def page_path(options: EvaluateOptions) -> Path | None:
    """Where the page is to stand, if there is to be one."""
    if options.suspects is None or options.report is None:
        return None
    return options.suspects.with_suffix(".html")


def require_suspects(options: EvaluateOptions, inputs: Sequence[Path | None]) -> None:
    """Raise OptionError where the CSV or the page could not be written, or would replace another file."""
    assert options.suspects is not None, "asked for"
    require_table(options.suspects, "--suspects", inputs)
    page = page_path(options)
    if page is not None:
        require_file(page, "--suspects: its page", inputs)
    others = {
        real(path): flag
        for flag, path in (("--json", options.json_path), ("--report", options.report), ("--errors", options.errors))
        if path
    }
    for path in (options.suspects, page):
        if path is not None and real(path) in others:
            raise OptionError(
                f"{others[real(path)]} and --suspects would both write {path}.", "Give each a file of its own."
            )


def write_suspects(
    judged: Judged,
    corrections: Corrections,
    csv: Path,
    model: "HeatMapModel | None",
    options: EvaluateOptions,
    reporter: Reporter,
) -> dict[str, Any]:
    """Write the CSV, and with ``--report`` the page; what ``--json`` holds of them. A corrected label is no suspect."""
    assert options.suspects is not None, "asked for"
    truth = judged.truth
    targets = truth.targets.astype(np.float64)
    looked_at = corrections.cells()
    for c, finding in enumerate(truth.space.findings):
        targets[[(film, finding) in looked_at for film in truth.ids], c] = np.nan
    number = min(options.bootstrap, NUM_RESAMPLES)
    with reporter.progress("Resampling labels", number, "resamples") as advance:
        found = suspicion(
            targets, judged.predictions.probabilities, truth.patients, number, seed=options.seed, advance=advance
        )
    suspects = sorted(_suspects(judged, targets, found), key=lambda one: -one.wrong)
    table = _table(judged, targets, found, csv)
    reporter.table(table.title, table.columns, table.rows)
    reporter.result(f"{table.note}\n")
    write_table(_text(suspects, csv, options), options.suspects, options.id_column)
    reporter.result(f"Wrote {options.suspects}: {_counted(suspects)}.")
    if model is None and judged.path.name != OUT_OF_FOLD:
        reporter.note(
            f"The estimate assumes that no film of {judged.path} was predicted by a model that was trained on it "
            "(out-of-fold predictions, as of train --folds), which is not checked without --checkpoint RUN."
        )
    page = page_path(options)
    if page is not None:
        _write_page(page, suspects, table, judged, csv, model, options, reporter)
    return {
        "expected": found.total,
        "expected_ci": found.interval,
        "findings": {
            name: {"expected": float(value), "expected_ci": interval}
            for name, value, interval in zip(truth.space.findings, found.expected, found.intervals, strict=True)
        },
    }


def _suspects(judged: Judged, targets: np.ndarray[Any, np.dtype[np.float64]], found: Suspicion) -> Iterator[_Suspect]:
    """Of each finding as many labels as may be wrong, by the upper end of the interval where there is one."""
    truth = judged.truth
    numbers = found.numbers
    for c, finding in enumerate(truth.space.findings):
        values, below = judged.predictions.probabilities[:, c], judged.share_below(c)
        expected, bounds = int(numbers[c]), found.intervals[c]
        most = expected if bounds is None else max(expected, math.ceil(bounds[1]))
        for rank, row in enumerate(found.ranked(c)[:most], 1):
            yield _Suspect(
                str(truth.ids[row]),
                finding,
                int(targets[row, c]),
                float(values[row]),
                float(below[row]),
                float(found.wrong[row, c]),
                rank,
                rank <= expected,
            )


def _counted(suspects: Sequence[_Suspect]) -> str:
    """How many of the rows are suspects, and what the others are."""
    number = sum(one.suspect for one in suspects)
    told = counted(number, "suspect label")
    if rest := len(suspects) - number:
        more = counted(rest, "further row (suspect 0) is", "further rows (suspect 0) are")
        why = "in case the upper limit of the interval is true"
        told += f" (suspect 1), as many as are probably wrong; {more} listed {why}"
    return told


def _text(suspects: Sequence[_Suspect], csv: Path, options: EvaluateOptions) -> str:
    """Rows of the CSV; probabilities as their own CSV has them."""
    text = io.StringIO()
    columns = (options.id_column, options.patient_column, options.study_column, options.view_column)
    names, known = known_cells(csv, {one.film for one in suspects}, columns)
    writer = csv_module.writer(text, lineterminator="\n")
    writer.writerow((options.id_column, *names, *COLUMNS))
    for one in suspects:
        shares = (round(one.share_below, 6), f"{one.wrong:.6g}")
        told = (one.label, one.probability, *shares, one.rank, int(one.suspect))
        writer.writerow((one.film, *known[one.film], one.finding, *told))
    return text.getvalue()


def _table(judged: Judged, targets: np.ndarray[Any, np.dtype[np.float64]], found: Suspicion, csv: Path) -> Table:
    rows = []
    numbers, of_ones = found.numbers, np.nansum(np.where(targets == 1, found.wrong, 0), axis=0)
    ones = np.minimum(np.rint(of_ones).astype(int), numbers)  # so that each row, and each column, adds up
    for c in np.argsort(-found.expected, kind="stable"):
        known = int((~np.isnan(targets[:, c])).sum())
        told = _told(int(numbers[c]), found.intervals[c])
        rows.append((judged.truth.space.findings[c], f"{known:,}", told, f"{ones[c]:,}", f"{numbers[c] - ones[c]:,}"))
    total = _told(int(numbers.sum()), found.interval)
    of_each = (f"{ones.sum():,}", f"{(numbers - ones).sum():,}")
    rows.append(("all", f"{int((~np.isnan(targets)).sum()):,}", total, *of_each))
    columns = ("finding", "labels", "wrong, 95 %" if found.interval else "wrong", "of labels 1", "of labels 0")
    return Table(f"{judged.path} on {csv}: labels that are probably wrong", columns, rows, NOTE)


def _told(value: int, bounds: Interval | None) -> str:
    """In whole labels; an interval is widened to those, so that ``value``, rounded either way, lies in it."""
    return f"{value:,}" + (f" ({math.floor(bounds[0]):,} to {math.ceil(bounds[1]):,})" if bounds else "")


def _write_page(
    page: Path,
    suspects: Sequence[_Suspect],
    table: Table,
    judged: Judged,
    csv: Path,
    model: "HeatMapModel | None",
    options: EvaluateOptions,
    reporter: Reporter,
) -> None:
    chosen = [one for one in suspects if one.suspect]
    if not chosen:
        reporter.note(f"{page} is not written: no label is suspect.")
        return
    films, seen = _films([one.film for one in chosen[:NUM_SHOWN]], csv, judged, model, options, reporter)
    place = {str(film): row for row, film in enumerate(judged.truth.ids)}
    shown = [
        _shown(one, _heat(seen, one), judged.truth, place[one.film]) for one in chosen[:NUM_SHOWN] if one.film in films
    ]
    if not shown:
        reporter.warn(f"{page} is not written: none of its films was found. Pass their folder with --image-dir.")
        return
    uris = {film: data_uri(shrunk(levels, LONGEST)) for film, levels in films.items()}
    facts = [("suspect labels", f"{len(chosen):,}"), ("on this page", f"{len(shown):,}")]
    title = f"Suspect labels: {judged.path.name} on {csv.name}"
    grids = dict.fromkeys(one.grid for one in seen.values())
    note = "" if model is None else " ".join(filter(None, (judged.warning, *grids, model.told(judged.truth))))
    write_text(page, suspects_page(title, facts, shown, uris, table, options.id_column, note))
    rest = "" if len(shown) == len(chosen) else f", the first {len(shown)} of {len(chosen):,}"
    reporter.result(f"Wrote {page}{rest}: look at the films in a browser, and save --corrections.")


def _films(
    names: Sequence[str],
    csv: Path,
    judged: Judged,
    model: "HeatMapModel | None",
    options: EvaluateOptions,
    reporter: Reporter,
) -> tuple[Mapping[str, Film], Mapping[str, Seen]]:
    """The films that can be read, as they are looked at, and what the model made of them."""
    names = list(dict.fromkeys(names))
    try:
        where = finder(csv, options.image_dir, list(map(str, judged.truth.ids)), "follow", reporter.progress)
        found = where.find(lambda: [names])
    except DataError:
        return {}, {}
    for fault in found.faults():
        reporter.warn(f"Not among the suspects' films: {fault}.")
    films = readable(names, found, reporter)
    if model is None:
        return films, {}
    seen = model.seen(films, reporter)
    if model.preprocessing.fit == "pad":  # so that maps lie where the model looked
        height, width = model.preprocessing.shape
        factor = LONGEST / max(height, width)
        larger = replace(model.preprocessing, image_size=(round(factor * height), round(factor * width)))
        films = {name: larger(film) for name, film in films.items()}
    return films, seen


def _shown(one: _Suspect, heat: str | None, truth: LabelTable, row: int) -> Shown:
    labels = truth.targets[row]
    others = {
        name: label for name, label in zip(truth.space.findings, labels.tolist(), strict=True) if name != one.finding
    }
    is_normal = one.finding == truth.space.normal
    return Shown(one.film, one.finding, one.label, one.probability, one.share_below, heat, is_normal, others)


def _heat(seen: Mapping[str, Seen], one: _Suspect) -> str | None:
    maps = seen[one.film].maps if one.film in seen else {}
    if one.finding not in maps:
        return None
    return heat_uri(maps[one.finding]) if maps[one.finding].any() else ""
