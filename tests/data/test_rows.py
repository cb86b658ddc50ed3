import tracemalloc
from pathlib import Path

import pytest

from cxrlt_cli.data import rows
from cxrlt_cli.data.table import read_csv, read_labels
from cxrlt_cli.errors import DataError
from tests.data.test_table import GOOD, csv_of


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
    (GOOD.encode("utf-16"), "not UTF-8 text .* in line 1"),
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
