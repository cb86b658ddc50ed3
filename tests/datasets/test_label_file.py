import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlt_cli.datasets.label_file import LabelFile, parts_in, shared_patients
from cxrlt_cli.datasets.raw_table import texts
from cxrlt_cli.datasets.records import UNLABELLED, Records
from cxrlt_cli.errors import DataError
from tests.helpers import write_csv

ROW = st.tuples(st.text(alphabet='ab,"é ', min_size=1, max_size=4), st.sampled_from([1, 0, UNLABELLED]))


@given(st.lists(ROW, min_size=1, max_size=8))
def test_what_is_written_is_what_a_csv_reader_reads(rows: list[tuple[str, int]]) -> None:
    films = [f"{number}.png" for number in range(len(rows))]
    about = {"ImageID": texts(films), "PatientID": texts(name for name, _ in rows)}
    states = np.array([[state, 1] for _, state in rows], np.int8)
    read = list(csv.DictReader(io.StringIO(LabelFile(about, ("X", "Y, or Z"), states).text())))
    cells = {1: "1", 0: "0", UNLABELLED: ""}
    assert read == [
        {"ImageID": film, "PatientID": name, "X": cells[state], "Y, or Z": "1"}
        for film, (name, state) in zip(films, rows, strict=True)
    ]


def records(**columns: list[str]) -> Records:
    number = len(next(iter(columns.values())))
    held = {name: texts(cells) for name, cells in columns.items()}
    return Records(findings=("X",), states=np.zeros((number, 1), np.int8), **held)  # type: ignore[arg-type]


def test_appended_films_keep_the_columns_that_they_do_not_know(tmp_path: Path) -> None:
    base = write_csv(
        tmp_path / "a.csv",
        ("ImageID", "PatientID", "scanner", "Y", "X"),
        [("a.png", "1", "old", "1", ""), ("b.png", "2", "new", "", "0")],
    )
    added = LabelFile.of(records(films=["c.png"], patients=["1"], views=["PA"])).after(base, "", "nih")
    assert added.text().splitlines() == [
        "ImageID,PatientID,ViewPosition,scanner,Y,X",
        "a.png,1,,old,1,",
        "b.png,2,,new,,0",
        "c.png,nih:1,PA,,,0",
    ]


@pytest.mark.parametrize(
    ("films", "said"),
    [
        (["a.png", "a.png"], "names the film a.png more than once"),
        (["/a.png"], "leaves the image folder"),
        (["=a.png"], "would run as a formula"),
        ([""], "is empty"),
    ],
)
def test_ids_that_no_command_would_read(films: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        LabelFile.of(records(films=films))


def test_parts_and_who_is_in_two() -> None:
    films = ["a", "b", "c", "d"]
    told = records(films=films, patients=["1", "1", "2", "2"], parts=["test", "train", "val", ""])
    assert parts_in(told.parts) == ["train", "val", "test"]
    assert shared_patients(told.owners, told.parts) == ["1"]
    assert shared_patients(texts(films), None) == []


def test_a_base_that_pandas_saved_keeps_its_findings(tmp_path: Path) -> None:
    """Of 1 and an empty cell pandas makes 1.0 and nothing."""
    base = write_csv(tmp_path / "a.csv", ("ImageID", "PatientID", "X"), [("a.png", "1", "1.0"), ("b.png", "2", "")])
    added = LabelFile.of(records(films=["c.png"], patients=["1"])).after(base, "", "")
    assert added.text().splitlines() == ["ImageID,PatientID,X", "a.png,1,1", "b.png,2,", "c.png,1,0"]


def test_one_finding_in_two_spellings_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    base = write_csv(tmp_path / "a.csv", ("ImageID", "PatientID", "x"), [("a.png", "1", "1")])
    with pytest.raises(DataError, match=r"has the finding x, and this set X\.\n.*--names common"):
        LabelFile.of(records(films=["c.png"])).after(base, "", "")
    base = write_csv(tmp_path / "b.csv", ("ImageID", "PatientID", "X"), [("a.png", "1", "maybe")])
    with pytest.raises(DataError, match="holds more than 0, 1 and blanks"):
        LabelFile.of(records(films=["c.png"])).after(base, "", "")


def test_patients_that_are_blank_or_lost_their_digits() -> None:
    with pytest.raises(DataError, match=r"The film b\.png has no patient"):
        LabelFile.of(records(films=["a.png", "b.png"], patients=["1", ""]))
    with pytest.raises(DataError, match=r"has 3\.2e\+38 as a patient"):
        LabelFile.of(records(films=["a.png"], patients=["3.2e+38"]))


def test_a_base_that_says_of_no_patient_gives_each_film_its_own(tmp_path: Path) -> None:
    base = write_csv(tmp_path / "a.csv", ("ImageID", "X"), [("a.png", "1")])
    added = LabelFile.of(records(films=["c.png"], patients=["1"])).after(base, "", "nih")
    assert list(added.about["PatientID"]) == ["a.png", "nih:1"]
