"""Sets of boxes, of which the classes alone are labels: ChestX-Det10 and its successor, Object-CXR.

Liu et al., arXiv:2006.10550 (ChestX-Det10); Lian et al., IEEE TMI 2021 (ChestX-Det); JF Healthcare, MIDL 2020.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrlt_cli.config import DataImportOptions
from cxrlt_cli.datasets.raw_table import RawTable, Texts, distinct, raw_header, read_raw, require_columns, texts
from cxrlt_cli.datasets.records import FROM_NIH, Records, joined, part_of_file, states_of_lists
from cxrlt_cli.datasets.set_files import SetFiles
from cxrlt_cli.errors import DataError
from cxrlt_cli.names import meant, shown

TEN = ("Atelectasis", "Calcification", "Consolidation", "Effusion", "Emphysema", "Fibrosis", "Fracture", "Mass",
       "Nodule", "Pneumothorax")  # fmt: skip
THIRTEEN = (*TEN, "Cardiomegaly", "Diffuse Nodule", "Pleural Thickening")
DET, OBJECT = ("file_name", "syms"), ("image_name", "annotation")
_OBJECTS = re.compile(r"[0-2]( -?\d+(\.\d+)?){4,}(;[0-2]( -?\d+(\.\d+)?){4,})*")


def read(files: SetFiles, options: DataImportOptions) -> Records:
    """A film shows what a box is drawn around, and nothing else; the parts are files."""
    paths = files.given or [path for path in files.named("*.json", "*.csv") if _is_of_boxes(path)]
    if not paths:
        raise files.absent("boxes", "train.json (ChestX-Det10) or train.csv (Object-CXR)")
    tables = [read_raw(path) for path in paths]
    of_objects = [OBJECT[0] in table for table in tables]
    if any(of_objects) != all(of_objects):
        raise DataError(f"{paths[0].parent} holds label files of two sets.", "Name the files of one.")
    if all(of_objects):
        return joined([_of_objects(table) for table in tables])
    return _of_findings(tables)


def _is_of_boxes(path: Path) -> bool:
    try:
        header = raw_header(path)
    except DataError:  # another file of the set, or of somebody else
        return False
    return any(all(name in header for name in columns) for columns in (DET, OBJECT))


def _of_findings(tables: Sequence[RawTable]) -> Records:
    """ChestX-Det: a list of the boxes' classes a film, of ten or of thirteen."""
    listed = []
    for table in tables:
        require_columns(table, DET, "boxes")
        codes, cells = distinct(table["syms"])
        listed.append(
            (table, codes, [_classes(cell, table, int(np.argmax(codes == n))) for n, cell in enumerate(cells)])
        )
    held = {name for _, _, lists in listed for names in lists for name in names}
    findings = TEN if held <= set(TEN) else THIRTEEN
    return joined(
        [
            Records(
                table["file_name"],
                findings,
                states_of_lists(lists, codes, findings),
                parts=_part(table),
                rows_read=len(table),
                notes=(FROM_NIH,),
            )
            for table, codes, lists in listed
        ]
    )


def _classes(cell: str, table: RawTable, row: int) -> list[str]:
    try:
        names = json.loads(cell)
    except ValueError:
        names = None
    if not isinstance(names, list):
        raise DataError(f"{table.where(row)}: 'syms' holds {shown(cell)}, which is no list.")
    for name in names:
        if name not in THIRTEEN:
            raise DataError(
                f"{table.where(row)}: 'syms' lists {shown(str(name))}, which is no class of ChestX-Det."
                f"{meant(str(name), THIRTEEN)}"
            )
    return names


def _of_objects(table: RawTable) -> Records:
    """Object-CXR: a box, an ellipse or a polygon around each foreign object; an empty cell where there is none."""
    require_columns(table, OBJECT, "boxes")
    codes, cells = distinct(table["annotation"])
    for number, cell in enumerate(cells):
        if cell and not _OBJECTS.fullmatch(cell):
            row = int(np.argmax(codes == number))
            raise DataError(
                f"{table.where(row)}: 'annotation' holds {shown(cell)}, such as '0 x1 y1 x2 y2;...' is not."
            )
    states = np.array([bool(cell) for cell in cells], np.int8)[codes][:, None]
    return Records(table["image_name"], ("Foreign object",), states, parts=_part(table), rows_read=len(table))


def _part(table: RawTable) -> Texts | None:
    """The part that a file is called after: ``train.json``, ``ChestX_Det_test.json``, ``dev.csv``."""
    part = part_of_file(table.path)
    return texts([part] * len(table)) if part else None
