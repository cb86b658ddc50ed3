"""Which rows ``--where`` takes: by the same rules whether a table is read whole or row by row."""

from pathlib import Path

import pandas as pd
import pytest

from cxrlt_cli.config.conditions import parse
from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.chosen import Chosen, count, holds, number_in, rows_with_cells
from cxrlt_cli.tables.label_table import read_ids, read_labels, stream_ids
from tests.helpers import write_csv

ROWS = [
    ["a.png", "PA", "58", "M", "1"],
    ["b.png", "AP", "017Y", "F", "0"],
    ["c.png", "", "70", "F", "1"],
    ["d.png", "LL", "", "M", "0"],
    ["e.png", "PA", "12,5", "n/a", "1"],
]


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "labels.csv", ["ImageID", "ViewPosition", "Patient Age", "PatientSex", "Mass"], ROWS)


@pytest.mark.parametrize(
    ("where", "taken"),
    [
        ("ViewPosition in (PA, AP)", "abe"),
        ("ViewPosition not in (PA, AP)", "d"),  # of c it is not known
        ("not ViewPosition in (PA, AP)", "d"),
        ("ViewPosition == ''", "c"),
        ("ViewPosition != ''", "abde"),
        ("ViewPosition in (PA, '')", "ace"),
        ("'Patient Age' >= 18", "ac"),
        ("'Patient Age' < 17.5", "be"),
        ("'Patient Age' == 12.5", "e"),
        ("ViewPosition == PA and 'Patient Age' > 18", "a"),
        ("ViewPosition == PA or 'Patient Age' > 18", "ace"),  # c: true whatever its view
        ("ViewPosition == LL and 'Patient Age' > 18 or PatientSex == M", "ad"),
        ("Mass == 1 and PatientSex != F", "a"),
        ("ImageID == b.png", "b"),
    ],
)
def test_rows_that_are_taken(csv: Path, where: str, taken: str) -> None:
    chosen = Chosen(where=where)
    assert "".join(film[0] for film in read_ids(csv, chosen=chosen)) == taken
    assert "".join(film[0] for ids in stream_ids(csv, "ImageID", 2, chosen) for film in ids) == taken
    table = read_labels(csv, needs_patients=False, findings=["Mass"], chosen=chosen)
    assert "".join(film[0] for film in table.ids) == taken
    assert count(parse(where), rows_with_cells(csv, Chosen()), csv).number == len(taken)


def test_a_film_whose_cell_is_empty_is_counted_apart(csv: Path) -> None:
    taken = count(parse("ViewPosition != PA"), rows_with_cells(csv, Chosen()), csv)
    assert (taken.number, taken.total, taken.unknown) == (2, 5, 1)
    assert str(taken) == "2 of 5 rows (left out: 1 with an empty cell that decides)"


def test_what_is_named_and_never_there_is_told(csv: Path) -> None:
    taken = count(parse("ViewPosition in (PA, DX) or Mass == 01"), rows_with_cells(csv, Chosen()), csv)
    assert taken.never == ("ViewPosition DX",), "01 is 1"
    with pytest.raises(
        DataError, match=r"none of the rows of .*ViewPosition is PA 2, AP 1, \(empty\) 1, LL 1"
    ) as error:
        count(parse("ViewPosition == Pa"), rows_with_cells(csv, Chosen()), csv)
    assert error.value.hint == "Did you mean ViewPosition PA?"


def test_a_word_is_not_compared_with_a_number(csv: Path) -> None:
    for read in (read_ids, lambda path, chosen: list(stream_ids(path, "ImageID", chosen=chosen))):
        with pytest.raises(DataError, match="row 2: column 'ViewPosition' holds 'PA', which --where compares with 3"):
            read(csv, chosen=Chosen(where="ViewPosition > 3"))


def test_a_column_that_is_missing_is_told_with_the_nearest(csv: Path) -> None:
    with pytest.raises(DataError, match=r"--where: .* has no column 'PatientAge'") as error:
        read_ids(csv, chosen=Chosen(where="PatientAge > 3"))
    assert error.value.hint == "Did you mean Patient Age?"


def test_long_numbers_are_compared_to_their_last_digit() -> None:
    frame = pd.DataFrame(
        {"PatientID": ["310627813498576198745981327450918273451", "310627813498576198745981327450918273452"]}
    )
    taken = Chosen(where="PatientID == 310627813498576198745981327450918273451").rows_of(frame, Path("a.csv"))
    assert taken["PatientID"].tolist() == ["310627813498576198745981327450918273451"]


def test_films_that_are_left_out_by_id_and_parts_go_together(tmp_path: Path) -> None:
    rows = [["a", "train"], ["b", "train"], ["c", "val"]]
    csv = write_csv(tmp_path / "labels.csv", ["ImageID", "Split"], rows)
    chosen = Chosen(("train",), without=frozenset("a"))
    assert read_ids(csv, chosen=chosen).tolist() == ["b"]
    assert list(stream_ids(csv, "ImageID", chosen=chosen)) == [["b"]]


def test_kleenes_logic() -> None:
    values = {"t": "1", "f": "0", "u": ""}

    def value(text: str) -> bool | None:
        return holds(parse(" ".join(f"{word} == 1" if word in values else word for word in text.split())), values,
                     Path("a.csv"), 2)  # fmt: skip

    known = {"t": True, "f": False, "u": None}
    for one, a in known.items():
        assert value(f"not {one}") == (None if a is None else not a)
        for other, b in known.items():
            both = False if False in (a, b) else None if None in (a, b) else True
            any_ = True if True in (a, b) else None if None in (a, b) else False
            assert value(f"{one} and {other}") is both
            assert value(f"{one} or {other}") is any_


@pytest.mark.parametrize(
    ("cell", "number"), [("058Y", "58"), ("006M", "0.5"), ("1,5", "1.5"), ("-2", "-2"), ("58Y", None), ("", None)]
)
def test_numbers_and_ages(cell: str, number: str | None) -> None:
    found = number_in(cell)
    assert (None if found is None else str(found)) == number


def test_what_is_decided_already_is_compared_no_more(tmp_path: Path) -> None:
    """As the error over a word that is no number advises."""
    csv = write_csv(tmp_path / "a.csv", ["ImageID", "Age"], [["a", "unknown"], ["b", "20"], ["c", "3"]])
    with pytest.raises(DataError, match="holds 'unknown'") as error:
        read_ids(csv, chosen=Chosen(where="Age >= 18"))
    assert "Age != 'unknown' and ..." in str(error.value.hint)
    assert read_ids(csv, chosen=Chosen(where="Age != 'unknown' and Age >= 18")).tolist() == ["b"]
    assert read_ids(csv, chosen=Chosen(where="Age == 'unknown' or Age >= 18")).tolist() == ["a", "b"]


def test_cells_that_differ_in_case_alone_are_told(tmp_path: Path) -> None:
    rows = [["a", "PA"], ["b", "pa"], ["c", "Pa"], ["d", "pa"], ["e", "AP"]]
    csv = write_csv(tmp_path / "a.csv", ["ImageID", "View"], rows)
    taken = count(parse("View == PA"), rows_with_cells(csv, Chosen()), csv)
    assert taken.alike == ("View pa (2 rows) beside PA", "View Pa (1 rows) beside PA")
    assert count(parse("View in (PA, pa, Pa)"), rows_with_cells(csv, Chosen()), csv).alike == ()
    with pytest.raises(DataError) as error:
        count(parse("ImageID == a and View == AP"), rows_with_cells(csv, Chosen()), csv)
    assert error.value.hint == "", "every value is there, and no row has both"
