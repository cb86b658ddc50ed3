"""Films that stand in two parts of a split under other names: found by reading all of them, for ``report --copies``."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from cxrlt_cli.data.film_checks import Look, look_at, near_pairs
from cxrlt_cli.data.image import report_faults
from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import DataError, FilmError, listed
from cxrlt_cli.machine import num_cores
from cxrlt_cli.report.paper_study import place_of_part
from cxrlt_cli.tables.label_table import LabelTable

MAX_PIXELS = 100_000_000  # of a film, where the run does not say


def copies(
    csvs: Sequence[Path],
    tables: Sequence[LabelTable],
    parts: Mapping[str, str],
    options: Mapping[str, Any],
    reporter: Reporter,
) -> dict[str, Any] | None:
    """How many films of each two parts are identical, and how many pairs nearly alike; None of a single part.

    ``parts``: that of each film. ``options``: of the run, which say where its films are. Films of one level are left
    aside. Raises DataError where films are missing or damaged.
    """
    names = sorted(set(parts.values()), key=place_of_part)
    if len(names) < 2:
        reporter.note(f"--copies: the films of {listed(csvs)} are of one part, so none are compared.")
        return None
    looks: list[tuple[str, Look]] = []
    for csv, table in zip(csvs, tables, strict=True):
        looks += [(parts[film], look) for film, look in _looks(csv, table, options, reporter)]
    content = {name: {look.content for part, look in looks if part == name} for name in names}
    pairs = {
        f"{one} {other}": {"identical": len(content[one] & content[other]), "alike": 0}
        for one, other in combinations(names, 2)
    }
    for first, second in near_pairs(np.stack([look.fingerprint for _, look in looks])):
        (one, mine), (other, theirs) = sorted((looks[first], looks[second]), key=lambda pair: names.index(pair[0]))
        if one != other and mine.content != theirs.content:
            pairs[f"{one} {other}"]["alike"] += 1
    return {"num_films": len(looks), "pairs": pairs}


def _looks(csv: Path, table: LabelTable, options: Mapping[str, Any], reporter: Reporter) -> list[tuple[str, Look]]:
    films = [str(film) for film in table.ids]
    images = options.get("image_dir")
    where = finder(csv, Path(images) if images else None, films, "follow", reporter.progress)
    found = where.find(partial(list, [films]))
    if found.lost:
        raise DataError(f"--copies: films of {csv} are not there: {listed(sorted(found.lost))}.", "Leave it out.")
    paths = [found.naming.path(film) for film in films]
    most = int(options.get("max_pixels") or MAX_PIXELS)
    with reporter.progress("Looking at films", len(films)) as advance:
        seen = look_at(paths, max_pixels=most, num_threads=num_cores(), advance=advance)
    if damaged := [look for look in seen if isinstance(look, FilmError)]:
        raise DataError(report_faults(damaged, len(films)).message, "Mend them, or leave --copies out.")
    return [
        (film, look) for film, look in zip(films, seen, strict=True) if isinstance(look, Look) and not look.constant
    ]
