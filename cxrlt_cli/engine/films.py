"""From options to films on the disk: which folder, which files, and whether they are there."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np

from cxrlt_cli.config import FilmOptions, FitOptions
from cxrlt_cli.data.image import find_faults, report_faults
from cxrlt_cli.data.naming import UID, Naming, dicom_files, ending_of, find_naming
from cxrlt_cli.data.phantom.dataset import RECIPE
from cxrlt_cli.data.table import LabelTable, Texts, ids_as_they_are, read_exclusions, stream_ids
from cxrlt_cli.engine.labelled import labelled_films
from cxrlt_cli.engine.reporting import Reporter, tell_exclusions
from cxrlt_cli.errors import DataError, FilmError, OptionError
from cxrlt_cli.machine import num_cores


@dataclass(frozen=True)
class Films:
    """Labelled films on the disk."""

    table: LabelTable
    paths: list[Path]


def image_folder(csv: Path, image_dir: Path | None, ids: Texts) -> Path:
    """``image_dir``; or, of the CSV's folder and ``images/`` beside the CSV, the first that has any of the films."""
    if image_dir is not None:
        if not image_dir.is_dir():
            raise OptionError(f"--image-dir {image_dir} is not a folder.")
        return image_dir
    folders = (csv.parent, csv.parent / "images")
    for folder in folders:
        if any((folder / str(film)).is_file() for film in ids):
            return folder
    for folder in folders:
        if ending_of(folder, map(str, ids)) is not None:
            return folder
    if any(UID.fullmatch(str(film)) for film in ids):
        for folder in reversed(folders):  # images/ first: what else lies beside the CSV need not be read
            if any(True for _ in dicom_files(folder)):
                return folder
    raise DataError(
        f"Of the films of {csv}, such as '{ids[0]}', none is in {folders[0]} or in {folders[1]}.",
        "Pass the folder with --image-dir.",
    )


def film_paths(folder: Path, ids: Texts) -> list[Path]:
    """Where the films are."""
    return [folder / str(film) for film in ids]


def require_films(paths: Sequence[Path]) -> None:
    """Raise DataError with all that are missing or empty."""
    faults = list(missing(paths))
    if faults:
        raise report_faults(faults, len(paths))


def outside(folder: Path, paths: Iterable[Path]) -> Iterator[FilmError]:
    """Those that a link leads out of ``folder``."""
    root = folder.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(root):
            yield FilmError(path, f"is a link out of {folder} (--links refuse)")


def missing(paths: Iterable[Path]) -> Iterator[FilmError]:
    """Look at every path without reading it: those that are missing or empty."""
    for path in paths:
        try:
            if path.stat().st_size == 0:
                yield FilmError(path, "is empty")
        except FileNotFoundError:
            yield FilmError(path, "does not exist")
        except OSError as error:
            yield FilmError(path, f"cannot be read: {error.strerror}")


@dataclass(frozen=True)
class FilmList:
    """The films of a CSV, in its order, a stretch at a time: only one stretch is in memory."""

    csv: Path
    id_column: str
    excluded: frozenset[str]
    folder: Path
    number: int
    naming: Naming

    @classmethod
    def of(cls, options: FilmOptions, csv: Path, reporter: Reporter) -> "FilmList":
        """Raises DataError where an id is at fault, and with all films that are missing."""
        excluded = frozenset(read_exclusions(options.exclude, options.id_column))
        naming: Naming | None = None
        found: list[str] = []
        faults: list[FilmError] = []
        number = 0
        for ids in stream_ids(csv, options.id_column):
            found += [film for film in ids if film in excluded]
            kept = [film for film in ids if film not in excluded]
            if kept and naming is None:
                folder = image_folder(csv, options.image_dir, np.array(kept, object))
                naming = find_naming(folder, kept, reporter.progress, num_cores())
            if naming is not None:
                paths = [naming.path(film) for film in kept]
                faults += missing(paths)
                if options.links == "refuse":
                    faults += outside(naming.folder, paths)
            number += len(kept)
        tell_exclusions(reporter, excluded, found)
        if naming is None:
            raise DataError(f"--exclude leaves no film of {csv}.")
        if faults:
            raise report_faults(faults, number)
        return cls(csv, options.id_column, excluded, naming.folder, number, naming)

    def stretches(self, sizes: Iterable[int], first: int = 0) -> Iterator[Texts]:
        """Their ids from the ``first`` on, as many at a time as ``sizes`` says."""
        known = ids_as_they_are(self.csv, self.id_column)
        ids = islice((film for film in known if film not in self.excluded), first, None)
        for size in sizes:
            stretch = list(islice(ids, size))
            if not stretch:
                return
            yield np.array(stretch, object)

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
        state = self.csv.stat()
        names = [str(self.csv.resolve()), self.id_column, str(self.folder.resolve()), *sorted(self.excluded)]
        uids = sorted((uid, *map(str, paths)) for uid, paths in self.naming.by_uid.items())
        return {
            "csv": [*names, self.naming.ending],
            "uids": uids,
            "size": state.st_size,
            "time": state.st_mtime_ns,
            "number": self.number,
        }


def find_films(options: FitOptions, csv: Path, reporter: Reporter) -> tuple[Films, Films]:
    """Training and validation films, from one CSV disjoint by patient, or from two."""
    training, validation = labelled_films(options, csv, reporter)
    folder = image_folder(csv, options.image_dir, training.ids)
    paths = _paths(folder, training.ids, reporter)
    if options.links == "refuse" and (faults := list(outside(folder, paths))):
        raise report_faults(faults, len(paths))
    val_folder = folder if options.val_csv is None else image_folder(options.val_csv, options.image_dir, validation.ids)
    return (
        Films(training, paths),
        Films(validation, _paths(val_folder, validation.ids, reporter)),
    )


def _paths(folder: Path, ids: Texts, reporter: Reporter) -> list[Path]:
    naming = find_naming(folder, map(str, ids), reporter.progress, num_cores())
    return [naming.path(str(film)) for film in ids]


def check_films(training: Films, validation: Films, options: FitOptions, reporter: Reporter) -> None:
    """Read every film once; raises DataError with all that cannot be read."""
    paths = training.paths + validation.paths
    with reporter.progress("Checking films", len(paths)) as advance:
        faults = find_faults(paths, max_pixels=options.max_pixels, num_threads=num_cores(), advance=advance)
    if faults:
        raise report_faults(faults, len(paths))
