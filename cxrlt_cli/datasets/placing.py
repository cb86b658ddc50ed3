"""Where the films of a set are: each under the path at which it was found below the image folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from cxrlt_cli.data.finder import Finder, Found, Progress
from cxrlt_cli.data.listing import stem_of
from cxrlt_cli.datasets.raw_table import texts
from cxrlt_cli.datasets.records import Records
from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.machine import num_cores

NO_FILM = "no film"


def placed(records: Records, folder: Path, missing: Literal["error", "leave-out"], progress: Progress) -> Records:
    """Records whose films are paths below ``folder``: as the set writes them, by name in any folder, in another format.

    Raises DataError where a film may be two files, is empty, or is not there and must be.
    """
    finder = Finder(folder, "follow", progress, num_cores())
    films = [str(film) for film in records.films]
    found = finder.find(lambda: [films])
    path_of = {film: _below(found, film, folder) for film in films if film not in found.lost}
    if found.absent:
        path_of |= _in_other_formats(finder, list(found.absent), folder, set(path_of.values()), found)
    faults = [*found.unclear.values(), *found.unusable.values()]
    if faults:
        more = f" and {len(faults) - 1:,} more" if len(faults) > 1 else ""
        raise DataError(f"{faults[0]}{more}.", "Name the films' own folder with --image-dir, or mend the files.")
    gone = [film for film in films if film not in path_of]
    if len(gone) == len(films):
        raise DataError(
            f"None of the {len(films):,} films is there, such as {films[0]}. {finder.lies_there()}",
            "Name the films' folder with --image-dir; or --missing keep: labels now, films later.",
        )
    if gone and missing == "error":
        raise DataError(
            f"{len(gone):,} of {len(films):,} films are not below {folder}: {_by_folder(gone)}.",
            "--missing leave-out leaves out their rows; --missing keep writes them, for films that come later.",
        )
    records = records.rows(np.array([film in path_of for film in films], bool), NO_FILM)
    return replace(records, films=texts(path_of[film] for film in records.films))


def _below(found: Found, film: str, folder: Path) -> str:
    return found.naming.path(film).relative_to(folder).as_posix()


def _in_other_formats(
    finder: Finder, films: Sequence[str], folder: Path, taken: set[str], found: Found
) -> dict[str, str]:
    """Films that lie there with another ending than the set's, such as PNG for JPEG."""
    stems = {stem_of(film): film for film in films}
    again = finder.find(lambda: [list(stems)])
    found.unclear |= again.unclear
    found.unusable |= again.unusable
    placed_now = {film: _below(again, stem, folder) for stem, film in stems.items() if stem not in again.lost}
    return {film: path for film, path in placed_now.items() if path not in taken}


def _by_folder(films: Sequence[str]) -> str:
    folders = Counter(str(PurePosixPath(film).parent) for film in films)
    if len(folders) > 50 or set(folders) == {"."}:
        return listed(list(films), 3)
    return listed([f"{number:,} of {folder}/" for folder, number in sorted(folders.items())], 5)
