"""CANDID-PTX: a row a mask, and lists of positives."""

from pathlib import Path

import pytest

from cxrlt_cli.datasets.candid import read
from cxrlt_cli.errors import DataError
from tests.datasets.makers import column, put, read_by, states

HEADER = "SOPInstanceUID,StudyInstanceUID,Report,EncodedPixels,filename\n"
ROWS = (
    "2.25.91.1,2.25.91.7,No pneumothorax.,-1,7_x0.dcm\n"
    '2.25.92.1,2.25.92.7,"Small apical pneumothorax,\nunchanged.",557374 2 1015 8,7_x1.dcm\n'
    "2.25.93.1,2.25.93.7,Drain in place., -1,12_x2.dcm\n"
    "2.25.94.1,2.25.94.7,Right pneumothorax.,10000 3 1020 6,13_x3.dcm\n"
    "2.25.94.1,2.25.94.7,Right pneumothorax.,-1,13_x3.dcm\n"
)


def test_one_row_with_a_mask_makes_a_positive(tmp_path: Path) -> None:
    put(tmp_path, "Pneumothorax_reports.csv", HEADER + ROWS)
    records = read_by(read, "candid", tmp_path)
    assert records.findings == ("Pneumothorax",)
    assert states(records) == {"2.25.91.1": [0], "2.25.92.1": [1], "2.25.93.1": [0], "2.25.94.1": [1]}
    assert column(records, "patients") == {"2.25.91.1": "7", "2.25.92.1": "7", "2.25.93.1": "12", "2.25.94.1": "13"}
    assert column(records, "studies")["2.25.94.1"] == "2.25.94.7"
    assert (records.rows_read, records.left_out) == (5, {"further rows of a film": 1})
    assert any("Chest tube: no file" in note for note in records.notes)


def test_further_files_list_positives_alone(tmp_path: Path) -> None:
    put(tmp_path, "Pneumothorax_reports.csv", HEADER + ROWS)
    put(tmp_path, "chest_tube.csv", "anon_SOPUID,annotation,mask_rle\n2.25.93.1,Line,10 5\n2.25.99.1,Line,10 5\n")
    put(tmp_path, "acute_rib_fracture.csv", "anon_SOPUID,annotation,mask_rle\n2.25.91.1,Polygon,10 5\n")
    records = read_by(read, "candid", tmp_path)
    assert records.findings == ("Pneumothorax", "Chest tube", "Acute rib fracture")
    assert states(records)["2.25.93.1"] == [0, 1, 0]
    assert states(records)["2.25.91.1"] == [0, 0, 1]
    assert any("(1, and 1 that Pneumothorax_reports.csv lacks)" in note for note in records.notes)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2.25.95.1,2.25.95.7,,maybe,14_x4.dcm\n", "row 7: 'EncodedPixels' holds 'maybe'"),
        ("2.25.95.1,2.25.95.7,,,14_x4.dcm\n", "row 7: 'EncodedPixels' holds ''"),
        ("2.25.95.1,2.25.95.7,,-1,14.dcm\n", "row 7: 'filename' holds '14.dcm'"),
        ("2.25.91.1,2.25.91.7,,-1,8_x0.dcm\n", "row 7: one film is of '8' here and of '7' above"),
    ],
)
def test_an_unknown_cell_is_an_error_with_its_row(tmp_path: Path, row: str, words: str) -> None:
    path = put(tmp_path, "Pneumothorax_reports.csv", HEADER + ROWS + row)
    with pytest.raises(DataError, match=f"{path}, {words}"):
        read_by(read, "candid", path)


def test_without_reports_there_are_no_labels(tmp_path: Path) -> None:
    put(tmp_path, "chest_tube.csv", "anon_SOPUID,annotation,mask_rle\n2.25.93.1,Line,10 5\n")
    with pytest.raises(DataError, match=r"holds no Pneumothorax_reports\.csv"):
        read_by(read, "candid", tmp_path)
