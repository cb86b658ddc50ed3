"""Whose film it is: the column of patients, and what to do where there is none or its numbers were spoilt."""

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlt_cli.errors import DataError, listed
from cxrlt_cli.names import shown
from cxrlt_cli.tables.values import lost_digits, patient_of

LOST = (
    "A spreadsheet or pandas made a float of a long number: its last digits are gone, and different ones became the "
    "same. Take the column from the original file, as text (pandas: dtype=str; Excel: import it as text)."
)
_PATIENTS = re.compile(
    r"(deid|anon|anonymi[sz]ed)?(patient|subject|person|participant|case|mrn|pid)(s|id|ids|no|number|name)?"
)
_FRONT = re.compile(r"(\w*?\d[^_-]*)[_-].*")
_IN_IDS = re.compile(r"(^|[/\\_])(patient|subject|person|sub|pat|pt|p)[-_]?\d+[/\\_]", re.IGNORECASE)


def read_patients(
    frame: pd.DataFrame, where: str, id_column: str, patient_column: str, *, needs_patients: bool = True
) -> NDArray[np.object_]:
    """The patient of each film ``[N]``, in one spelling; each film's own id where there is none and none is needed.

    Raises DataError that names column and row: no such column, a patient that is empty, or one that lost its digits.
    """
    if patient_column not in frame.columns:
        if not needs_patients:
            return frame[id_column].to_numpy(object)
        has = listed(list(frame.columns), 8)
        raise DataError(
            f"{where} has no column '{patient_column}' (it has {has}).", hint_without(frame, id_column, patient_column)
        )
    cells = frame[patient_column]
    patients = np.array([patient_of(cell) for cell in cells], object)
    for row in np.flatnonzero(patients == "").tolist():
        held = f"holds {shown(cells.iloc[row])}, which is no patient" if cells.iloc[row] else "is empty"
        raise DataError(
            f"{where}, row {frame.index[row]}: column '{patient_column}' {held}.",
            "Every film needs a patient, so that films of one patient stay together.",
        )
    if lost := lost_digits(cells):
        row = int(np.flatnonzero(cells.isin(list(lost)))[0])
        raise DataError(
            f"{where}, row {frame.index[row]}: column '{patient_column}' holds '{cells.iloc[row]}' as a patient.", LOST
        )
    return patients


def hint_without(frame: pd.DataFrame, id_column: str, patient_column: str) -> str:
    """The way out where a table has no such column: the column that looks like it, if one does."""
    if found := columns_of_patients(frame.columns):
        return f"Pass --patient-column {shown(found[0]) if ' ' in found[0] else found[0]}."
    if _stand_in(frame[id_column]):
        return (
            f"The patient seems to stand in '{id_column}', such as {shown(frame[id_column].iloc[0])}: write it into a "
            "column of its own, and name that with --patient-column."
        )
    if patient_column != "PatientID":
        return "Check --patient-column."
    return f"Pass --patient-column. Where every film is of another patient, --patient-column {id_column} will do."


def _stand_in(ids: Iterable[str]) -> bool:
    """Whether patients seem to stand in ids: as folders, or as numbers in front, which several films share."""
    fronts: Counter[str | None] = Counter()
    for film in ids:
        if _IN_IDS.search(film):
            return True
        front = _FRONT.fullmatch(re.split(r"[/\\]", film)[-1])
        fronts[front[1] if front else None] += 1
    return len(fronts) > 1 and any(number > 1 for front, number in fronts.items() if front)


def columns_of_patients(names: Iterable[str]) -> list[str]:
    """The columns that say whose film it is, by their names; such as ``Patient ID`` and ``subject_id``."""
    return [name for name in names if _PATIENTS.fullmatch(re.sub(r"[\W_]", "", name).lower())]
