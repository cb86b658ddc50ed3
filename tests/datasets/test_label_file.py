import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlt_cli.datasets.label_file import LabelFile, parts_in, shared_patients
from cxrlt_cli.datasets.records import UNLABELLED, Records, texts
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
    added = LabelFile.of(records(films=["c.png"], patients=["1"], views=["PA"]), base).after(base, "nih")
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
        LabelFile.of(records(films=films), Path("out.csv"))


def test_parts_and_who_is_in_two() -> None:
    films = ["a", "b", "c", "d"]
    told = records(films=films, patients=["1", "1", "2", "2"], parts=["test", "train", "val", ""])
    assert parts_in(told) == ["train", "val", "test"]
    assert shared_patients(told) == ["1"]
    assert shared_patients(records(films=films)) == []
