import csv
import gzip
import json
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlt_cli.datasets.raw_table import raw_header, read_raw
from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.label_table import read_csv

CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], include_characters=',"\n'), max_size=6)


def test_cells_are_text_without_spaces_around(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id, b ,,\n007,"1,\n""2""", x ,\n8,NA,,\n')
    table = read_raw(path)
    assert table.header == ["id", "b", "(column 3)"]
    assert [list(cells) for cells in table.columns.values()] == [["007", "8"], ['1,\n"2"', "NA"], ["x", ""]]
    assert table.where(1) == f"{path}, row 3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b,c\n1,2,3\n4,5", "row 3: 2 cells, but the header has 3"),
        ("a,b,c\n1,2,3\n4,5\n6,7,8\n", "row 3: 2 cells"),
        ("a,b,c\n1,2,3\n4", "row 3: 1 cells"),
        ("a,b,c\r\n1,2,3\r\n4\r\n", "row 3: 1 cells"),
        ("a,b,c\r1,2,3\r4\r", "1 cells, but the header has 3"),
        ("a,b,c\n1,2,3,4\n", "row 2: more cells than the header"),
        ("a,b,c\n1,2,3,4,5\n", "more cells than the header"),
        ("a,b,c\n1,2,3\n1,2,,,9\n", "more cells than the header|fields"),
        ('a,b,c\n1,2,"3\n', "EOF inside string"),
        ("", "has no header|is empty"),
        ("a,a\n1,2\n", "more than one column 'a'"),
    ],
)
def test_rows_of_another_width_are_errors(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_raw(path)


@pytest.mark.parametrize("size", [1, 3, 50])
def test_widths_are_counted_across_pieces(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cxrlt_cli.datasets.raw_table import _Rows
    from cxrlt_cli.tables.rows import Layout

    path = tmp_path / "a.csv"
    path.write_text('1,"2,\n,,",3\n4,5,6\n\n7,8\n')
    with path.open(newline="") as text:
        rows = _Rows(text, path, Layout(",", ["a", "b", "c"], 1))
        with pytest.raises(DataError, match=r"row 5: 2 cells"):
            while rows.read(size):
                pass


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@given(cells=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6))
def test_reads_what_the_strict_reader_reads(
    tmp_path_factory: pytest.TempPathFactory, quoting: Literal[0, 1], cells: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=quoting).writerows([("id", "one", "two"), *(("7", *row) for row in cells)])
    table, strict = read_raw(path), read_csv(path)
    assert {name: list(column) for name, column in table.columns.items()} == {
        name: list(strict[name]) for name in strict.columns
    }


def test_a_quote_within_a_cell_is_a_mark_of_inches(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,p,note,x\na.png,1,tube 5" in,1\nb.png,1"x,n,1\nc.png,3,n 5" tube,1\n')
    assert list(read_raw(path)["note"]) == ['tube 5" in', "n", 'n 5" tube']
    path.write_text('id,p,note,x\na.png,1,tube 5" in,1\nb.png,2\n')
    with pytest.raises(DataError, match=r"2 cells, but the header has 4"):
        read_raw(path)


def test_rows_of_blanks_are_none_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n,\n\n3,4\n")
    table = read_raw(path)
    assert list(table["a"]) == ["1", "3"]
    assert table.where(1) == f"{path}, row 5"


def test_packed_tabs_parquet_and_json_lines(tmp_path: Path) -> None:
    rows = [{"a": "x", "b": "1"}, {"a": "y z", "b": ""}]
    (tmp_path / "a.tsv").write_text("a\tb\nx\t1\ny z\t\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\r\nx,1\r\ny z,\r\n"))
    (tmp_path / "a.jsonl").write_text('{"a": "x", "b": 1}\n{"a": "y z", "b": null}\n')
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    pd.DataFrame({"a": ["x", "y z"], "b": [1.0, None]}).to_parquet(tmp_path / "a.parquet")
    for path in sorted(tmp_path.iterdir()):
        table = read_raw(path)
        assert [list(table["a"]), list(table["b"])] == [["x", "y z"], ["1", ""]], path
        assert raw_header(path) == ["a", "b"]
    (tmp_path / "bom.jsonl").write_text('\ufeff{"a": "x\u2028", "b": 1}\n', encoding="utf-8")
    assert list(read_raw(tmp_path / "bom.jsonl")["b"]) == ["1"]
    (tmp_path / "latin.json").write_bytes('[{"a": "\xe9"}]'.encode("latin-1"))
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b"[]")[:10])
    for name in ("latin.json", "cut.json.gz"):
        with pytest.raises(DataError, match=r"is not UTF-8 text|damaged gzip"):
            read_raw(tmp_path / name)
    (tmp_path / "b.json").write_text("[1, 2]")
    (tmp_path / "c.jsonl").write_text('{"a": 1}\n{"a"')
    for name in ("b.json", "c.jsonl"):
        with pytest.raises(DataError, match=r"no records|neither JSON nor JSON lines"):
            read_raw(tmp_path / name)
