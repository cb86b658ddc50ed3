"""The folder that the films of a CSV lie in."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from cxrlt_cli.data.finder import Finder, Progress
from cxrlt_cli.errors import DataError, OptionError
from cxrlt_cli.machine import num_cores
from cxrlt_cli.names import meant_path

SOME = 256  # films that are asked for in each folder, to choose among two


def finder(
    csv: Path, image_dir: Path | None, ids: Sequence[str], links: Literal["follow", "refuse"], progress: Progress
) -> Finder:
    """For the films in ``image_dir``; or in the CSV's folder or ``images/`` beside the CSV, whichever has more of them.

    Some of the ids are asked for in both, as they are written; then in other ways; then all of them, by what is deeper
    in the folders and in headers, in ``images/`` first: what else lies beside the CSV need not be read.
    """
    if image_dir is not None:
        if not image_dir.is_dir():
            raise OptionError(f"--image-dir {image_dir} is not a folder.{meant_path(image_dir)}")
        return Finder(image_dir, links, progress, num_cores())
    folders = [csv.parent, *([csv.parent / "images"] if (csv.parent / "images").is_dir() else [])]
    finders = [Finder(folder, links, progress, num_cores()) for folder in folders]
    some = [ids[place] for place in np.linspace(0, len(ids) - 1, min(len(ids), SOME)).astype(int)]
    for number_in in (Finder.number_as_written, Finder.number_near):
        numbers = [number_in(one, some) for one in finders]
        if any(numbers):
            return finders[numbers.index(max(numbers))]
    for one in reversed(finders):
        if one.has_any(ids):
            return one
    other = next((film for one in finders for film in one.listing.alike(PurePosixPath(ids[0]).name)), None)
    ending = f"{other} differs from '{ids[0]}' in its ending alone: leave endings off the ids." if other else ""
    raise DataError(
        f"Of the films of {csv}, such as '{ids[0]}', none is in {csv.parent} or in {csv.parent / 'images'}.",
        f"{finders[-1].lies_there()}\n{ending or 'Pass the folder with --image-dir.'}",
    )
