from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError, OptionError
from tests.datasets.sets import SAMPLES, drawn, imported, labels_only

SET = SAMPLES / "chexpert"


def test_labels_go_by_name_never_by_place(tmp_path: Path) -> None:
    """CheXbert's file has No Finding last."""
    usual, _ = labels_only("chexpert", SET / "CheXpert-v1.0-small" / "train.csv", out=tmp_path / "a.csv")
    other, _ = labels_only("chexpert", SET / "CheXpert-v1.0" / "train_cheXbert.csv", out=tmp_path / "b.csv")
    assert list(other[0])[-1] == "No Finding"
    known = {row["ImageID"].partition("/")[2]: row for row in usual}
    for row in other:
        same = known[row["ImageID"].partition("/")[2]]
        assert {name: cell for name, cell in row.items() if name != "ImageID"}.items() <= same.items()


def test_the_test_films_have_labels_alone(tmp_path: Path) -> None:
    rows, _ = labels_only("chexpert", SET / "CheXpert" / "test_labels.csv", out=tmp_path / "a.csv")
    assert {row["Split"] for row in rows} == {"test"}
    assert not {"ViewPosition", "PatientSex"} & set(rows[0])


def test_either_folder_will_do(tmp_path: Path) -> None:
    folder = drawn("chexpert", tmp_path)
    rows, _ = imported("chexpert", folder / "CheXpert-v1.0-small", out=tmp_path / "a.csv")
    assert rows[0]["ImageID"] == "train/patient90001/study1/view1_frontal.jpg"


def test_uncertain_by_finding(tmp_path: Path) -> None:
    rows, _ = labels_only("chexpert", SET, out=tmp_path / "a.csv", uncertain="Atelectasis=1,Edema=1,others=0")
    assert (rows[1]["Atelectasis"], rows[1]["Edema"], rows[1]["Consolidation"]) == ("1", "1", "0")
    assert not any(row[name] == "" for row in rows for name in ("Atelectasis", "Pneumonia"))
    rows, _ = labels_only("chexpert", SET, out=tmp_path / "a.csv", unmentioned="empty")
    assert (rows[0]["Pneumothorax"], rows[0]["Edema"]) == ("0", "")


def test_plus_has_labels_of_three_sections(tmp_path: Path) -> None:
    folder = drawn("chexpert-plus", tmp_path)
    rows, recorder = imported("chexpert", folder, out=tmp_path / "a.csv")
    assert rows[0]["ImageID"] == "PNG/train/patient90001/study1/view1_frontal.png"
    assert (rows[0]["Support Devices"], rows[1]["Cardiomegaly"]) == ("1", "")
    assert "Labels: report_fixed.json." in recorder.notes
    with pytest.raises(DataError, match=r"holds no findings_fixed\.json"):
        imported("chexpert", folder, out=tmp_path / "a.csv", labels="findings")
    with pytest.raises(OptionError, match="none of report, impression, findings"):
        imported("chexpert", folder, out=tmp_path / "a.csv", labels="negbio")
    labels = folder / "chexbert_labels" / "report_fixed.json"
    labels.write_text("\n".join(labels.read_text().splitlines()[1:]))
    rows, recorder = imported("chexpert", folder, out=tmp_path / "a.csv")
    assert recorder.plans[0]["left out"] == "no labels for the film: 1"


def test_a_path_that_names_no_patient(tmp_path: Path) -> None:
    text = (SET / "CheXpert-v1.0-small" / "train.csv").read_text().replace("patient90005/study2", "pat/study2")
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DataError, match=r"train\.csv, row 10: .* names no patient and study"):
        labels_only("chexpert", tmp_path / "train.csv", out=tmp_path / "a.csv")


def test_ages_in_ranges_and_views_of_its_own(tmp_path: Path) -> None:
    rows, _ = labels_only("chexpert", SAMPLES / "brax", out=tmp_path / "a.csv")
    assert {row["PatientAge"] for row in rows} == {"35", "60", "85 or more"}
    assert "Split" not in rows[0]
