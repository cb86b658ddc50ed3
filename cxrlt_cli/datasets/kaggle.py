"""Two sets of Kaggle: RSNA's pneumonia, a row a box, and SIIM-ACR's pneumothorax, a row a mask.

Shih et al., Radiology: AI 2019; the SIIM-ACR Pneumothorax Segmentation challenge, 2019.
"""

import numpy as np
from numpy.typing import NDArray

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.candid import masks
from cxrlt_cli.datasets.raw_table import RawTable, Texts, distinct, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import FROM_NIH, Records, states_of
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError, listed

RSNA, SIIM = "stage_2_train_labels.csv", ("train-rle.csv", "stage_2_train.csv")


def read_rsna(files: SetFiles, options: DataImportOptions) -> Records:
    """26,684 films, of NIH's; ``Lung Opacity`` where a box is drawn. ``patientId`` is the film."""
    table = _table(files, "rsna", "Target", RSNA)
    require_columns(table, ["patientId", "Target"], "rsna")
    states = states_of(table, ["Target"])[:, 0]
    if (states < 0).any():
        row = int(np.flatnonzero(states < 0)[0])
        raise DataError(f"{table.where(row)}: column 'Target' holds {table['Target'][row]!r}, neither 0 nor 1.")
    films, positive = _any_row(table["patientId"], states == 1)
    return Records(
        texts(f"stage_2_train_images/{film}.dcm" for film in films),
        ("Lung Opacity",),
        positive.astype(np.int8)[:, None],
        patients=texts(films),
        knows_patients=False,
        rows_read=len(table),
        left_out=_further(table, films),
        notes=(FROM_NIH,),
    )


def read_siim(files: SetFiles, options: DataImportOptions) -> Records:
    """12,047 films, of NIH's; -1 says that there is no pneumothorax, anything else is its mask."""
    table = _table(files, "siim", "EncodedPixels", *SIIM)
    require_columns(table, ["ImageId", "EncodedPixels"], "siim")
    films, positive = _any_row(table["ImageId"], masks(table))
    return Records(
        texts(f"{film}.dcm" for film in films),
        ("Pneumothorax",),
        positive.astype(np.int8)[:, None],
        patients=texts(films),
        knows_patients=False,
        studies=_studies(films, files) if files.looks_for_films else None,
        rows_read=len(table),
        left_out=_further(table, films),
        notes=(FROM_NIH,),
    )


def _table(files: SetFiles, kind: str, column: str, *patterns: str) -> RawTable:
    if files.given:
        tables = [read_raw(path) for path in files.given]
        for table in tables:
            require_columns(table, [column], kind)
        if len(tables) > 1:
            raise DataError(f"{listed(files.given)}: the labels of {kind} are one file.", "Name the one that is meant.")
        return tables[0]
    path = files.single(f"label file of {kind}", *patterns)
    if path is None:
        raise files.absent(kind, patterns[0])
    return read_raw(path)


def _any_row(films: Texts, positive: NDArray[np.bool_]) -> tuple[list[str], NDArray[np.bool_]]:
    """Films in their first rows' order, and whether any row of a film is positive."""
    codes, values = distinct(films)
    return values, np.bincount(codes, positive, minlength=len(values)) > 0


def _further(table: RawTable, films: list[str]) -> dict[str, int]:
    return {"further rows of a film": len(table) - len(films)} if len(table) > len(films) else {}


def _studies(films: list[str], files: SetFiles) -> Texts:
    """The folder of the study, two above the film: ``<study>/<series>/<film>.dcm``."""
    study_of = {}
    for path in files.films:
        *above, name = path.split("/")
        if len(above) >= 2:
            study_of[name.removesuffix(".dcm")] = above[-2]
    return texts(study_of.get(film, "") for film in films)
