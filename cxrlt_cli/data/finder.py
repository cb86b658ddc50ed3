"""From the ids of a CSV to files, for all commands: as they are written, or as people and programs write them.

An id is a film's path below the folder. Where no file is called so, a film is found, in this order:

1. with its ending in another case, or left out of the id; in either of Unicode's forms; with ``\\`` for ``/``
2. with folders in front of it, in the id, that the folder lacks (CheXpert's own name before each path)
3. anywhere below the folder, where the whole id is the end of one path (NIH's ``images_001/images``)
4. by the SOPInstanceUID in the header of a DICOM file that no other id names, where the id looks like one

Two files that answer equally well, and two ids that lead to one file, are faults: nothing is chosen in silence.
"""

import difflib
import errno
import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.data.dicom import HEAD, instance_uid, is_dicom
from cxrlt_cli.data.listing import DICOM_ENDINGS, Listing, ending_of, nfc, stem_of
from cxrlt_cli.errors import FilmError
from cxrlt_cli.machine import in_threads

UID = re.compile(r"[0-9]+(\.[0-9]+)+")
COMPARED = 5000  # names of films that one which is not there is held against

Digests = NDArray[np.int64]  # of paths, which tell all but a few apart
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
Stretches = Callable[[], Iterable[Sequence[str]]]


@dataclass(frozen=True)
class Naming:
    """Where the films of a folder are: ``folder / (id + ending)``, without ``prefix``; or where ``elsewhere`` says."""

    folder: Path
    prefix: str = ""
    ending: str = ""
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def path(self, film: str) -> Path:
        """Where a film is, or would be."""
        found = self.elsewhere.get(film)
        return self.folder / (self._usual(film) if found is None else found)

    def _usual(self, film: str) -> str:
        return film.removeprefix(self.prefix) + self.ending

    @classmethod
    def of(cls, folder: Path, found: Mapping[str, str]) -> "Naming":
        """The naming that fits most of these ids and paths, without the others."""
        rules = Counter(rule for film, path in found.items() if (rule := _rule(film, path)) is not None)
        prefix, ending = rules.most_common(1)[0][0] if rules else ("", "")
        return cls(folder, prefix, ending, {})

    def exceptions(self, found: Mapping[str, str]) -> dict[str, str]:
        return {film: path for film, path in found.items() if self._usual(film) != path}


def _rule(film: str, path: str) -> tuple[str, str] | None:
    """What is to be taken from the front of an id, and added to its end, so that it is the path."""
    stem = path
    while stem:
        if film.endswith(stem) and film[: len(film) - len(stem)][-1:] in ("", "/"):
            return film[: len(film) - len(stem)], path[len(stem) :]
        stem = stem_of(stem) if ending_of(stem) else ""
    return None


@dataclass
class Found:
    """What became of the ids of one CSV: where their films are, and which have none."""

    naming: Naming
    number: int = 0  # of ids
    absent: dict[str, str] = field(default_factory=dict)  # id: what lies there instead, or nothing
    unclear: dict[str, FilmError] = field(default_factory=dict)  # more files than one, or of more ids than one
    unusable: dict[str, FilmError] = field(default_factory=dict)  # empty, not to be opened, links that are refused

    @property
    def lost(self) -> set[str]:
        """The ids that have no film."""
        return {*self.absent, *self.unclear, *self.unusable}

    def is_faulty(self, film: str) -> bool:
        return film in self.unclear or film in self.unusable

    def faults(self) -> list[FilmError]:
        """One for each of them."""
        gone = [
            FilmError(self.naming.folder / film, f"does not exist{f', but {instead} does' if instead else ''}")
            for film, instead in self.absent.items()
        ]
        return [*gone, *self.unclear.values(), *self.unusable.values()]


class Finder:
    """Finds films below a folder, which is looked through once at most, whatever is asked."""

    def __init__(self, folder: Path, links: Literal["follow", "refuse"], progress: Progress, num_threads: int) -> None:
        self.folder = folder
        self.listing = Listing(folder, links == "follow")
        self._refuses_links = links == "refuse"
        self._progress, self._num_threads = progress, num_threads
        self._root = os.path.realpath(folder)
        self._inside: dict[str, bool] = {}  # folders
        self._uids: dict[str, str] = {}  # of each file whose header was read

    def find(self, stretches: Stretches) -> Found:
        """All ids of a CSV, a stretch of them at a time; they are gone through again where two may mean one film."""
        found = Found(Naming(self.folder))
        elsewhere: dict[str, str] = {}
        rest: list[str] = []
        shortened: dict[str, str] = {}  # what is left of those that lost folders: id
        places: list[Digests] = []
        for ids in stretches():
            placed = {film: path for film in ids if (path := self.place(film, found)) is not None}
            if not places:
                found.naming = Naming.of(self.folder, placed)
            found.number += len(ids)
            rest += [film for film in ids if film not in placed and not found.is_faulty(film)]
            elsewhere |= found.naming.exceptions(placed)
            places.append(_digests(placed.values()))
            for film, path in placed.items():
                if path != film and path.count("/") + 1 < len(_parts(film)):
                    shortened[_left(path.split("/"))] = film
        named = np.concatenate([*places, _digests([])])
        by_uid = self._by_uid(rest, named, found)
        found.naming = replace(found.naming, elsewhere=elsewhere | found.naming.exceptions(by_uid))
        found.absent = {film: self._instead(film) for film in rest if film not in by_uid and not found.is_faulty(film)}
        self._tell_shared(np.concatenate([named, _digests(by_uid.values())]), stretches, found)
        self._tell_mistakable(shortened, stretches, found)
        return found

    def number_as_written(self, films: Sequence[str]) -> int:
        """How many of these films are there, by the paths that they are called by."""
        return sum((self.folder / film).is_file() for film in films)

    def number_near(self, films: Sequence[str]) -> int:
        """How many are there in other ways, without a search through all folders."""
        return sum(bool(self._near(film)) for film in films)

    def has_any(self, films: Sequence[str]) -> bool:
        """Whether one is there in any way, or a DICOM file is that might be it."""
        if any(self._candidates(film) for film in films):
            return True
        return any(map(_looked_up_by_uid, films)) and any(
            is_dicom(_head(self.folder / file)) for file in self._unnamed()
        )

    def place(self, film: str, found: Found) -> str | None:
        """Where a film is, by its name; None where nothing answers to it, or what does is at fault, which is added."""
        usable = self._look(film, film, found)
        if usable is not None:
            return (posixpath.normpath(film) if "//" in film or "./" in film else film) if usable else None
        candidates = sorted(self._candidates(film))
        if len(candidates) > 1:
            found.unclear[film] = FilmError(self.folder / film, f"may be {candidates[0]} or {candidates[1]}")
        return candidates[0] if len(candidates) == 1 and self._look(film, candidates[0], found) else None

    def _candidates(self, film: str) -> list[str]:
        """The files that answer to an id, all equally well."""
        return self._near(film) or self.listing.below(_parts(film))[1]

    def _near(self, film: str) -> list[str]:
        parts = _parts(film)
        for skipped in range(len(parts)):
            folder = self.listing.folder(parts[skipped:-1])
            if folder is not None and (films := self.listing.named(folder, parts[-1])[1]):
                return films
        return []

    def _unnamed(self) -> list[str]:
        """The files that may be DICOM, by their endings."""
        return [file for file in self.listing.files() if ending_of(file).lower() in ("", *DICOM_ENDINGS)]

    def _look(self, film: str, path: str, found: Found) -> bool | None:
        """Whether there is a file that is a film's and not empty; if not, that is a fault. None where there is none."""
        full = self.folder / path
        try:
            state = full.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None
            found.unusable[film] = FilmError(full, f"cannot be read: {error.strerror}")
            return False
        if not stat.S_ISREG(state.st_mode):
            return None
        if state.st_size == 0:
            found.unusable[film] = FilmError(full, "is empty")
            return False
        if self._refuses_links and self._leads_out(full):
            found.unusable[film] = FilmError(full, f"is a link out of {self.folder} (--links refuse)")
            return False
        return True

    def _leads_out(self, path: Path) -> bool:
        """Whether a link leads to a file that does not lie below the folder."""
        folder = str(path.parent)
        if folder not in self._inside:
            self._inside[folder] = Path(os.path.realpath(folder)).is_relative_to(self._root)
        if not self._inside[folder]:
            return True
        return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(self._root)

    def _by_uid(self, films: Sequence[str], named: Digests, found: Found) -> dict[str, str]:
        """The files that have these UIDs, of those that no id names: in the headers, if an id looks like a UID."""
        wanted = {film: uid for film in films if (uid := _looked_up_by_uid(film))}
        if not wanted:
            return {}
        files = sorted(self._unnamed())
        files = [file for file, is_named in zip(files, np.isin(_digests(files), named), strict=True) if not is_named]
        self._read_uids([file for file in files if file not in self._uids])
        having: dict[str, list[str]] = {}
        for file in files:
            having.setdefault(self._uids[file], []).append(file)
        by_uid = {}
        for film, uid in wanted.items():
            match having.get(uid, []):
                case [file]:
                    if self._look(film, file, found):
                        by_uid[film] = file
                case [first, second, *_]:
                    reason = f"may be {first} or {second}, which have one SOPInstanceUID"
                    found.unclear[film] = FilmError(self.folder / film, reason)
        return by_uid

    def _read_uids(self, files: Sequence[str]) -> None:
        paths = (self.folder / file for file in files)
        with self._progress("Reading DICOM headers", len(files)) as advance:
            for file, uid in zip(files, in_threads(_uid, paths, self._num_threads), strict=True):
                self._uids[file] = uid
                advance(1)

    def _instead(self, film: str) -> str:
        """What lies there in place of a film: of its name, but with another ending or in another folder."""
        parts = _parts(film)
        folders = [self.listing.folder(parts[skipped:-1]) for skipped in range(len(parts))]
        for folder in folders:
            if folder is not None and (films := self.listing.other_endings(folder, parts[-1])):
                return films[0]
        films = self.listing.alike(parts[-1])
        return films[0] if len(films) == 1 else ""

    def _tell_shared(self, places: Digests, stretches: Stretches, found: Found) -> None:
        """The ids that lead to the file of an earlier one."""
        values, times = np.unique(places, return_counts=True)
        doubled = set(values[times > 1].tolist())
        lost = found.lost
        first: dict[Path, str] = {}
        for film in chain.from_iterable(stretches()) if doubled else ():
            path = found.naming.path(film)
            if film not in lost and hash(path.relative_to(self.folder).as_posix()) in doubled:
                owner = first.setdefault(path, film)
                if owner != film:
                    found.unclear[film] = FilmError(path, f"is the film of two ids, {owner} and {film}")

    def _tell_mistakable(self, shortened: Mapping[str, str], stretches: Stretches, found: Found) -> None:
        """Of the ids that were found without folders that they name, those whose file may as well be another's.

        ``shortened``: ids by what is left of them.
        """
        for film in chain.from_iterable(stretches()) if shortened else ():
            parts = _parts(film)
            for number in range(1, len(parts)):
                owner = shortened.get(_left(parts[-number:]), film)
                if owner != film:
                    reason = f"does not exist; what lies outside its folder may be {film}"
                    found.unclear.setdefault(owner, FilmError(self.folder / owner, reason))

    def lies_there(self) -> str:
        """What the folder holds, in a sentence, for whoever looked for something else."""
        endings: Counter[str] = Counter()
        number, example = 0, ""
        for file in self.listing.files():
            number += 1
            if ending := ending_of(file).lower():
                endings[ending] += 1
                example = min(example or file, file)
        closed = f" {self.folder / self.listing.closed[0]} cannot be looked into." if self.listing.closed else ""
        if not endings:
            return f"{self.folder} holds {f'{number:,} files, and' if number else ''} no film by its ending.{closed}"
        kinds = ", ".join(f"{times:,} {ending}" for ending, times in endings.most_common())
        return f"{self.folder} holds {kinds}, such as {example}.{closed}"

    def nearest(self, film: str) -> str:
        """In a sentence, the film whose name is most like that of one that is not there; empty where none is."""
        parts = _parts(film)
        folder = next((f for k in range(len(parts)) if (f := self.listing.folder(parts[k:-1])) is not None), "")
        near = [file for file in self.listing.files() if ending_of(file) and posixpath.dirname(file) == folder]
        names = {posixpath.basename(file): file for file in islice(near, COMPARED)}
        stem = stem_of(parts[-1])
        for name, file in names.items():
            if stem_of(name) != stem == stem_of(name).lstrip("0"):
                return f"{file} may be '{film}' that lost its zeros, as in Excel: keep the column as text."
        close = difflib.get_close_matches(parts[-1], names, 1, 0.8)
        return f"Nearest to '{film}' is '{names[close[0]]}'." if close else ""


def _uid(path: Path) -> str:
    return instance_uid(path) if is_dicom(_head(path)) else ""


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _looked_up_by_uid(film: str) -> str:
    """The UID that an id is, with or without folders and an ending; empty where it is none."""
    uid = stem_of(_parts(film)[-1])
    return uid if UID.fullmatch(uid) else ""


def _parts(film: str) -> list[str]:
    """The folders and the name in an id, whichever way its slashes lean."""
    return [part for part in film.replace("\\", "/").split("/") if part not in ("", ".")] or [film]


def _left(parts: Sequence[str]) -> str:
    return nfc(stem_of("/".join(parts)))


def _digests(paths: Collection[str]) -> Digests:
    return np.fromiter(map(hash, paths), np.int64, len(paths))
