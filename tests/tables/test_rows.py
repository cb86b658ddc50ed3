import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.tables import rows
from cxrlt_cli.tables.label_table import read_csv, read_ids, read_labels
from tests.tables.test_label_table import GOOD, csv_of


@pytest.mark.parametrize("row", ["x" * 30_000_000, '"' + "x\n" * 15_000_000, "," * 30_000_000, '"x\n",' * 6_000_000])
def test_a_gigantic_row_takes_no_memory(tmp_path: Path, row: str) -> None:
    """A line without an end, a quote that is not closed, and cells without an end, of 30 MB."""
    path = csv_of(tmp_path, f"ImageID,PatientID,Mass\na.png,1,0\n{row}")
    tracemalloc.start()
    try:
        with pytest.raises(
            DataError, match=r"labels\.csv, line \d+: (the row has more than 1,000,000|field larger than)"
        ):
            read_csv(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80e6 if row[0] == "," else peak < 20e6


def test_the_limit_is_of_a_row_not_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_ROW", 30)
    lines = [f'{index}.png,{index},"x\ny"' for index in range(50)]
    assert len(read_csv(csv_of(tmp_path, "\n".join(["ImageID,PatientID,Note", *lines])))) == 50
    with pytest.raises(DataError, match=r"line 4: the row has more than 30 characters"):
        read_csv(csv_of(tmp_path, f'ImageID,PatientID,Note\na,1,x\nb,1,"x\n{"y" * 30}"\n'))


@pytest.mark.parametrize(("data", "said"), [
    (GOOD.encode("utf-16-le"), r"line 1 holds a NUL"),
    (GOOD.replace("b.png", "b\0.png").encode(), r"line 3 holds a NUL"),
    (GOOD.encode() + b"d.png,4,0,1\n" * 3000 + "ü.png,5,0,1\n".encode("latin-1"), "not UTF-8 text .* in line 3005"),
    (b"PK\x03\x04\x14\0\x06\0" + bytes(range(128, 256)) * 9, "is an Excel workbook"),
    (GOOD.encode() + b"\xc3", "not UTF-8 text .* in line 5"),
])  # fmt: skip
def test_other_encodings_are_told_by_their_line(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "labels.csv").write_bytes(data)
    with pytest.raises(DataError, match=rf"labels\.csv.*{said}") as caught:
        read_labels(tmp_path / "labels.csv")
    assert "UTF-8" in caught.value.hint


def test_separators_are_told_by_the_header(tmp_path: Path) -> None:
    expected = read_labels(csv_of(tmp_path, GOOD))
    for mark in ";\t|":
        table = read_labels(csv_of(tmp_path, GOOD.replace(",", mark)))
        np.testing.assert_array_equal(table.targets, expected.targets)
        assert table.ids.tolist() == expected.ids.tolist()


@pytest.mark.parametrize(("text", "names"), [
    ("ImageID,a;b\nx.png,1\n", ["ImageID", "a;b"]),
    ("ImageID;size[w,h]\nx.png;1\n", ["ImageID", "size[w,h]"]),
    ('"ImageID";"size[w,h]"\n"x.png";"1,5"\n', ["ImageID", "size[w,h]"]),
    ('ImageID,"a;b",c\nx.png,"1;2",3\n', ["ImageID", "a;b", "c"]),
    ("ImageID\nx,y.png\n", None),
    ("ImageID\nx;y.png\n", ["ImageID"]),
])  # fmt: skip
def test_a_mark_in_a_name_is_no_separator(tmp_path: Path, text: str, names: list[str] | None) -> None:
    path = csv_of(tmp_path, text)
    if names is None:
        with pytest.raises(DataError, match="2 cells, but the header has 1"):
            read_csv(path)
    else:
        assert list(read_csv(path).columns) == names


def test_what_could_be_read_in_two_ways_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    text = "ImageID,a;b\nx.png,1;2\n"
    with pytest.raises(DataError, match="commas, semicolons could all be") as caught:
        read_csv(csv_of(tmp_path, text))
    assert "sep=," in caught.value.hint
    assert list(read_csv(csv_of(tmp_path, f"sep=;\r\n{text}")).columns) == ["ImageID,a", "b"]


@pytest.mark.parametrize("first", ["sep=,\r\n", '"sep=,"\n', "SEP=,\n", "\ufeffsep=,\n"])
def test_excels_first_line_is_no_row(tmp_path: Path, first: str) -> None:
    assert read_ids(csv_of(tmp_path, first + GOOD)).tolist() == ["a.png", "b.png", "c.png"]
    with pytest.raises(DataError, match="row 3: column 'Mass' holds '7'"):  # as Excel counts, which hides the line
        read_labels(csv_of(tmp_path, first + GOOD.replace("2,0,1", "2,0,7")))
    with pytest.raises(DataError, match="line 4: 3 cells"):  # as an editor counts, which shows it
        read_labels(csv_of(tmp_path, first + GOOD.replace("2,0,1", "2,0")))
    with pytest.raises(DataError, match="names no separator"):
        read_labels(csv_of(tmp_path, "sep=x\n" + GOOD))


def test_cells_without_text_are_no_cells(tmp_path: Path) -> None:
    """Columns without names, more empty cells than the header, and fewer where only those are missing."""
    expected = read_csv(csv_of(tmp_path, GOOD))
    lines = GOOD.splitlines()
    for text in (
        "\n".join(f"{line},," for line in lines),
        "\n".join([lines[0], *(f"{line},,, " for line in lines[1:])]),
        "\n".join([f"{lines[0]},,,", *lines[1:]]),
        "\n".join(f",{line}" for line in lines),
    ):
        assert read_csv(csv_of(tmp_path, text)).equals(expected), text
    with pytest.raises(DataError, match="line 3: 5 cells, but the header has 4"):
        read_csv(csv_of(tmp_path, GOOD.replace("2,0,1", "2,0,1,x")))


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    numbered = [f"{cell},{line}" for cell, line in zip(["", 0, 1, 1], GOOD.split(), strict=True)]
    table = read_labels(csv_of(tmp_path, "\n".join(numbered)))
    assert table.space.findings == ("Normal", "Mass")
    assert list(map(str, table.ignored)) == ["(column 1) (without a name; 1, 0)"]


@pytest.mark.parametrize("name", ["p.csv", "p.CSV", "p.tsv", "p.txt", "p.csv.gz", "p.parquet"])
def test_a_table_is_told_by_its_name_and_a_checkpoint_is_none(tmp_path: Path, name: str) -> None:
    assert rows.is_table(tmp_path / name)
    (tmp_path / "model.safetensors").write_bytes(b"x" * 10)
    assert not rows.is_table(tmp_path / "model.safetensors")
    assert not rows.is_table(tmp_path)


def test_the_layout_of_a_file_and_where_its_rows_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('sep=;\n"id";"two\nlines"; \n1;2;3\n')
    assert rows.layout(path) == (";", ["id", "two\nlines", ""], 3)
    for text, said in (
        ('"a"b,c\n', "closed quotes"),
        (" , \n", "has no header"),
        ("a,a\n", "more than one column 'a'"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            rows.layout(path)
