"""The column Split, and the rows that --split takes by it."""

from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.tables import parts
from cxrlt_cli.tables.chosen import Chosen
from cxrlt_cli.tables.columns import WRITTEN, judged
from cxrlt_cli.tables.label_table import ids_as_they_are, read_csv, read_ids, read_labels, stream_ids
from tests.helpers import write_csv

HEADER = ("ImageID", "PatientID", "StudyID", "ViewPosition", "Split", "PatientSex", "PatientAge", "Effusion", "Mass")
SPLITS = ("train", "train", "val", "test", "train", "")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rows = [(f"{i}.png", f"p{i}", i % 2, i % 2, part, i % 2, i % 2, i % 2, "") for i, part in enumerate(SPLITS)]
    return write_csv(tmp_path / "labels.csv", HEADER, rows)


def test_rows_are_taken_by_their_part(labels: Path) -> None:
    assert read_ids(labels, chosen=Chosen(("train",))).tolist() == ["0.png", "1.png", "4.png"]
    assert read_ids(labels, chosen=Chosen(("test", "val"))).tolist() == ["2.png", "3.png"], "in the order of the CSV"
    assert read_labels(labels, chosen=Chosen(("val",)), findings=["Mass"]).ids.tolist() == ["2.png"]
    assert len(read_ids(labels)) == len(SPLITS)


def test_a_stream_takes_the_same_rows(labels: Path) -> None:
    for size in (1, 2, 100):
        streamed = [film for ids in stream_ids(labels, "ImageID", size, Chosen(("train", "val"))) for film in ids]
        assert streamed == list(ids_as_they_are(labels, "ImageID", Chosen(("train", "val"))))
        assert streamed == read_ids(labels, chosen=Chosen(("train", "val"))).tolist()


def test_what_is_wrong_in_another_part_is_not_looked_at(tmp_path: Path) -> None:
    rows = [("a", "1", "train", 1), ("a", "", "test", 7), ("b", "2", "train", 0)]
    path = write_csv(tmp_path / "labels.csv", ("ImageID", "PatientID", "Split", "Mass"), rows)
    assert read_labels(path, chosen=Chosen(("train",))).targets.tolist() == [[1], [0]]
    assert list(stream_ids(path, "ImageID", chosen=Chosen(("train",)))) == [["a", "b"]]
    with pytest.raises(DataError, match="as row 2 does"):
        list(stream_ids(path, "ImageID"))


@pytest.mark.parametrize("read", ["frame", "stream"])
def test_a_part_that_is_not_there_is_told_with_those_that_are(labels: Path, read: str) -> None:
    with pytest.raises(DataError) as error:
        if read == "frame":
            read_ids(labels, chosen=Chosen(("train", "valid")))
        else:
            list(stream_ids(labels, "ImageID", chosen=Chosen(("train", "valid"))))
    assert "has 'valid' in the column 'Split' (it has train 3, val 1, test 1, (empty) 1)" in error.value.message
    assert error.value.hint == "Did you mean val?"


@pytest.mark.parametrize("read", ["frame", "stream"])
def test_a_table_without_parts_is_told_with_the_way_out(tmp_path: Path, read: str) -> None:
    path = write_csv(tmp_path / "labels.csv", ("ImageID", "split"), [("a", "train")])
    with pytest.raises(DataError, match="has no column 'Split'") as error:
        if read == "frame":
            read_ids(path, chosen=Chosen(("train",)))
        else:
            list(stream_ids(path, "ImageID", chosen=Chosen(("train",))))
    assert "Call the column 'split' Split." in error.value.hint


def test_parts_are_counted(labels: Path, tmp_path: Path) -> None:
    assert parts.told(parts.num_rows(labels)) == "train 3, val 1, test 1, (empty) 1"
    assert not parts.num_rows(write_csv(tmp_path / "none.csv", ("ImageID",), [("a",)]))


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("cells", [("0", "1"), ("1", "1"), ("1", ""), ("-1", "0"), ("train", "val")])
def test_what_data_import_writes_beside_findings_is_never_a_finding(
    name: str, cells: tuple[str, ...], tmp_path: Path
) -> None:
    frame = read_csv(write_csv(tmp_path / "labels.csv", ("ImageID", name), list(zip("ab", cells, strict=True))))
    assert judged(frame[name], name).kind == "metadata"
    assert judged(frame[name], name, asked=True).kind == "finding", "unless it is asked for by name"
