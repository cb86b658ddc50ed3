"""Films without a CSV: all that lie below a folder, or that were named one by one, and why other files are none.

Their ids are their paths below the folder, with their endings: what is written of them finds them again.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from statistics import median

import numpy as np

from cxrlt_cli.config import FilmOptions
from cxrlt_cli.data.finder import Finder, Naming
from cxrlt_cli.data.headers import (
    SHARE,
    SMALL,
    THUMBNAIL,
    TINY,
    Reason,
    may_be_dicom,
    picture_shape,
    read_header,
    why_no_chest_film,
)
from cxrlt_cli.data.listing import Listing, ending_of
from cxrlt_cli.engine.chosen_rows import chosen_films
from cxrlt_cli.engine.films import FilmList, require_films
from cxrlt_cli.engine.reporter import Reporter, counted, tell_exclusions
from cxrlt_cli.errors import DataError, OptionError, listed
from cxrlt_cli.machine import in_threads, num_cores
from cxrlt_cli.names import fault_of_id, meant_path
from cxrlt_cli.tables.chosen import EVERY
from cxrlt_cli.tables.label_table import Texts, read_exclusions
from cxrlt_cli.tables.values import is_float

HIDDEN = Reason("hidden file or folder", "hidden files and folders")
MAC = Reason("file of macOS (__MACOSX)", "files of macOS (__MACOSX)")
REFUSED = Reason("film whose name can be no id", "films whose names can be no ids")
_THUMB = re.compile(r"(?<![a-z])thumb(nail)?s?(?![a-z])", re.IGNORECASE)
LONG = 60  # characters of a path


@dataclass(frozen=True)
class FolderFilms(FilmList):
    """The films of a folder, sorted by their paths below it."""

    ids: Texts = field(kw_only=True)

    def stretches(self, sizes: Iterable[int], first: int = 0) -> Iterator[Texts]:
        """Their ids from the ``first`` on, as many at a time as ``sizes`` says."""
        for size in sizes:
            stretch = self.ids[first : first + size]
            if not len(stretch):
                return
            yield stretch
            first += size

    def part(self, ids: Texts) -> "FolderFilms":
        """Some of these films, in the order of all."""
        return replace(self, ids=ids, number=len(ids))

    def to_json(self) -> dict[str, object]:
        """What decides which films these are."""
        ids = hashlib.sha256("\0".join(self.ids).encode(errors="surrogatepass"))
        return {"folder": str(self.folder.resolve()), "ids": ids.hexdigest(), "number": self.number}


@dataclass
class Contents:
    """What lies below a folder: its films, and by which reason other files are left out. Paths below the folder."""

    folder: Path
    films: list[str] = field(default_factory=list)
    left_out: dict[Reason, list[str]] = field(default_factory=dict)
    lateral: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)  # folders that could not be looked into

    def others(self, *, plain: bool) -> dict[Reason, list[str]]:
        """What is left out: files that nobody would take for films, or the rest."""
        return {why: files for why, files in self.left_out.items() if is_plain(why) == plain}


def told_reasons(files: dict[Reason, list[str]]) -> str:
    """``2 CT slices (a.dcm, b.dcm), 1 report (SR) (c.dcm)``; the most frequent first, long paths one at a time."""
    order = sorted(files.items(), key=lambda item: -len(item[1]))
    return ", ".join(
        f"{counted(len(found), why.one, why.many)} ({listed(found, 2 if len(found[0]) <= LONG else 1)})"
        for why, found in order
    )


def film_list(options: FilmOptions, given: Sequence[Path], csv: Path | None, reporter: Reporter) -> FilmList:
    """The films of a CSV; without one, those that were ``given``, or that lie below ``--image-dir``."""
    if csv is None:
        return films_below(options, given, reporter)
    films = FilmList.of(options, csv, reporter)
    warn_of_others(films, options, reporter)
    return films


def takes_folder(options: FilmOptions, given: Sequence[Path] = ()) -> bool:
    """Whether films were ``given``, or ``--image-dir`` was, without a CSV; raises OptionError where both were, or where
    ``--csv`` is no table.
    """
    if options.csv is None:
        return bool(given) or options.image_dir is not None
    if given:
        raise OptionError(
            f"--csv {options.csv} and {listed(given)} both say which films are meant.", "Pass one of them."
        )
    if options.csv.is_dir():
        hint = f"To take all films below it: --image-dir {options.csv}, without --csv."
        raise OptionError(f"--csv {options.csv} is a folder, not a table that names films.", hint)
    if ending_of(options.csv.name):
        hint = f"To take it as it is: --image-dir {options.csv}, without --csv."
        raise OptionError(f"--csv {options.csv} is a film, not a table that names films.", hint)
    return False


def films_below(options: FilmOptions, given: Sequence[Path], reporter: Reporter) -> FolderFilms:
    """The films to take without a CSV. Raises DataError where there is none, or one is empty or cannot be opened."""
    contents = look_through(options, given, reporter)
    excluded = frozenset(read_exclusions(options.exclude, options.id_column))
    tell_exclusions(reporter, excluded, contents.films)
    kept = [film for film in contents.films if film not in excluded]
    tell_contents(contents, excluded, reporter)
    if not contents.films:
        others = told_reasons(contents.left_out) or "no file at all"
        hint = "To predict one all the same, name it in a CSV, for --csv." if contents.others(plain=False) else ""
        raise DataError(f"There is no chest film in {contents.folder}. It holds {others}.", hint)
    if not kept:
        raise DataError(f"--exclude leaves no film of {contents.folder}.")
    kept = chosen_films(options, contents.folder, kept, reporter)
    where = Finder(contents.folder, options.links, reporter.progress, num_cores())
    found = where.find(lambda: [kept])
    require_films(found, where, options.model_copy(update={"image_dir": contents.folder}), None)
    ids = np.array(kept, object)
    source = given[0] if len(given) == 1 else contents.folder
    naming = Naming(contents.folder)
    return FolderFilms(source, options.id_column, EVERY, excluded, contents.folder, len(ids), naming, ids=ids)


def tell_contents(contents: Contents, excluded: frozenset[str], reporter: Reporter) -> None:
    """Say what is left out of a folder, and which of its films are lateral views."""
    lateral = [film for film in contents.lateral if film not in excluded]
    for plain, tell in ((True, reporter.note), (False, reporter.warn)):
        if contents.films and (others := contents.others(plain=plain)):
            number = counted(sum(map(len, others.values())), "other file" if plain else "file")
            tell(f"Left out {number}: {told_reasons(others)}.")
    if lateral:
        reporter.warn(f"{_told_lateral(lateral)} Predicted all the same; to leave films out: --exclude.")
    if contents.closed:
        folders = [str(contents.folder / folder) for folder in contents.closed]
        reporter.warn(f"Not looked into, for it is not allowed: {listed(folders)}.")


def warn_of_others(films: FilmList, options: FilmOptions, reporter: Reporter) -> None:
    """Say which films that somebody named are no chest films by their DICOM headers, or lateral views."""
    paths = [path for paths in films.path_stretches() for path in paths if may_be_dicom(path)]
    others, lateral = others_among(paths, films.folder, options, reporter)
    if others:
        number = counted(sum(map(len, others.values())), "is no chest film", "are no chest films")
        reporter.warn(f"Of the films of {films.source}, {number} by their tags: {told_reasons(others)}.")
    if lateral:
        reporter.warn(_told_lateral(lateral))


def others_among(
    paths: Sequence[Path], folder: Path, options: FilmOptions, reporter: Reporter
) -> tuple[dict[Reason, list[str]], list[str]]:
    """The files that are no chest films by their headers, and the lateral views; as paths below the folder."""
    others: dict[Reason, list[str]] = {}
    lateral: list[str] = []
    with reporter.progress("Reading DICOM headers", len(paths), "files") as advance:
        for path, look in _looks(paths, options, advance):
            name = path.relative_to(folder).as_posix()
            if look.why is not None and not is_plain(look.why):
                others.setdefault(look.why, []).append(name)
            elif look.is_lateral:
                lateral.append(name)
    return others, lateral


def look_through(options: FilmOptions, given: Sequence[Path], reporter: Reporter) -> Contents:
    """What lies below ``--image-dir``, or below the paths that were given; in the order of the paths."""
    root, places = _places(options, given)
    contents = Contents(root)
    files: list[str] = []
    for place in places:
        front = _below(root, place)
        if place.is_dir():
            listing = Listing(place, options.links == "follow")
            files += [_join(front, file) for file in listing.files()]
            _leave_out(contents, HIDDEN, [_join(front, file) for file in listing.hidden])
            contents.closed += [_join(front, folder) for folder in listing.closed]
        else:
            files.append(front)
    files = sorted(dict.fromkeys(files))
    in_mac = [file for file in files if "__MACOSX" in PurePosixPath(file).parts]
    _leave_out(contents, MAC, in_mac)
    files = sorted(set(files) - set(in_mac))
    shapes: dict[str, int] = {}
    with reporter.progress("Looking for films", len(files), "files") as advance:
        for path, look in _looks([root / file for file in files], options, advance):
            file = path.relative_to(root).as_posix()
            why = look.why or (REFUSED if fault_of_id(file) or is_float(file) else None)
            if why is not None:
                _leave_out(contents, why, [file])
                continue
            contents.films.append(file)
            if look.side:
                shapes[file] = look.side
            if look.is_lateral:
                contents.lateral.append(file)
    thumbnails = _thumbnails(shapes)
    _leave_out(contents, SMALL, sorted(thumbnails))
    contents.films = [film for film in contents.films if film not in thumbnails]
    contents.lateral = [film for film in contents.lateral if film not in thumbnails]
    return contents


@dataclass(frozen=True)
class _Look:
    why: Reason | None = None  # it is no chest film
    side: int = 0  # the shorter one, in pixels; 0 where it is not known
    is_lateral: bool = False


def _looks(paths: Sequence[Path], options: FilmOptions, advance: Callable[[int], None]) -> Iterator[tuple[Path, _Look]]:
    """What each file says before its pixels."""
    look = partial(_look, max_pixels=options.max_pixels)
    for path, seen in zip(paths, in_threads(look, paths, num_cores()), strict=True):
        advance(1)
        yield path, seen


def _look(path: Path, max_pixels: int) -> _Look:
    shape = picture_shape(path)
    if shape is not None:
        return _Look(SMALL if min(shape) < TINY or _THUMB.search(path.name) else None, min(shape))
    header = read_header(path, max_pixels)
    if header is not None:
        return _Look(why_no_chest_film(header), min(header.shape), header.is_lateral)
    if ending_of(path.name):  # damaged, as reading it tells
        return _Look()
    ending = path.suffix.lower()
    return _Look(Reason.of(f"{ending} file" if ending else "other file"))


def is_plain(reason: Reason) -> bool:
    """Whether nobody would take such files for films."""
    return reason in (HIDDEN, MAC) or reason.one.startswith((".", "other "))


def _thumbnails(sides: dict[str, int]) -> set[str]:
    """Small pictures among films that are several times as large."""
    usual = median(sides.values()) if sides else 0
    return {film for film, side in sides.items() if side <= THUMBNAIL and SHARE * side <= usual}


def _places(options: FilmOptions, given: Sequence[Path]) -> tuple[Path, tuple[Path, ...]]:
    """The folder that ids are below, and what to look through."""
    flag = "" if given else "--image-dir "
    folder = options.image_dir
    places = tuple(given) or ((folder,) if folder is not None else ())
    for place in places:
        if not place.exists():
            hint = "" if flag else "It is to be a film, or a folder of films."
            raise OptionError(f"{flag}{place} does not exist.{meant_path(place)}", hint)
        if not (place.is_dir() or place.is_file()):
            raise OptionError(f"{flag}{place} is neither a folder nor a film.")
    if given and folder is not None:
        if not folder.is_dir():
            raise OptionError(f"--image-dir {folder} is not a folder.{meant_path(folder)}")
        outside = [place for place in places if _below(folder, place).split("/")[0] == ".."]
        if outside:
            raise OptionError(f"{listed(outside)} does not lie below --image-dir {folder}.", "Leave --image-dir out.")
        return folder, places
    above = [place if place.is_dir() else place.parent for place in places]
    if len(set(above)) == 1:
        return above[0], places
    root = os.path.commonpath([os.path.abspath(one) for one in above])  # noqa: PTH100 - links stay links
    return Path(root if any(place.is_absolute() for place in places) else os.path.relpath(root)), places


def _below(root: Path, place: Path) -> str:
    path = Path(os.path.relpath(place, root)).as_posix()
    return "" if path == "." else path


def _join(front: str, file: str) -> str:
    return f"{front}/{file}" if front else file


def _leave_out(contents: Contents, why: Reason, files: Sequence[str]) -> None:
    if files:
        contents.left_out.setdefault(why, []).extend(files)


def _told_lateral(films: Sequence[str]) -> str:
    number = counted(len(films), "film is a lateral view", "films are lateral views")
    return f"{number} by the tags, of which models of frontal films say little: {listed(films, 3)}."
