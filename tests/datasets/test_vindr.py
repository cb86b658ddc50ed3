from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError
from tests.datasets.sets import SAMPLES, labels_only
from tests.helpers import write_csv

HEADER = ("image_id", "rad_id", "Mass", "Edema", "No finding")
VOTES = [("f", "R1", 1, 0, 0), ("f", "R2", 1, 0, 0), ("f", "R3", 0, 1, 0), ("0e1", "R1", 0, 0, 1),
         ("f2", "R1", 1, 1, 0), ("f2", "R2", 1, 0, 0)]  # fmt: skip


@pytest.mark.parametrize(
    ("readers", "told"),
    [
        ("majority", {"0e1": "001", "f": "100", "f2": "100"}),
        ("any", {"0e1": "001", "f": "110", "f2": "110"}),
        ("all", {"0e1": "001", "f": "000", "f2": "100"}),
    ],
)
def test_several_readers_become_one(readers: str, told: dict[str, str], tmp_path: Path) -> None:
    """Half of two is no majority. An id with one e is no number."""
    source = write_csv(tmp_path / "image_labels_train.csv", HEADER, VOTES)
    rows, recorder = labels_only("vindr", source, out=tmp_path / "a.csv", readers=readers)
    assert {row["PatientID"]: row["Mass"] + row["Edema"] + row["No finding"] for row in rows} == told
    assert recorder.plans[0]["left out"] == "further readers or boxes of a film: 3"
    assert recorder.plans[0]["patients"] == "unknown"
    assert "each film gets its own" in recorder.warnings[0]


def test_kaggles_boxes_are_votes_too(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "image_labels_train.csv", HEADER, VOTES)
    labels, _ = labels_only("vindr", source, out=tmp_path / "a.csv")
    names = HEADER[2:]
    boxes = [(film, names[n], reader) for film, reader, *seen in VOTES for n, one in enumerate(seen) if one]
    source = write_csv(tmp_path / "train.csv", ("image_id", "class_name", "rad_id"), [*boxes, *boxes[:2]])
    again, _ = labels_only("vindr", source, out=tmp_path / "b.csv")
    assert [dict(sorted(row.items())) for row in again] == [dict(sorted(row.items())) for row in labels]
    folder = SAMPLES / "vindr-cxr"
    with pytest.raises(DataError, match="say the same twice"):
        labels_only("vindr", *sorted((folder / "annotations").glob("*_train.csv")), out=tmp_path / "a.csv")


def test_children_have_one_reader_and_names_as_they_are_spelt(tmp_path: Path) -> None:
    rows, _ = labels_only("vindr", SAMPLES / "vindr-pcxr", out=tmp_path / "a.csv")
    assert "rad_ID" not in rows[0]
    assert "Brocho-pneumonia" in rows[0]
    assert [row["Split"] for row in rows] == ["train", "train", "train", "test"]


def test_a_reader_who_reads_twice_or_says_nothing(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "image_labels_train.csv", HEADER, [*VOTES, ("f", "R1", 0, 0, 0)])
    with pytest.raises(DataError, match=r"row 8: reader R1 has read f twice"):
        labels_only("vindr", source, out=tmp_path / "a.csv")
    source = write_csv(tmp_path / "image_labels_train.csv", HEADER, [("f", "R1", 1, "", 0)])
    with pytest.raises(DataError, match=r"row 2: column 'Edema' is empty"):
        labels_only("vindr", source, out=tmp_path / "a.csv")


def test_a_file_that_is_called_after_no_part(tmp_path: Path) -> None:
    rows, _ = labels_only("vindr", write_csv(tmp_path / "latest.csv", HEADER, VOTES), out=tmp_path / "a.csv")
    assert (rows[0]["Split"], rows[0]["ImageID"]) == ("", "0e1.dicom")
