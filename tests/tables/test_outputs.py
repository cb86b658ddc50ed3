from pathlib import Path

import pandas as pd
import pytest

from cxrlt_cli.errors import InstallError
from cxrlt_cli.tables import parquet
from cxrlt_cli.tables.outputs import finish_table, require_table, write_table

TEXT = "ImageID,Mass\n007,0.25\nb.png,1.0\n"


@pytest.mark.parametrize("before", [b"", b"PAR1 of another time"])
def test_the_ending_alone_says_what_is_written(tmp_path: Path, before: bytes) -> None:
    for name in ("p.csv", "p.parquet"):
        (tmp_path / name).write_bytes(before)
        write_table(TEXT, tmp_path / name, "ImageID")
    assert (tmp_path / "p.csv").read_text() == TEXT
    assert pd.read_parquet(tmp_path / "p.parquet").to_dict("list") == {"ImageID": ["007", "b.png"], "Mass": [0.25, 1.0]}


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_a_table_that_grew_gets_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / ".partial").write_text(TEXT)
    finish_table(tmp_path / ".partial", tmp_path / name, "ImageID")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_package_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "find_spec", lambda _: None)
    with pytest.raises(InstallError, match="pyarrow is missing"):
        require_table(tmp_path / "new.parquet", "--out")
    require_table(tmp_path / "new.csv", "--out")
