"""What the films of two places are like, side by side: patients, views, ages, prevalence, familiarity, the files."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.data.film_checks import COMMON, Look, look_at
from cxrlt_cli.data.image import MAX_PIXELS
from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import DataError
from cxrlt_cli.machine import num_cores
from cxrlt_cli.scores import Doubles
from cxrlt_cli.scores.metrics import prevalence
from cxrlt_cli.scores.predictions import OOD_SCORE
from cxrlt_cli.tables.columns import words_of
from cxrlt_cli.tables.groupings import ACQUISITION, DEMOGRAPHY, FEW, years_of
from cxrlt_cli.tables.label_table import LabelTable, read_csv
from cxrlt_cli.tables.values import MISSING, number_of

LOOKED_AT = 500  # films of each place at most, drawn at random
UNFAMILIAR = 0.95  # ood_score that one in twenty of the films exceeds that the model was fitted with
EMPTY = "(empty)"


@dataclass(frozen=True)
class Fact:
    """A number of each place; None where it is not known there. A share is from 0 to 1."""

    name: str
    value: float | None
    against: float | None
    is_share: bool = False

    def told(self) -> tuple[str, str, str]:
        return self.name, _told(self.value, self.is_share), _told(self.against, self.is_share)


def facts_of_labels(first: LabelTable, second: LabelTable, frames: Sequence[pd.DataFrame]) -> list[Fact]:
    """Of the films that are scored, of how they were taken and whose they are where both CSVs say, and of findings.

    ``frames``: the rows of both CSVs for these films.
    """
    both = (first, second)
    facts = [_fact("films", map(len, both)), _fact("patients", (one.num_patients for one in both))]
    facts.append(_fact("films a patient", (len(one) / one.num_patients for one in both)))
    apart = {*first.space.findings, *second.space.findings}
    for name in frames[0].columns:
        if name in frames[1].columns and name not in apart and words_of(name) & (ACQUISITION | DEMOGRAPHY):
            facts += _of_column(name, [frame[name].tolist() for frame in frames])
    shares = [dict(zip(one.space.findings, prevalence(one.targets), strict=True)) for one in both]
    for name in first.space.findings:
        if name in shares[1]:
            facts.append(_fact(f"prevalence of {name}", (float(one[name]) for one in shares), is_share=True))
    return facts


def _fact(name: str, values: Iterable[float | None], is_share: bool = False) -> Fact:
    value, against = values
    return Fact(name, value, against, is_share)


def _of_column(name: str, columns: Sequence[Sequence[str]]) -> Iterator[Fact]:
    """Quartiles of a column of numbers or ages, shares of one with few values; nothing of another."""
    cells = [[EMPTY if cell.lower() in MISSING else cell for cell in column] for column in columns]
    known = {cell for column in cells for cell in column} - {EMPTY}
    read = years_of if "age" in words_of(name) else number_of
    numbers = {cell: number for cell in known if (number := read(cell)) is not None}
    if len(known) > FEW and len(numbers) == len(known):
        values = [np.array([numbers[cell] for cell in column if cell != EMPTY]) for column in cells]
        yield from _quartiles(name, values)
        if EMPTY in cells[0] + cells[1]:
            yield _fact(f"{name} {EMPTY}", (column.count(EMPTY) / len(column) for column in cells), is_share=True)
    elif len(known) <= FEW:
        counts = [Counter(column) for column in cells]
        for value, _ in (counts[0] + counts[1]).most_common():
            yield _fact(f"{name} {value}", (one[value] / one.total() for one in counts), is_share=True)


def _quartiles(name: str, values: Sequence[Doubles]) -> Iterator[Fact]:
    for share, word in ((0.25, "lower quartile"), (0.5, "median"), (0.75, "upper quartile")):
        yield _fact(f"{name}, {word}", (float(np.quantile(one, share)) if len(one) else None for one in values))


def facts_of_familiarity(paths: Sequence[Path], ids: Sequence[Sequence[str]], id_column: str) -> list[Fact]:
    """``ood_score`` of the films, where both prediction CSVs have it."""
    scores = []
    for path, films in zip(paths, ids, strict=True):
        frame = read_csv(path)
        if OOD_SCORE not in frame.columns:
            return []
        own = dict(zip(frame[id_column], frame[OOD_SCORE], strict=True))
        scores.append(np.array([np.nan if (n := number_of(own[film])) is None else n for film in films]))
    known = [one[~np.isnan(one)] for one in scores]
    if not all(map(len, known)):
        return []
    return [
        _fact(f"{OOD_SCORE}, median", (float(np.median(one)) for one in known)),
        _fact(f"{OOD_SCORE} above {UNFAMILIAR}", (float((one > UNFAMILIAR).mean()) for one in known), is_share=True),
    ]


def facts_of_files(
    csvs: Sequence[Path], tables: Sequence[LabelTable], options: EvaluateOptions, reporter: Reporter
) -> list[Fact]:
    """Bit depth, size and sharpness of the films; none where those of a place are not found, which is said."""
    looks = []
    is_own = bool(set(tables[0].ids) & set(tables[1].ids))  # films of one name: --image-dir has those of --csv
    folders = (options.image_dir, None), (None,) if is_own else (None, options.image_dir)
    for csv, table, places in zip(csvs, tables, folders, strict=True):
        ids = sorted(map(str, table.ids))
        if len(ids) > LOOKED_AT:
            ids = np.random.default_rng(options.seed).choice(np.array(ids, object), LOOKED_AT, replace=False).tolist()
        seen = _looks(ids, csv, places, reporter)
        if not seen:
            reporter.warn(
                f"The films of {csv} are not found in --image-dir {options.image_dir}, nor beside the CSV: how sharp "
                "films are is not compared."
            )
            return []
        looks.append(seen)
    if max(map(len, tables)) > LOOKED_AT:
        reporter.note(f"Sharpness and kinds of files are those of {LOOKED_AT} films of a place, drawn at random.")
    facts = []
    kinds = [Counter(look.kind for look in seen) for seen in looks]
    for kind, _ in (kinds[0] + kinds[1]).most_common():
        facts.append(_fact(f"files of {kind}", (one[kind] / one.total() for one in kinds), is_share=True))
    sides = [[float(min(look.shape)) for look in seen] for seen in looks]
    facts.append(_fact("shorter side in pixels, median", (float(np.median(one)) for one in sides)))
    sharp = [[look.sharpness for look in seen] for seen in looks]
    facts.append(_fact(f"sharpness at {COMMON} px, median", (float(np.median(one)) for one in sharp)))
    return facts


def _looks(ids: Sequence[str], csv: Path, folders: Sequence[Path | None], reporter: Reporter) -> list[Look]:
    """The films of a CSV that can be read, from the first folder that has some; None: beside the CSV."""
    for folder in folders:
        try:
            found = finder(csv, folder, ids, "follow", reporter.progress).find(lambda: [list(ids)])
        except DataError:
            continue
        paths = [found.naming.path(film) for film in ids if film not in found.lost]
        if paths:
            with reporter.progress("Looking at films", len(paths)) as advance:
                looks = look_at(paths, max_pixels=MAX_PIXELS, num_threads=num_cores(), advance=advance)
            seen = [look for look in looks if isinstance(look, Look)]
            if lost := len(ids) - len(seen):
                what = counted(lost, "film is", "films are")
                reporter.warn(f"{what} missing or damaged among those of {csv}: sharpness is of the others.")
            return seen
    return []


def _told(number: float | None, is_share: bool) -> str:
    if number is None:
        return "–"
    if is_share:
        return f"{100 * number:.1f} %"
    return f"{number:,.0f}" if number == int(number) else f"{number:,.3g}"
