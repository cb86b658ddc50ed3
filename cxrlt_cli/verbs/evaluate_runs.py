"""``evaluate A B C``: several models, or runs of several seeds, each against the first."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrlt_cli.config import EvaluateOptions
from cxrlt_cli.engine.reporter import counted
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.report.plain_table import Table
from cxrlt_cli.scores.differences import told_difference, told_p
from cxrlt_cli.scores.judged import Judged
from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.scores.run_comparison import Compared, RunStanding, compare_runs
from cxrlt_cli.tables.label_table import LabelTable

Pair = tuple[Predictions, LabelTable]

TABLES = ("oof_predictions.csv", "val_predictions.csv")  # of a run; the first counts


@dataclass(frozen=True)
class Runs:
    """The prediction files that are compared, and which of them are means over seeds of these files."""

    options: EvaluateOptions  # with files in the place of folders
    seeds: tuple[dict[int, Path], ...]  # of each file; empty where it is of one model

    @property
    def has_seeds(self) -> bool:
        return any(self.seeds)


def with_runs(options: EvaluateOptions) -> Runs:
    """Options that name the predictions of each run that is given as a folder; raises DataError where it has none."""
    paths, seeds = [], []
    for path in options.predictions:
        table = _table_of(path) if path.is_dir() else path
        if table is None:
            raise DataError(
                f"{path} has no {' and no '.join(TABLES)}.", "Name a run that has ended, or a CSV of predictions."
            )
        paths.append(table)
        seeds.append(_seeds_of(path) if path.is_dir() else {})
    if len(paths) > 2 and options.against is not None:
        raise OptionError(
            f"{len(paths)} prediction files were given.", "With --against: one, or two of which the second is of those."
        )
    return Runs(options.model_copy(update={"predictions": tuple(paths)}), tuple(seeds))


def _table_of(folder: Path) -> Path | None:
    return next((folder / name for name in TABLES if (folder / name).is_file()), None)


def _seeds_of(folder: Path) -> dict[int, Path]:
    """The predictions of each seed, where there are two or more."""
    found = {}
    for path in sorted(folder.glob("seed-*")):
        number = re.fullmatch(r"seed-(\d+)", path.name)
        table = _table_of(path)
        if number and table is not None:
            found[int(number[1])] = table
    return found if len(found) > 1 else {}


def of_seeds(aligned: Sequence[Pair], runs: Runs) -> list[Pair]:
    """What each seed of each run predicted for the films of its run; raises DataError where it lacks one."""
    found = []
    for (predictions, truth), seeds in zip(aligned, runs.seeds, strict=False):
        for path in seeds.values():
            read = Predictions.read(path, runs.options.id_column)
            lost = sorted(set(predictions.ids) - set(read.ids))
            if lost or not set(predictions.findings) <= set(read.findings):
                raise DataError(f"{path} lacks {listed(lost or predictions.findings)}, which its run has.",
                                "Name the CSV of the run, to leave its seeds out.")  # fmt: skip
            found.append((read.select(predictions.findings).rows(list(predictions.ids)), truth))
    return found


def seed_paths(runs: Runs) -> list[Path]:
    return [path for seeds in runs.seeds for path in seeds.values()]


def compared_runs(
    judged: Sequence[Judged], of_seeds: Sequence[Judged], runs: Runs, names: Sequence[Path]
) -> tuple[list[dict[str, Any]], Table]:
    """Of the files, and of their seeds in the order of ``of_seeds``: content for ``--json``, and a table.

    ``names``: of the files or folders, as they were typed.
    """
    rest = iter(of_seeds)
    groups: dict[str, Any] = {}
    for name, one, seeds in zip(names, judged, runs.seeds, strict=True):
        mine = {number: next(rest) for number in seeds} if seeds else {None: one}
        key = str(name) if str(name) not in groups else f"{name} ({len(groups) + 1})"
        groups[key] = {number: (each.scores, each.resampled) for number, each in mine.items()}
    standings = compare_runs(groups, runs.options.seed)
    return [standing.to_json() for standing in standings], _table(standings)


def _table(standings: Sequence[RunStanding]) -> Table:
    first = standings[0]
    differences = [one.difference for row in standings for one in (row.ap, row.auroc) if one and one.difference]
    number = sum(one.p is not None for one in differences)
    seeds = any(row.num_seeds > 1 for row in standings)
    drawn = "seeds and patients" if seeds else "patients"
    columns = ("predictions", *(("seeds",) if seeds else ()), "score", "value (95 %)", "difference (95 %)", "p (Holm)")
    rows = [row for standing in standings for row in _rows(standing, standing is first, seeds)]
    parts = [
        f"Differences are from {first.name}, on the same resampled {drawn}",
        *([f"p counts {counted(number, 'comparison')}"] if number else []),
        *(["a score is the mean of the seeds, each alone"] if seeds else []),
    ]
    note = f"{'; '.join(parts)}."
    if any(one.ci and one.p is None for one in differences):
        note += " Two seeds are too few for a p: how much seeds vary would be known from a single difference."
    return Table("Macro scores, compared", columns, rows, note)


def _rows(standing: RunStanding, is_first: bool, seeds: bool) -> Iterator[tuple[str, ...]]:
    for place, (score, one) in enumerate((("AP", standing.ap), ("AUROC", standing.auroc))):
        head = (standing.name, *((str(standing.num_seeds),) if seeds else ()))
        yield (*(head if place == 0 else ("",) * len(head)), score, _value(one), *_apart(one, is_first))


def _value(one: Compared | None) -> str:
    if one is None:
        return "–"
    return f"{one.value:.3f}" + ("" if one.ci is None else f" ({one.ci[0]:.3f}–{one.ci[1]:.3f})")


def _apart(one: Compared | None, is_first: bool) -> tuple[str, str]:
    if is_first:
        return "reference", ""
    if one is None or one.difference is None:
        return "–", "–"
    return told_difference(one.difference), told_p(one.difference)
