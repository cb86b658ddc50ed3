"""Columns of sets from a hub: lists of findings, columns of 0 and 1, numbers of classes."""

from pathlib import Path

import pytest

from cxrlt_cli.datasets.hub_columns import Labelled, told_by
from cxrlt_cli.datasets.raw_table import RawTable, texts
from cxrlt_cli.datasets.records import BLANK, UNCERTAIN, UNLABELLED, Records
from cxrlt_cli.errors import DataError
from tests.datasets.makers import states


def told(
    *tables: dict[str, list[str]],
    classes: dict[str, tuple[str, ...]] | None = None,
    patient_column: str | None = None,
    list_column: str | None = None,
) -> Records:
    """Records of tables of which ``file_name`` numbers itself."""
    parts = []
    number = 0
    for table in tables:
        rows = len(next(iter(table.values())))
        films = texts(str(row) for row in range(number, number + rows))
        number += rows
        columns = {"file_name": films, **{name: texts(cells) for name, cells in table.items()}}
        parts.append(Labelled(RawTable(Path("metadata.csv"), columns), films, None, classes or {}))
    return told_by(parts, "file_name", patient_column, list_column)


@pytest.mark.parametrize(
    "cells",
    [['["Mass", "Edema"]', "[]", ""], ["['Mass', 'Edema']", "[]", "nan"], ['["Mass", "Edema", null]', "[]", ""]],
)
def test_a_list_says_what_is_there_and_that_the_rest_is_not(cells: list[str]) -> None:
    records = told({"findings": cells})
    assert records.findings == ("Edema", "Mass")
    assert states(records) == {"0": [1, 1], "1": [0, 0], "2": [BLANK, BLANK]}


def test_names_between_commas_are_a_list_too() -> None:
    assert states(told({"findings": ["Edema,Mass", "Mass", ""]})) == {"0": [1, 1], "1": [0, 1], "2": [BLANK, BLANK]}


def test_columns_of_0_and_1_keep_what_they_do_not_say() -> None:
    records = told({"Edema": ["1", "0", "-1", ""], "caption": ["a film", "of", "a", "chest"]})
    assert records.findings == ("Edema",)
    assert states(records) == {"0": [1], "1": [0], "2": [UNCERTAIN], "3": [BLANK]}
    assert records.notes == ("Not read: caption.",)


def test_a_column_of_its_own_says_more_than_the_list() -> None:
    records = told({"findings": ['["Edema"]', "[]", '["Mass"]'], "Edema": ["1", "0", "0"], "Mass": ["0", "", ""]})
    assert states(records) == {"0": [1, 0], "1": [0, BLANK], "2": [0, 1]}
    with pytest.raises(DataError, match="row 2: column 'Edema' holds 0, but the list of findings says 1"):
        told({"findings": ['["Edema"]'], "Edema": ["0"]})


def test_what_one_table_lacks_is_unlabelled_there() -> None:
    records = told({"findings": ['["Edema"]']}, {"Mass": ["1"]})
    assert records.findings == ("Edema", "Mass")
    assert states(records) == {"0": [1, UNLABELLED], "1": [UNLABELLED, 1]}


def test_numbers_of_classes_become_names_in_their_order() -> None:
    records = told({"label": ["1", "0", "-1"]}, classes={"label": ("Normal", "Mass, large", "Edema")})
    assert records.findings == ("Normal", "Mass, large", "Edema")
    assert states(records) == {"0": [0, 1, 0], "1": [1, 0, 0], "2": [BLANK] * 3}


def test_numbers_in_lists_become_names() -> None:
    records = told({"labels": ["[0, 2]", "[]"]}, classes={"labels": ("Edema", "Mass", "Nodule")})
    assert states(records) == {"0": [1, 0, 1], "1": [0, 0, 0]}


def test_classes_that_mean_yes_and_no_are_a_finding() -> None:
    records = told({"Edema": ["1", "0"]}, classes={"Edema": ("absent", "present")})
    assert (records.findings, states(records)) == (("Edema",), {"0": [1], "1": [0]})


@pytest.mark.parametrize(
    ("column", "cells", "classes", "words"),
    [
        ("label", ["0", "1"], {}, "nothing says of which classes"),
        ("label", ["0", "7"], {}, "nothing says of which classes"),
        ("labels", ["[0, 7]"], {}, "nothing says of which classes"),
        ("label", ["2"], {"label": ("Normal", "Sick")}, "'2', which is no number of its 2 classes"),
        ("label", ["Sick"], {"label": ("Normal", "Sick")}, "'Sick', which is no number"),
        ("caption", ["a film", "of a chest"], {}, "no column of 0 and 1"),
    ],
)
def test_nothing_is_guessed(column: str, cells: list[str], classes: dict[str, tuple[str, ...]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        told({column: cells}, classes=classes)


def test_of_several_lists_one_must_be_named() -> None:
    table = {"findings": ["['Edema']"], "diagnosis": ["['Mass']"]}
    with pytest.raises(DataError, match="more than one column names findings: findings, diagnosis"):
        told(table)
    records = told(table, list_column="diagnosis")
    assert (records.findings, records.notes) == (("Mass",), ("Not read: findings.",))
    with pytest.raises(DataError, match="no column 'labels'"):
        told(table, list_column="labels")


def test_who_and_how_are_told_where_they_stand() -> None:
    table = {"patient_id": ["p1"], "Sex": ["female"], "age": ["063Y"], "View_Position": ["lateral"], "split": ["dev"]}
    records = told({**table, "Edema": ["1"]})
    about = (records.patients, records.sexes, records.ages, records.views, records.parts)
    assert [None if column is None else column.tolist() for column in about] == [["p1"], ["F"], ["63"], ["L"], ["val"]]
    assert records.findings == ("Edema",)
    named = told({"who": ["q7"], "Edema": ["1"]}, patient_column="who").patients
    assert named is not None
    assert named.tolist() == ["q7"]
    with pytest.raises(DataError, match="no column 'whom'"):
        told({"who": ["q7"], "Edema": ["1"]}, patient_column="whom")
