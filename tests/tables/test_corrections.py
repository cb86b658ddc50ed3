from pathlib import Path

import numpy as np
import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.corrections import Corrected, Corrections, read_corrections
from cxrlt_cli.tables.label_table import read_labels

LABELS = "ImageID,PatientID,Normal,Mass\na.png,1,1,0\nb.png,2,0,-1\nc.png,3,0,\n"
HEADER = "ImageID,finding,label\n"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path / "labels.csv"


def read(labels: Path, *texts: str) -> Corrections:
    paths = []
    for number, text in enumerate(texts):
        paths.append(labels.with_name(f"reader{number}.csv"))
        paths[-1].write_text(text)
    return read_corrections(paths, "ImageID", "PatientID", [labels])


def test_labels_are_put_in_place_of_others_and_counted(labels: Path) -> None:
    corrections = read(
        labels,
        f"{HEADER}a.png,Normal,0\na.png,Mass,1\nb.png,Mass,\nb.png,Normal,no\nc.png,Mass,\n",
        f"{HEADER}a.png,Normal,0.0\n",
    )
    assert len(corrections) == 5
    table = read_labels(labels, corrections=corrections)
    np.testing.assert_array_equal(table.targets, [[0, 1], [0, np.nan], [0, np.nan]])
    assert table.corrected == Corrected(changed=3, films=2, confirmed=2)
    assert table.policy == "3 labels of 2 films corrected, 2 confirmed"


def test_only_findings_that_are_read_count(labels: Path) -> None:
    corrections = read(labels, f"{HEADER}a.png,Normal,0\na.png,Mass,1\n")
    table = read_labels(labels, findings=["Normal"], corrections=corrections)
    assert table.corrected == Corrected(1, 1)
    assert table.policy == "1 label of 1 film corrected"
    left_out = read_labels(labels, findings=["Normal"], excluded={"a.png"}, corrections=corrections)
    assert left_out.corrected == Corrected()
    assert left_out.policy is None


def test_without_corrections_nothing_changes(labels: Path) -> None:
    assert len(read_corrections([], "ImageID", "PatientID", [labels])) == 0
    assert read_labels(labels, findings=["Normal"], corrections=Corrections()).policy is None


@pytest.mark.parametrize(("text", "said"), [
    (f"{HEADER}z.png,Mass,1\n", r"reader0\.csv, row 2: .*labels\.csv has no film 'z\.png'"),
    (f"{HEADER}a.png,mass,1\n", r"row 2: .* has no finding 'mass'\. Did you mean Mass\?"),
    (f"{HEADER}a.png,PatientID,1\n", "has no finding 'PatientID'"),
    (f"{HEADER}a.png,Mass,-1\n", r"row 2: column 'label' holds '-1'"),
    (f"{HEADER}a.png,Mass,1\nb.png,Mass,1\na.png,Mass,\n",
     r"row 4 corrects 'Mass' of 'a\.png' to unknown, and .*reader0\.csv, row 2 to 1"),
    ("ImageID,PatientID,finding,label,probability,wrong,rank,suspect\na.png,1,Mass,1,0.1,0.9,1,1\n",
     r"reader0\.csv is no CSV of corrections: it has probability, wrong, rank, suspect too"),
    ("ImageID,finding,label,note\na.png,Mass,1,faint\n", "it has note too"),
    ("ImageID,label\na.png,1\n", "has no column 'finding'"),
    ("Image,finding,label\na.png,Mass,1\n", "has no column 'ImageID'"),
])  # fmt: skip
def test_what_is_at_fault_is_named(labels: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(labels, text)


def test_a_column_of_patients_is_taken(labels: Path) -> None:
    assert len(read(labels, "ImageID,PatientID,finding,label\na.png,1,Mass,1\n")) == 1


def test_two_readers_may_not_differ(labels: Path) -> None:
    with pytest.raises(
        DataError, match=r"reader1\.csv, row 2 corrects .* to 0, and .*reader0\.csv, row 2 to 1"
    ) as told:
        read(labels, f"{HEADER}a.png,Mass,1\n", f"{HEADER}a.png,Mass,0\n")
    assert told.value.hint == "Keep one of the two rows."
