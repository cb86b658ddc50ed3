"""What lies below the folders of a set that has no label file, and which parts folders are called after."""

import os
from collections.abc import Sequence
from pathlib import Path

from cxrlt_cli.data.listing import Listing, ending_of
from cxrlt_cli.datasets.raw_table import Texts, texts
from cxrlt_cli.datasets.records import part_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import OptionError

MASKS = frozenset(("mask", "masks", "manualmask"))  # folders whose pictures are called as films are


def files_below(files: SetFiles) -> list[str]:
    """Every file below the folders that are SOURCE, by its path below the image folder, in order.

    Raises OptionError where SOURCE is a file, or does not lie below the image folder.
    """
    if files.given:
        raise OptionError(
            f"SOURCE {files.given[0]} is a file; the labels of such a set are names of folders or of films.",
            "Name the folder of the set.",
        )
    root = absolute(files.image_dir)
    found: set[str] = set()
    for folder in files.folders:
        top = absolute(folder)
        if root.is_relative_to(top):
            top = root
        elif not top.is_relative_to(root):
            raise OptionError(
                f"SOURCE {folder} does not lie below --image-dir {files.image_dir}, below which ids are paths.",
                "Name a folder that holds the set.",
            )
        found.update(below(top, root, path) for path in Listing(top).files())
    return sorted(path for path in found if "__MACOSX" not in path.split("/"))


def films_of(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if ending_of(path.rpartition("/")[2])]


def is_mask(film: str) -> bool:
    return any(folder.lower() in MASKS for folder in film.split("/")[:-1])


def absolute(path: Path) -> Path:
    """Links stay as they are typed: a set may be one, in the folder of all sets."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def below(folder: Path, root: Path, path: str) -> str:
    """A path in ``folder`` as one below ``root``, which holds the folder."""
    return (folder.relative_to(root) / path).as_posix()


def parts_by_folder(films: Sequence[str]) -> Texts | None:
    """The parts by the lowest folder that is called after one; None where none is."""
    parts = [
        next((part for folder in reversed(film.split("/")[:-1]) if (part := part_of(folder))), "") for film in films
    ]
    return texts(parts) if any(parts) else None
