import bz2
import codecs
import gzip
import io
import os
import re
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from cxrlt_cli.errors import DataError
from cxrlt_cli.tables import opening
from cxrlt_cli.tables.label_table import read_ids, read_labels
from cxrlt_cli.tables.opening import open_text
from tests.tables.test_label_table import GOOD


def read(path: Path) -> str:
    with open_text(path) as file:
        return file.read()


def archive(*names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return held.getvalue()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("data", [
    GOOD.encode(), codecs.BOM_UTF8 + GOOD.encode(), GOOD.encode("utf-16"),
    codecs.BOM_UTF16_BE + GOOD.encode("utf-16-be"),
], ids=["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])  # fmt: skip
def test_text_is_read_in_gzip_and_in_what_excel_saves(tmp_path: Path, data: bytes, packed: bool) -> None:
    path = tmp_path / "labels.csv"  # what it is, is told by its content
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read(path) == GOOD
    assert read_labels(path).space.findings == ("Normal", "Mass")


@pytest.mark.parametrize(("data", "kind"), [
    (archive("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
    (archive("mimetype", "content.xml"), "an OpenDocument table"),
    (archive("labels.csv"), "a ZIP archive"),
    (archive("best/data.pkl"), "a checkpoint (PyTorch)"),
    (save({"weight": np.zeros(3)}), "a checkpoint (safetensors)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Excel workbook"),
    (bz2.compress(b"ImageID,Mass\n"), "a bzip2 file"),
    (b"  <!DOCTYPE HTML><html><title>Sign in", "a web page"),
    (b'{"file_name": "0003.png"}\n', "JSON"),
    (gzip.compress(gzip.compress(b"ImageID\n")), "a gzip file in a gzip file"),
], ids=lambda value: value if isinstance(value, str) else "of")  # fmt: skip  # some have the time in their bytes
def test_other_files_are_named(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / "labels.csv"
    for content in (data, gzip.compress(data)):
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=rf"labels\.csv is (a gzip file|{re.escape(kind)}|.* or another ZIP file)"
        ) as caught:
            read(path)
        assert caught.value.hint


def test_a_damaged_gzip_is_told(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"{number}.png,{number * 7919 % 1000}\n" for number in range(2000)).encode())
    path = tmp_path / "labels.csv.gz"
    for place in range(20, len(whole), len(whole) // 20):
        for data in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(data)
            with pytest.raises(DataError, match=r"labels\.csv\.gz is (a damaged gzip file|not UTF-8)"):
                read(path)


def test_a_gzip_that_inflates_beyond_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "FREE", 2**16)
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(b"ImageID,Mass\n" + b"\n" * 2**24))
    with pytest.raises(DataError, match="inflates to more than"):
        read_ids(path)


def test_a_packed_pipe_is_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[gzip.compress(GOOD.encode())])
    thread.start()
    assert read_ids(tmp_path / "pipe").tolist() == ["a.png", "b.png", "c.png"]
    thread.join()


def test_a_pipe_that_is_read_again_is_not_called_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=(tmp_path / "pipe").write_text, args=["ImageID\na.png\n"])
    thread.start()
    with open_text(tmp_path / "pipe") as text:
        assert text.read() == "ImageID\na.png\n"
    thread.join()
    with pytest.raises(DataError, match="is a pipe, and this command reads it twice"), open_text(tmp_path / "pipe"):
        pass
