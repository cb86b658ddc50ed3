from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.datasets.raw_table import RawTable, texts
from cxrlt_cli.datasets.records import (
    BLANK,
    UNCERTAIN,
    UNLABELLED,
    Records,
    ages_of,
    joined,
    parts_of,
    patients_of,
    sexes_of,
    states_of,
    views_of,
)
from cxrlt_cli.errors import DataError


def test_a_cell_is_one_zero_uncertain_or_blank_and_nothing_is_guessed() -> None:
    table = RawTable(Path("a.csv"), {"A": texts(["1.0", "0", "-1.0", "", "YES", "no", "nan"])})
    assert states_of(table, ["A"])[:, 0].tolist() == [1, 0, UNCERTAIN, BLANK, 1, 0, BLANK]
    table = RawTable(Path("a.csv"), {"A": texts(["1", "2", "maybe", "2"])})
    with pytest.raises(DataError, match=r"a\.csv, row 3: column 'A' holds '2' \(3 such rows\)"):
        states_of(table, ["A"])


@pytest.mark.parametrize(
    ("cells", "views"),
    [
        (["PA", "POSTEROANTERIOR", "postero-anterior", "pa"], "PA"),
        (["AP", "AP AXIAL", "AP_horizontal", "AP LLD", "antero-posterior"], "AP"),
        (["Lateral", "L", "LL", "RL", "left lateral", "XTABLE LATERAL"], "L"),
        (["LAO", "RLO", "SWIMMERS", "COSTAL", "LT-DECUB", "EXCLUDE", "UNK", ""], "other"),
    ],
)
def test_views(cells: list[str], views: str) -> None:
    assert set(views_of(texts(cells))) == {views}


def test_views_of_a_second_column_where_the_first_is_empty() -> None:
    assert list(views_of(texts(["", "LAO", ""]), texts(["lateral", "lateral", ""]))) == ["L", "other", "other"]


def test_sexes_ages_parts_and_padded_numbers() -> None:
    assert list(sexes_of(texts(["Female", "male", "F", "Unknown", "O", "nan"]))) == ["F", "M", "F", "", "O", ""]
    assert list(ages_of(texts(["058Y", "58.0", "0", "85 or more", "nan"]))) == ["58", "58", "0", "85 or more", ""]
    assert list(parts_of(texts(["validate", "Train", "test", "valid", ""]))) == ["val", "train", "test", "val", ""]
    assert list(patients_of(texts(["1", "00000001", "1.0", "p01"]))) == ["1", "1", "1", "p01"]


def test_joined_files_keep_what_one_alone_says() -> None:
    one = Records(texts(["a"]), ("X",), np.array([[1]], np.int8), patients=texts(["p"]), rows_read=2, left_out={"r": 1})
    two = Records(texts(["b"]), ("Y",), np.array([[0]], np.int8), views=texts(["PA"]), rows_read=1, left_out={"r": 2})
    both = joined([one, two])
    assert both.states.tolist() == [[1, UNLABELLED], [UNLABELLED, 0]]
    assert both.views is not None
    assert (list(both.owners), list(both.views)) == (["p", "b"], ["other", "PA"])
    assert (both.rows_read, both.left_out) == (3, {"r": 3})


def test_rows_count_what_they_leave_out() -> None:
    records = Records(texts(["a", "b", "c"]), ("X",), np.zeros((3, 1), np.int8), left_out={"old": 4})
    kept = records.rows(np.array([True, False, False]), "why")
    assert (len(kept), kept.left_out) == (1, {"old": 4, "why": 2})
    assert kept.patients is None
    assert kept.is_by_film
