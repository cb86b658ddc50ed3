from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError
from tests.datasets.sets import SAMPLES, labels_only
from tests.helpers import write_csv


def test_a_film_is_positive_if_one_row_is(tmp_path: Path) -> None:
    rows, recorder = labels_only("rsna", SAMPLES / "rsna-pneumonia", out=tmp_path / "a.csv")
    assert [row["Lung Opacity"] for row in rows] == ["0", "1", "0", "1", "0", "0"]
    assert recorder.plans[0]["left out"] == "further rows of a film: 1"
    assert "never train on one and test on the other" in recorder.notes[0]


def test_minus_one_is_no_mask_with_a_space_or_without(tmp_path: Path) -> None:
    rows, _ = labels_only("siim", SAMPLES / "siim-acr", out=tmp_path / "a.csv")
    assert [row["Pneumothorax"] for row in rows] == ["0", "1", "0", "0", "1"]
    assert "StudyID" not in rows[0], "which the folders tell"


@pytest.mark.parametrize("cell", ["", "garbage"])
def test_a_mask_that_is_none_is_no_pneumothorax(cell: str, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "x.csv", ("ImageId", " EncodedPixels"), [("1.2", "-1"), ("1.3", cell)])
    with pytest.raises(DataError, match=r"row 3: 'EncodedPixels' holds"):
        labels_only("siim", source, out=tmp_path / "a.csv")


def test_other_tables_and_other_cells_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no label file of rsna: it has no column 'Target'"):
        labels_only("rsna", SAMPLES / "rsna-pneumonia" / "stage_2_detailed_class_info.csv", out=tmp_path / "a.csv")
    source = write_csv(tmp_path / "x.csv", ("patientId", "Target"), [("a", 1), ("b", "")])
    with pytest.raises(DataError, match=r"row 3: column 'Target' holds ''"):
        labels_only("rsna", source, out=tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"holds no stage_2_train_labels\.csv"):
        labels_only("rsna", SAMPLES / "siim-acr", out=tmp_path / "a.csv")
