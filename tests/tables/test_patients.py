from pathlib import Path

import pandas as pd
import pytest

from cxrlt_cli.errors import DataError
from cxrlt_cli.tables.label_table import read_labels
from tests.tables.test_label_table import GOOD, csv_of


def test_spellings_of_a_number_are_one_patient(tmp_path: Path) -> None:
    text = "ImageID,PatientID,Mass\na,150,0\nb,150.0,1\nc,00000150,1\nd, 150,0\ne,P150,1\n"
    assert read_labels(csv_of(tmp_path, text)).patients.tolist() == [*["150"] * 4, "P150"]


def test_parquet_says_where_digits_were_lost(tmp_path: Path) -> None:
    for values, kind in (([3.24e38, 1.0], "float64"), ([2.0**53 + 2, 7.0], "float64"), ([2.0**25, 7.0], "float32")):
        frame = pd.DataFrame({"ImageID": ["a", "b"], "PatientID": pd.Series(values, dtype=kind), "Mass": [0, 1]})
        frame.to_parquet(tmp_path / "labels.parquet")
        with pytest.raises(DataError, match=r"row 2: column 'PatientID' holds '\d\.\d+e\+\d\d' as a patient"):
            read_labels(tmp_path / "labels.parquet")


@pytest.mark.parametrize(("cell", "said"), [
    ("", "is empty"), ("nan", "holds 'nan', which is no patient"), ("NULL", "holds 'NULL'"), ("3.24e+38", "a patient"),
    ("1.5E+10", "a patient"),
])  # fmt: skip
def test_what_is_no_patient_is_told_with_its_row(tmp_path: Path, cell: str, said: str) -> None:
    with pytest.raises(DataError, match=rf"row 3: column 'PatientID' .*{said}"):
        read_labels(csv_of(tmp_path, GOOD.replace("b.png,2", f"b.png,{cell}")))


@pytest.mark.parametrize(("text", "column", "hint"), [
    (GOOD.replace("PatientID", "Remark"), "PatientID", "--patient-column ImageID will do"),
    (GOOD.replace("PatientID", "Patient ID"), "PatientID", "Pass --patient-column 'Patient ID'."),
    (GOOD.replace("PatientID", "subject_id"), "PatientID", "Pass --patient-column subject_id."),
    (GOOD.replace("PatientID", "Remark"), "Patient", "Check --patient-column."),
    (GOOD.replace("PatientID", "Remark").replace("a.png", "train/patient90001/study1/a.jpg"), "PatientID",
     "seems to stand in 'ImageID'"),
    ("ImageID,Mass\n00000001_000.png,0\n00000001_001.png,1\n00000002_000.png,1\n", "PatientID", "seems to stand"),
    ("ImageID,Mass\nfilm_1.png,0\nfilm_2.png,1\n", "PatientID", "will do"),
])  # fmt: skip
def test_the_way_out_without_patients_is_a_true_one(tmp_path: Path, text: str, column: str, hint: str) -> None:
    path = csv_of(tmp_path, text)
    with pytest.raises(DataError, match=f"no column '{column}'") as caught:
        read_labels(path, patient_column=column)
    assert hint in caught.value.hint
    assert ("will do" in hint) == ("will do" in caught.value.hint)
