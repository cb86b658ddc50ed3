"""Names that come from outside: ids of films and names of findings, and why some of them are refused.

A name becomes a path below the image folder, a cell of a CSV that somebody opens in a spreadsheet, and a word of a
message. It is never changed on the way, or the films of one file could not be found in another: what would do harm as
it is, is an error where it is read.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

MAX_LENGTH = 1024  # characters
MAX_COMPARED = 20_000  # names that are looked at for the nearest

_STEERS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, marks of direction and the like, half characters, line ends
_JOINERS = "\u200c\u200d"  # which some scripts are written with

_PLAIN = re.compile(r"\w+([./_-]\w+)*", re.ASCII)  # letters and digits, single marks between them: no fault fits
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of PatientAge: Patient, Age
_FORMULA = "=+-@"
_SIGNED_NUMBER = re.compile(r"[+-]\d\w*(\.\w+)*", re.ASCII)


def fault_of_name(name: str) -> str | None:
    """Why ``name`` can be neither an id nor a finding, to follow "which"; None where it can.

    It is empty, overlong, begins or ends with a space, holds a control character (a line break, a tab, NUL, what
    steers a terminal) or half a surrogate pair, or is a formula to a spreadsheet.
    """
    if not name:
        return "is empty"
    if len(name) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH:,} characters"
    if name != name.strip():
        return "begins or ends with a space"
    if not is_text(name):
        return "holds a control character or half a character"
    if any(_is_formula(cell) for cell in name.split(";")):
        return "a spreadsheet would run as a formula"
    return None


def fault_of_id(film: str) -> str | None:
    """``fault_of_name``, and whether the path leaves the image folder: on any system, for CSVs travel."""
    if _PLAIN.fullmatch(film) and len(film) <= MAX_LENGTH:  # as nearly all are, of which there may be millions
        return None
    parts = film.replace("\\", "/").split("/")
    is_absolute = parts[0] == "" or parts[0][1:2] == ":"
    if film and (is_absolute or any(part.strip() == ".." for part in parts)):
        return "leaves the image folder"
    return fault_of_name(film)


def is_text(words: str) -> bool:
    """Whether no character steers what shows it, or is half of a pair, which cannot be written."""
    if words.isascii():  # as nearly all names are, of which there may be millions
        return words.isprintable()
    return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in words)


def shown(name: str) -> str:
    """``name`` for a message: in quotes, on one line, cut where it is long."""
    return repr(name) if len(name) <= 80 else f"{name[:80]!r}..."


def visible(text: str) -> str:
    """``text`` with all that steers a terminal, or hides, written out: ESC as ``\\x1b``. Line feeds stay.

    What is shown may come from a file that somebody made to be shown: controls of any kind, marks that turn the
    direction of writing, half characters, line ends other than ours.
    """
    if text.isascii() and text.replace("\n", "").isprintable():  # as nearly all is
        return text
    return "".join(
        letter
        if letter == "\n" or letter in _JOINERS or unicodedata.category(letter) not in _STEERS
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Which of the names that are known somebody meant who wrote ``name``; None where none is near.

    Capitals, spaces, dashes and underscores make no difference. A word of a name stands for it where it is one alone's:
    Age for PatientAge.
    """
    folded: dict[str, str] = {}
    for one in islice(known, MAX_COMPARED):
        folded.setdefault(_folded(one), one)
    wanted = _folded(name)
    with_word = [one for one in folded.values() if wanted in map(str.casefold, _WORD.findall(one))]
    for cutoff in (0.8, 0.7 if len(wanted) > 4 else 0.5):
        if close := difflib.get_close_matches(wanted, folded, n=1, cutoff=cutoff):
            return folded[close[0]]
        if len(with_word) == 1:
            return with_word[0]
    return None


def meant(name: str, known: Iterable[str]) -> str:
    """`` Did you mean NAME?`` to follow a message, with the nearest name that is known; empty where none is near."""
    close = nearest(name, known)
    return "" if close is None else f" Did you mean {close}?"


def meant_path(path: Path) -> str:
    """`` Did you mean FILE?`` on a path that is not there: the nearest name in its folder, if any."""
    try:
        return meant(path.name, sorted(one.name for one in islice(path.parent.iterdir(), MAX_COMPARED)))
    except OSError:
        return ""


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", name)).casefold()


def _is_formula(cell: str) -> bool:
    """Whether a cell begins as a formula does, in East Asian width too. Part of a name, for some split it at ``;``.

    A signed number, with or without an extension, such as ``+1`` or ``-12.png``, is none: nothing that is called,
    looked up or linked to can follow from digits, letters and dots. It may look otherwise in a spreadsheet, as 007
    does; it runs nothing.
    """
    start = unicodedata.normalize("NFKC", cell.strip()[:1])
    return start != "" and start in _FORMULA and not _SIGNED_NUMBER.fullmatch(cell.strip())
