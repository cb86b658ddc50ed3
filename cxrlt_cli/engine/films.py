"""From options to films on the disk: which folder, which files, and whether they are there."""

import hashlib
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import FilmOptions, FitOptions
from cxrlt_cli.data.finder import Finder, Found, Naming
from cxrlt_cli.data.image import find_faults, report_faults
from cxrlt_cli.engine.chosen_rows import chosen_rows
from cxrlt_cli.engine.film_folder import finder
from cxrlt_cli.engine.labelled import labelled_films, labelled_folds
from cxrlt_cli.engine.reporter import Reporter, tell_exclusions
from cxrlt_cli.errors import DataError, FilmError
from cxrlt_cli.machine import num_cores
from cxrlt_cli.phantom.folder import RECIPE
from cxrlt_cli.scores import Floats
from cxrlt_cli.scores.metrics import prevalence
from cxrlt_cli.tables.chosen import Chosen
from cxrlt_cli.tables.label_table import LabelTable, Texts, ids_as_they_are, read_exclusions, stream_ids


@dataclass(frozen=True)
class LabelledFilms:
    """Labelled films on the disk."""

    table: LabelTable
    paths: list[Path]

    def rows(self, keep: NDArray[np.bool_]) -> "LabelledFilms":
        return LabelledFilms(self.table.rows(keep), [self.paths[row] for row in np.flatnonzero(keep)])


@dataclass(frozen=True)
class Division:
    """Which films are learned from, and which are judged by: once, or fold by fold."""

    pairs: tuple[tuple[LabelledFilms, LabelledFilms], ...]  # of training and validation films
    judged: LabelTable  # every film that is a validation film of some pair, in the order of its CSV
    frequencies: Floats  # [C], prevalences among the films that are learned from

    @property
    def learned(self) -> LabelTable:
        """Every film that is learned from by some member."""
        return self.judged if len(self.pairs) > 1 else self.pairs[0][0].table


def require_films(
    found: Found, finder: Finder, options: FilmOptions, csv: Path | None, damaged: Sequence[FilmError] = ()
) -> None:
    """Raise DataError where ids have no film, with what lies there instead; and with those that are ``damaged``."""
    faults = [*found.faults(), *damaged]
    if not faults:
        return
    told = []
    if found.absent:
        first = next(iter(found.absent))
        told += [finder.lies_there(), *filter(None, [finder.nearest(first)])]
        told.append("Is --image-dir right?" if options.image_dir else "Is it another folder? Pass it with --image-dir.")
    if found.unclear:
        told.append("Where several files may be meant, write the id as the path below the folder, with its ending.")
    if "" in found.absent.values() or found.unusable or damaged:
        told.append(way_out(options, csv))
    what = "cannot be read" if damaged else "have no file that can be used"  # none was read so far
    raise DataError(report_faults(faults, found.number, what).message, "\n".join(told))


def way_out(options: FilmOptions, csv: Path | None) -> str:
    """The command that lists films that cannot be read, for ``--exclude``."""
    given = [("--csv", csv), ("--image-dir", options.image_dir)]
    if options.id_column != "ImageID":
        given.append(("--id-column", Path(options.id_column)))
    words = shlex.join(str(word) for flag, value in given if value is not None for word in (flag, value))
    return f"To go on without them: cxrlt data check {words} --fix exclude.csv, then --exclude exclude.csv."


@dataclass(frozen=True)
class FilmList:
    """The films of a CSV, in its order, a stretch at a time: only one stretch is in memory."""

    source: Path  # the CSV that names them
    id_column: str
    chosen: Chosen
    excluded: frozenset[str]
    folder: Path
    number: int
    naming: Naming
    only: frozenset[str] | None = None  # the films of one part, where the work is shared

    @classmethod
    def of(cls, options: FilmOptions, csv: Path, reporter: Reporter) -> "FilmList":
        """Raises DataError where an id is at fault, and with all films that are missing."""
        excluded = frozenset(read_exclusions(options.exclude, options.id_column))
        chosen = chosen_rows(options, csv, options.split, reporter)
        found: set[str] = set()

        def stretches() -> Iterator[list[str]]:
            for ids in stream_ids(csv, options.id_column, chosen=chosen):
                found.update(film for film in ids if film in excluded)
                if kept := [film for film in ids if film not in excluded]:
                    yield kept

        first = next(stretches(), None)
        if first is None:
            tell_exclusions(reporter, excluded, found)
            raise DataError(f"--exclude leaves no film of {csv}.")
        where = finder(csv, options.image_dir, first, options.links, reporter.progress)
        films = where.find(stretches)
        tell_exclusions(reporter, excluded, found)
        require_films(films, where, options, csv)
        return cls(csv, options.id_column, chosen, excluded, where.folder, films.number, films.naming)

    def stretches(self, sizes: Iterable[int], first: int = 0) -> Iterator[Texts]:
        """Their ids from the ``first`` on, as many at a time as ``sizes`` says."""
        known = ids_as_they_are(self.source, self.id_column, self.chosen)
        taken = (film for film in known if film not in self.excluded and (self.only is None or film in self.only))
        ids = islice(taken, first, None)
        for size in sizes:
            stretch = list(islice(ids, size))
            if not stretch:
                return
            yield np.array(stretch, object)

    def part(self, ids: Texts) -> "FilmList":
        """Some of these films, in the order of all."""
        return replace(self, only=frozenset(ids), number=len(ids))

    def paths(self, ids: Texts) -> list[Path]:
        return [self.naming.path(str(film)) for film in ids]

    def path_stretches(self) -> Iterator[list[Path]]:
        """Where they all are."""
        return map(self.paths, self.stretches(repeat(4096)))

    @property
    def are_phantoms(self) -> bool:
        """Whether all of them are files, not links, in a folder that lies beside a phantoms' recipe."""
        folders: dict[Path, bool] = {}
        for path in chain.from_iterable(self.path_stretches()):
            drawn = folders.get(path.parent)
            if drawn is None:
                drawn = folders[path.parent] = (path.parent.resolve().parent / RECIPE).is_file()
            if not drawn or path.is_symlink():
                return False
        return True

    def to_json(self) -> dict[str, object]:
        """What decides which films these are."""
        state = self.source.stat()
        names = [str(self.source.resolve()), self.id_column, str(self.folder.resolve()), *sorted(self.excluded)]
        elsewhere = hashlib.sha256(repr(sorted(self.naming.elsewhere.items())).encode(errors="surrogatepass"))
        part = "" if self.only is None else hashlib.sha256("\0".join(sorted(self.only)).encode()).hexdigest()
        return {
            **({"part": part} if part else {}),
            "csv": [*names, self.naming.prefix, self.naming.ending],
            "elsewhere": elsewhere.hexdigest(),
            **self.chosen.to_json(),
            "size": state.st_size,
            "time": state.st_mtime_ns,
            "number": self.number,
        }


def find_films(options: FitOptions, csv: Path, reporter: Reporter) -> tuple[LabelledFilms, LabelledFilms]:
    """Training and validation films, from one CSV disjoint by patient, or from two."""
    training, validation = labelled_films(options, csv, reporter)
    ids = training.ids if options.val_csv else np.concatenate([training.ids, validation.ids])
    path = _paths(options, csv, np.sort(ids), reporter)
    val_path = path if options.val_csv is None else _paths(options, options.val_csv, validation.ids, reporter)
    return (
        LabelledFilms(training, [path(film) for film in training.ids]),
        LabelledFilms(validation, [val_path(film) for film in validation.ids]),
    )


def divide_films(options: FitOptions, csv: Path, reporter: Reporter) -> Division:
    """Training and validation films, or as many pairs of them as there are ``--folds``."""
    if options.folds is None:
        training, validation = find_films(options, csv, reporter)
        return Division(((training, validation),), validation.table, prevalence(training.table.targets))
    table, fold = labelled_folds(options, csv, reporter)
    path = _paths(options, csv, np.sort(table.ids), reporter)
    films = LabelledFilms(table, [path(film) for film in table.ids])
    pairs = tuple((films.rows(fold != one), films.rows(fold == one)) for one in range(options.folds))
    return Division(pairs, table, prevalence(table.targets))


def _paths(options: FitOptions, csv: Path, ids: Texts, reporter: Reporter) -> Callable[[str], Path]:
    """Where each film of a CSV is. Raises DataError with all that are missing, and with them all that are damaged."""
    films = list(map(str, ids))
    where = finder(csv, options.image_dir, films, options.links, reporter.progress)
    found = where.find(lambda: [films])
    if lost := found.lost:
        whole = [found.naming.path(film) for film in films if film not in lost]
        damaged = find_damaged(whole, options, reporter) if len(lost) < len(films) / 2 else []
        require_films(found, where, options, csv, damaged)
    return found.naming.path


def check_films(training: LabelledFilms, validation: LabelledFilms, options: FitOptions, reporter: Reporter) -> None:
    """Read every film once; raises DataError with all that cannot be read."""
    assert options.csv is not None, "they were found"
    paths = training.paths + validation.paths
    faults = find_damaged(paths, options, reporter)
    if faults:
        known = set(training.paths)
        csvs = {options.csv if fault.path in known else options.val_csv or options.csv for fault in faults}
        ways = "\n".join(way_out(options, csv) for csv in sorted(csvs))
        raise DataError(report_faults(faults, len(paths)).message, ways)


def find_damaged(paths: Sequence[Path], options: FitOptions, reporter: Reporter) -> list[FilmError]:
    """Those of these films that cannot be read, by reading them."""
    with reporter.progress("Checking films", len(paths)) as advance:
        return find_faults(paths, max_pixels=options.max_pixels, num_threads=num_cores(), advance=advance)
