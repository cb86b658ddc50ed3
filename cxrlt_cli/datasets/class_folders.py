"""Sets without a label file: a folder a class, or a label in each film's name.

Chowdhury et al., IEEE Access 2020 (COVID-19 Radiography); Kermany et al., Cell 2018.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.data.listing import stem_of
from cxrlt_cli.datasets import named_films
from cxrlt_cli.datasets.picture_files import absolute, files_below, films_of, is_mask, parts_by_folder
from cxrlt_cli.datasets.raw_table import Texts, distinct, texts
from cxrlt_cli.datasets.records import Records, part_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, listed

COPIES, NO_FILMS = "a second copy of the tree", "masks"
COVID = {"COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"}
_PERSON = re.compile(r"(person\d+)_(?:bacteria|virus)_\d+")


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """The films below the folder: of the class that they lie in, or as their names say."""
    paths = files_below(files)
    pictures = films_of(paths)
    films = [film for film in pictures if not is_mask(film)]
    copies = _copies(films, absolute(files.image_dir).name)
    left_out = {NO_FILMS: len(pictures) - len(films), COPIES: len(copies)}
    films = [film for film in films if film not in copies]
    if raw := named_films.unconverted(paths, films):
        left_out[named_films.UNCONVERTED] = len(raw)
        pictures += raw
    if not films:
        raise DataError(f"{listed(files.folders)} holds no film: no PNG, JPEG or DICOM.", "Name the folder of the set.")
    named = all(named_films.is_named(film) for film in films)
    records = named_films.read_names(films, files) if named else read_classes(films)
    gone = {reason: number for reason, number in left_out.items() if number}
    return replace(records, rows_read=len(pictures), left_out=gone)


def read_classes(films: Sequence[str]) -> Records:
    """Films by the folder above them, or above ``images/``: 1 for that class, 0 for all others."""
    codes, names = distinct(texts(_class_of(film) for film in films))
    if len(names) == 1:
        raise DataError(
            f"All {len(films):,} films lie in folders called {names[0]}: no other class.",
            "Name the folder that holds a folder for each class.",
        )
    folded = Counter(name.casefold() for name in names)
    if alike := sorted(name for name in names if folded[name.casefold()] > 1):
        raise DataError(f"Folders {listed(alike)} are one class but for capitals.", "Call them by one name.")
    order = np.argsort(np.array(names, object))
    states = (codes[:, None] == order[None, :]).astype(np.int8)
    patients, notes = _patients(films)
    if set(names) == COVID:
        notes.append("The films come from other sets, RSNA, PadChest and Kermany's among them: never test on those.")
    return Records(
        texts(films),
        tuple(names[place] for place in order),
        states,
        patients=patients,
        parts=parts_by_folder(films),
        rows_read=len(films),
        notes=("A folder is a class: 1 for its own films, 0 for those of the others.", *notes),
        is_official=False,  # anybody sorts films into train and test
    )


def _class_of(film: str) -> str:
    folders = film.split("/")[:-1]
    if folders and folders[-1].lower() == "images":
        folders.pop()
    if not folders:
        raise DataError(f"The film {film} lies in no folder that could be its class.", "Name the folder above.")
    if part_of(folders[-1]):
        raise DataError(
            f"The film {film}: the folder above it is a part, {folders[-1]}, not a class.",
            "Films lie in PART/CLASS/ or in CLASS/.",
        )
    return folders[-1]


def _copies(films: Sequence[str], top: str) -> set[str]:
    """Films of a tree that lies in itself once more: ``chest_xray/chest_xray/train/`` beside ``chest_xray/train/``."""
    known = set(films)

    def is_copy(film: str) -> bool:
        parts = [top, *film.split("/")]
        twice = [place for place in range(1, len(parts) - 1) if parts[place] == parts[place - 1]]
        return any("/".join([*parts[1:place], *parts[place + 1 :]]) in known for place in twice)

    return {film for film in films if is_copy(film)}


def _patients(films: Sequence[str]) -> tuple[Texts | None, list[str]]:
    """Kermany's, by the names of films; the numbers begin anew in ``test``, and go on from ``train`` to ``val``."""
    patients = []
    unknown = 0
    for film in films:
        found = _PERSON.fullmatch(stem_of(film.rpartition("/")[2]))
        is_test = any(part_of(folder) == "test" for folder in film.split("/")[:-1])
        patients.append(film if found is None else f"test/{found[1]}" if is_test else found[1])
        unknown += found is None
    if unknown == len(films):
        return None, []
    note = (
        f"The names of {unknown:,} of {len(films):,} films tell no patient: each is its own, and parts may share one."
    )
    return texts(patients), [note] if unknown else []
