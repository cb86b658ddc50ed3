"""What lies below a folder of films: each folder in it is looked into once, and not before somebody asks.

Paths are relative to the folder, with ``/``. Names are compared in Unicode's form NFC; films by their stems, so that
one is found with its ending in any case, or without it.
"""

import os
import sys
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from cxrlt_cli.errors import DataError

DICOM_ENDINGS = (".dcm", ".dicom")
FILM_ENDINGS = (*DICOM_ENDINGS, ".png", ".jpg", ".jpeg")
MAX_FILES = 2_000_000  # that are looked through: ten times the largest public sets


def ending_of(name: str) -> str:
    """The ending of a film's name, as it is written; empty where it has none that films have."""
    start = name.rfind(".")
    return name[start:] if start > 0 and name[start:].lower() in FILM_ENDINGS else ""


def stem_of(name: str) -> str:
    return name[: len(name) - len(ending_of(name))]


def nfc(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


class Listing:
    """The files below ``root``; ``hidden`` ones, and hidden folders, are passed over.

    Folders that are links are entered in a search only where ``follows_links``, each tree of files once: not what
    contains ``root``, nor what it contains. ``closed``: folders that could not be looked into.
    """

    def __init__(self, root: Path, follows_links: bool = True) -> None:
        self.root = root
        self.closed: list[str] = []
        self.hidden: list[str] = []
        self._follows_links = follows_links
        self._names: dict[str, dict[str, str]] = {}  # folder: stem: see _with
        self._folders: dict[str, dict[str, str]] = {}  # folder: NFC of a folder in it: its name
        self._links: set[str] = set()
        self._walked: list[str] | None = None
        self._tails: dict[int, dict[str, str]] = {}  # of n parts: stems with n - 1 folders before them: folders, by NUL

    def folder(self, parts: Sequence[str]) -> str | None:
        """The folder of this path; None where there is none."""
        folder = ""
        for part in parts:
            self._look(folder)
            name = self._folders[folder].get(nfc(part))
            if name is None:
                return None
            folder = _join(folder, name)
        return folder

    def named(self, folder: str, name: str) -> tuple[int, list[str]]:
        """The files of a folder that answer to ``name``, and how well: the smaller, the better.

        0: so is their name. 1: in another form of Unicode. 2: their ending is in another case. 3: the name lacks it.
        """
        self._look(folder)
        wanted = nfc(name)
        alike = self._films(folder, stem_of(wanted))
        ways: list[list[str]] = [
            [film for film in alike if film == name],
            [film for film in alike if nfc(film) == wanted],
            [film for film in alike if ending_of(film).lower() == ending_of(wanted).lower()],
            [film for film in self._films(folder, wanted) if ending_of(film)],
        ]
        how = next((how for how, films in enumerate(ways) if films), 3)
        return how, [_join(folder, film) for film in ways[how]]

    def other_endings(self, folder: str, name: str) -> list[str]:
        """The films of a folder that are called like ``name`` but for their ending."""
        self._look(folder)
        return [_join(folder, film) for film in self._films(folder, nfc(stem_of(name)))]

    def alike(self, name: str) -> list[str]:
        """The films in any folder that are called like ``name`` but for their ending; of many, some."""
        folders = self._folders_with([nfc(stem_of(name))])[:2]
        return [film for folder in folders for film in self.other_endings(folder, name)]

    def below(self, parts: Sequence[str]) -> tuple[int, list[str]]:
        """The files anywhere whose paths end in ``parts``, and how well they answer, as ``named`` says."""
        *folders, name = parts
        best = 4
        found: list[str] = []
        for stem in dict.fromkeys((stem_of(name), name)):
            for folder in self._folders_with([*folders, stem]):
                how, films = self.named(folder, name)
                if films and how <= best:
                    found = [*(found if how == best else []), *films]
                    best = how
        return best, list(dict.fromkeys(found))

    def files(self) -> Iterator[str]:
        """All of them, folder by folder."""
        for folder in self._walk():
            for stem in self._names[folder]:
                for name in self._films(folder, stem):
                    yield _join(folder, name)

    def _folders_with(self, parts: Sequence[str]) -> list[str]:
        """The folders anywhere in which a film has this stem, the last of ``parts``, after the folders before it."""
        number = len(parts)
        if number not in self._tails:
            tails: dict[str, str] = {}
            for folder in self._walk():
                above = folder.split("/") if folder else []
                if len(above) >= number - 1:
                    before = "".join(f"{nfc(part)}/" for part in above[len(above) - number + 1 :])
                    for stem in self._names[folder]:
                        tail = before + stem if before else stem
                        tails[tail] = f"{tails[tail]}\0{folder}" if tail in tails else folder
            self._tails[number] = tails
        found = self._tails[number].get("/".join(map(nfc, parts)))
        return [] if found is None else found.split("\0")

    def _walk(self) -> list[str]:
        """All folders, those that are no links first."""
        if self._walked is None:
            trees = {os.path.realpath(self.root)}
            walked: list[str] = []
            number = 0
            folders, links = deque([""]), deque[str]()
            while folders or links:
                folder = folders.popleft() if folders else links.popleft()
                if folder in self._links and not (self._follows_links and _is_new(self.root / folder, trees)):
                    continue
                walked.append(folder)
                self._look(folder)
                number += len(self._names[folder])
                if number > MAX_FILES:
                    raise DataError(
                        f"{self.root} holds more than {MAX_FILES:,} files, in which no film is looked for by its name.",
                        "Name the folder of the films with --image-dir.",
                    )
                for name in sorted(self._folders[folder].values()):
                    path = _join(folder, name)
                    (links if path in self._links else folders).append(path)
            self._walked = walked
        return self._walked

    def _look(self, folder: str) -> None:
        """Remember what is in a folder, if that is not known yet."""
        if folder in self._names:
            return
        names: dict[str, str] = {}
        folders: dict[str, str] = {}
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        self.hidden.append(_join(folder, entry.name))
                        continue
                    kind = _kind(entry)
                    if kind == "file":
                        stem = nfc(stem_of(entry.name))
                        names[stem] = _with(stem, names.get(stem), entry.name)
                    elif kind == "folder":
                        folders[nfc(entry.name)] = entry.name
                        if entry.is_symlink():
                            self._links.add(_join(folder, entry.name))
        except OSError:
            self.closed.append(folder)
        self._names[folder], self._folders[folder] = names, folders

    def _films(self, folder: str, stem: str) -> list[str]:
        known = self._names[folder].get(stem)
        return [] if known is None else _names(stem, known)


def _kind(entry: "os.DirEntry[str]") -> Literal["file", "folder"] | None:
    """None of what is neither, or cannot be looked at, such as a link that leads back to itself."""
    try:
        return "file" if entry.is_file() else "folder" if entry.is_dir() else None
    except OSError:
        return None


def _with(stem: str, known: str | None, name: str) -> str:
    """The names of one stem as one string, for there may be a million: a single one's ending, or all after ``/``."""
    if known is not None:
        return "/".join(["", *_names(stem, known), name])
    ending = name[len(stem) :] if name.startswith(stem) else None
    return f"/{name}" if ending is None else sys.intern(ending)


def _names(stem: str, known: str) -> list[str]:
    return known.split("/")[1:] if known.startswith("/") else [stem + known]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _is_new(link: Path, trees: set[str]) -> bool:
    """Whether a link leads to what neither lies in one of these trees nor holds one; it is one of them then."""
    target = os.path.realpath(link)
    inside = any(str(folder) in trees for folder in (Path(target), *Path(target).parents))
    if inside or any(os.path.commonpath([target, tree]) == target for tree in trees):
        return False
    trees.add(target)
    return True
