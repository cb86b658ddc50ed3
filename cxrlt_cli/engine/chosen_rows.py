"""Which rows of a CSV a command takes: by its columns, or by the DICOM headers of films where it has no such column."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cxrlt_cli.config import EvaluateOptions, FilmOptions
from cxrlt_cli.config.conditions import columns_of, parse
from cxrlt_cli.data.headers import Header, read_header
from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.machine import in_threads, num_cores
from cxrlt_cli.tables.chosen import Cells, Chosen, Taken, count, holds, require_columns, rows_with_cells
from cxrlt_cli.tables.rows import read_rows

IN_HEADERS = tuple(Header().facts)  # columns


def chosen_rows(
    options: FilmOptions | EvaluateOptions, csv: Path, parts: tuple[str, ...] | None, reporter: Reporter
) -> Chosen:
    """The rows of a CSV that ``parts`` and ``--where`` take; how many the latter takes is told.

    Raises DataError where it takes none, or a column stands neither in the CSV nor in headers.
    """
    chosen = Chosen(parts, options.where, id_column=options.id_column)
    if options.where is None:
        return chosen
    condition = parse(options.where)
    header = next(read_rows(csv))[1]
    lacking = [name for name in columns_of(condition) if name not in header]
    rows = rows_with_cells(csv, replace(chosen, where=None))
    if not lacking:
        _tell(count(condition, rows, csv), str(csv), reporter)
        return chosen
    if not (isinstance(options, FilmOptions) and set(lacking) <= set(IN_HEADERS) and options.id_column in header):
        require_columns(condition, csv, header)
    assert isinstance(options, FilmOptions), "others need the columns"
    wanted = (options.id_column, *(name for name in columns_of(condition) if name not in lacking))
    known = [(row, {name: cells[name] for name in wanted}) for row, cells in rows]
    ids = [cells[options.id_column] for _, cells in known]
    where = finder(csv, options.image_dir, ids, options.links, reporter.progress)
    found = where.find(lambda: [ids])
    here = [(row, cells) for row, cells in known if cells[options.id_column] not in found.lost]  # others are told later
    paths = [found.naming.path(cells[options.id_column]) for _, cells in here]
    facts = _facts_of(paths, options, reporter)
    whole = [(row, {**fact, **cells}) for (row, cells), fact in zip(here, facts, strict=True)]
    source = f"{csv}, with {listed(lacking)} of DICOM headers"
    _tell(count(condition, whole, csv), source, reporter)
    left_out = frozenset(cells[options.id_column] for row, cells in whole if not holds(condition, cells, csv, row))
    return replace(chosen, where=None, without=left_out)


def chosen_films(options: FilmOptions, folder: Path, films: Sequence[str], reporter: Reporter) -> list[str]:
    """The films of a folder, by their paths below it, that ``--where`` takes by their DICOM headers."""
    if options.where is None:
        return list(films)
    condition = parse(options.where)
    if lacking := [name for name in columns_of(condition) if name not in IN_HEADERS]:
        raise DataError(
            f"--where: there is no column {listed(lacking)} without a CSV; DICOM headers say {listed(IN_HEADERS)}.",
            "Pass a CSV that has it with --csv.",
        )
    facts = list(_facts_of([folder / film for film in films], options, reporter))
    _tell(count(condition, enumerate(facts, 1), folder, "films"), f"{folder}, by DICOM headers", reporter)
    takes = [holds(condition, cells, folder, row) for row, cells in enumerate(facts, 1)]
    return [film for film, taken in zip(films, takes, strict=True) if taken]


def _facts_of(paths: Sequence[Path], options: FilmOptions, reporter: Reporter) -> Iterator[Cells]:
    """What the header of each film says; empty cells where it is no DICOM."""
    look = partial(read_header, max_pixels=options.max_pixels)
    with reporter.progress("Reading DICOM headers", len(paths)) as advance:
        for header in in_threads(look, paths, num_cores()):
            advance(1)
            yield (header or Header()).facts


def _tell(taken: Taken, source: str, reporter: Reporter) -> None:
    reporter.note(f"--where takes {taken} of {source}.")
    if taken.never:
        reporter.warn(f"--where names what is not there: {listed(taken.never)}.")
    if taken.alike:
        reporter.warn(f"--where compares letter for letter, and there is {listed(taken.alike)}.")
