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
from cxrlt_cli.data.table import LabelTable, Texts, ids_as_they_are, read_exclusions, read_labels, stream_ids
from cxrlt_cli.engine.reporting import Reporter, tell_exclusions
from cxrlt_cli.errors import DataError, FilmError, OptionError, listed
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
    excluded = read_exclusions(options.exclude, options.id_column)
    table = _read_table(options, csv, options.findings)
    tell_exclusions(reporter, excluded, table.ids)
    if table.passed_over:
        reporter.note(f"Columns of {csv} that are not read as findings: {listed(table.passed_over, 40)}.")
    table = table.without(excluded)
    if len(table) == 0:
        raise DataError(f"--exclude leaves no film of {csv}.")
    if options.val_csv is None and table.num_patients == 1:
        raise DataError(f"All films of {csv} are of one patient: none can be held out.", "Pass others with --val-csv.")
    if options.val_csv is None:
        training, validation = table.split(options.val_fraction, options.seed)
    else:
        training, validation = table, _read_table(options, options.val_csv, table.space.findings).without(excluded)
        both = sorted(set(training.patients) & set(validation.patients))
        if both:
            reporter.warn(
                f"{len(both)} patients stand in {csv} and in {options.val_csv} ({listed(both)}): validation scores "
                "will be too good."
            )
    _check_labels(training, validation, options, reporter)
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


def _read_table(options: FitOptions, csv: Path, findings: tuple[str, ...] | None) -> LabelTable:
    return read_labels(
        csv,
        id_column=options.id_column,
        patient_column=options.patient_column,
        findings=findings,
        needs_patients=options.val_csv is None,
    )


def _check_labels(training: LabelTable, validation: LabelTable, options: FitOptions, reporter: Reporter) -> None:
    """What would make training pointless is an error; what the user may not have meant is a warning."""
    if training.counts.sum() == 0:
        raise DataError("No training film has a finding.", "Labels are 1 where there is one. Or lower --val-fraction.")
    if validation.counts.sum() == 0:
        raise DataError("No validation film has a finding.", "Pass a larger --val-fraction, or films with --val-csv.")
    names = training.space.findings
    unseen = [name for name, count in zip(names, training.counts, strict=True) if count == 0]
    unscored = [name for name, count in zip(names, validation.counts, strict=True) if count == 0]
    if unseen:
        reporter.warn(f"On no training film: {listed(unseen, 40)}. What is never seen cannot be learned.")
    if unscored:
        reporter.note(f"On no validation film, so left out of the validation scores: {listed(unscored, 40)}.")
    always = [
        name
        for name, count, labelled in zip(names, training.counts, training.num_labelled, strict=True)
        if 0 < count == labelled
    ]
    if always:
        reporter.warn(
            f"On every labelled training film: {listed(always, 40)}. Nothing can be learned of such a finding; its AP "
            "is 1 whatever is predicted."
        )
    without = int((~(training.targets == 1).any(axis=1)).sum())
    if options.sampler == "cas" and without:
        reporter.warn(
            f"{without:,} of {len(training):,} training films have no positive label; --sampler cas never draws them."
        )
