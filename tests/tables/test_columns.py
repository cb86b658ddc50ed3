import pandas as pd
import pytest

from cxrlt_cli.tables.columns import Kind, judged, warnings_about_ignored, words_of


@pytest.mark.parametrize(("name", "cells", "kind"), [
    ("Effusion", "1 NULL NULL NULL", "finding"),
    ("Effusion", "1 -1 -1 -1", "finding"),
    ("Rare sign", "-1 -1 ", "finding"),
    ("Rare sign", "True False False", "finding"),
    ("Rare sign", "Y N N", "finding"),  # with a word: single letters are not guessed
    ("Rare sign", "x  ", "finding"),
    ("Hernia", "mild none severe", "finding"),
    ("edema", "mild none severe", "finding"),
    ("COVID", "1 0 1", "finding"),
    ("Malposition", "1 0 1", "finding"),
    ("Follow-up #", "0 1 0", "metadata"),
    ("PixelRepresentation_DICOM", "0 0 1", "metadata"),
    ("subject_id", "1 1 0", "metadata"),
    ("Female", "1 1 0", "metadata"),
    ("AP/PA", "1 1 0", "metadata"),
    ("StudyID", "1 1 0", "metadata"),
    ("Unnamed: 0", "0 1 0", "metadata"),
    ("patient_report_date_order", "1 1 0", "metadata"),
    ("SeriesNumber", "1 1 1", "metadata"),
    ("Catheter position", "1 0 1", "finding"),
    ("Pediatric", "No No PED", "other"),
    ("Visits", "0 1 0 1 0 7", "other"),
    ("Grade", "0 1 0 1 2 3 4", "other"),
    ("Side", "left right left", "other"),
    ("Finding Labels", "Effusion|Mass Mass", "lists"),
    ("Labels", "['a','b'] []", "lists"),
    ("labelCUIS", "['C1''C2'] []", "lists"),
    ("class_name", "Cardiomegaly Mass x", "lists"),
    ("findings", "Effusion,Mass Mass", "lists"),
    ("Remark", "seen,twice unclear", "other"),
    ("Remark", "  ", "empty"),
    ("(column 1)", "0 1 1", "nameless"),
])  # fmt: skip
def test_what_a_column_is(name: str, cells: str, kind: Kind) -> None:
    column = judged(pd.Series(cells.split(" "), dtype=object), name)
    assert column.kind == kind
    assert kind == "empty" or column.holds


def test_a_finding_that_is_asked_for_is_one() -> None:
    cells = pd.Series(["0", "M", "M"], dtype=object)
    assert judged(cells, "Sex", asked=True).strange == (("M", 2),)
    assert judged(pd.Series(["0", "1"], dtype=object), "Mass", asked=False).kind == "other"


def test_what_could_be_a_finding_is_not_passed_over_without_a_word() -> None:
    names = {"Follow-up #": "0 1", "Labels": "a|b c", "Side": "left right"}
    columns = [judged(pd.Series(cells.split(), dtype=object), name) for name, cells in names.items()]
    binary, lists = warnings_about_ignored(columns)
    assert "Follow-up #" in binary
    assert "Labels holds lists, with '|' between names (a|b, c)" in lists


def test_names_are_taken_apart() -> None:
    assert words_of("SOPInstanceUID") == {"sop", "instance", "uid"}
    assert words_of("PatientSex_DICOM") == {"patient", "sex", "dicom"}
    assert words_of("COVID") == {"covid"}
