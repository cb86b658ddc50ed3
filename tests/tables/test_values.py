import math
import string

import pytest

from cxrlt_cli.tables.values import label_of, lost_digits, meaning_of, number_of, patient_of

ONES = [
    "1",
    "1.0",
    "1.00",
    "1.",
    "1,0",
    "+1",
    "01",
    "1e0",
    "1.0E+00",
    "TRUE",
    "True",
    "true",
    "yes",
    "YES",
    "Positive",
    "pos",
]
NONES = ["", "nan", "NaN", "NA", "N/A", "n/a", "NULL", "null", "None", "<NA>", "#N/A", "NaT"]


@pytest.mark.parametrize(("cells", "label"), [
    (ONES, 1.0), (["0", "0.0", "0.", "-0", "0,00", ".0", "FALSE", "no", "negative", "Neg", "absent"], 0.0),
])  # fmt: skip
def test_labels_are_what_they_plainly_mean(cells: list[str], label: float) -> None:
    assert {cell: label_of(cell) for cell in cells} == dict.fromkeys(cells, label)


def test_missing_is_not_labelled() -> None:
    assert all(math.isnan(label_of(cell) or 0.0) for cell in NONES)
    assert [meaning_of(cell) for cell in NONES] == ["missing"] * len(NONES)


def test_single_letters_and_other_words_are_no_labels() -> None:
    others = [
        *string.ascii_letters,
        "2",
        "0.5",
        "1.5",
        "10",
        "maybe",
        "unknown",
        "?",
        "1 0",
        "1_0",
        "١",
        "inf",
        "1e999",
        "x" * 99,
    ]
    assert [cell for cell in others if label_of(cell) is not None] == []
    assert number_of("1e999") is None
    assert {meaning_of(cell) for cell in ("-1", "-1.0", "-1,0", "-1.")} == {"uncertain"}


def test_a_patient_is_one_however_the_number_is_spelled() -> None:
    assert {patient_of(cell) for cell in ("150", "150.0", "00000150", "150.", "150,0", "150.00")} == {"150"}
    for cell in (
        "P00150",
        "patient00150",
        "0",
        "1500",
        "15.01",
        "1,000",
        "1.000",
        "a",
        "313257652463271541323716421675467814123",
    ):
        assert patient_of(cell) == cell
    assert {patient_of(cell) for cell in (*NONES, "-")} == {""}
    assert meaning_of("-") == "other"


def test_numbers_that_lost_their_digits_are_known() -> None:
    spoilt = ["3.24e+38", "1.5E+10", "9,77E+38", "9.77492693866205e+38"]
    fine = ["150", "1e5", "12e4", "00000000000000000000000000e12345", "3.24", "1.2.840.113619", "e+38", "3.24e-05"]
    assert lost_digits(spoilt + fine) == set(spoilt)
    padded = [f"{number}{'0' * 24}" for number in (977492693866205, 978216703049035)]
    assert lost_digits(padded) == set(padded), "a spreadsheet keeps 15 digits and writes zeros for the others"
    assert lost_digits([*padded, "977492693866204969338775380485370248123"]) == set(), "then they are real"
