import gzip
import shutil
from pathlib import Path

import pytest

from cxrlt_cli.errors import DataError, OptionError
from tests.datasets.sets import SAMPLES, labels_only

SET = SAMPLES / "mimic-cxr-jpg"


def test_another_labeller_and_the_radiologists_test_set(tmp_path: Path) -> None:
    rows, _ = labels_only("mimic", SET, out=tmp_path / "a.csv", labels="negbio")
    assert {row["Edema"] for row in rows if row["StudyID"] == "59000001"} == {"1"}
    labels = SET / "mimic-cxr-2.1.0-test-set-labeled.csv"
    rows, recorder = labels_only("mimic", SET, out=tmp_path / "a.csv", labels=str(labels))
    assert {row["StudyID"] for row in rows} == {"59000005", "59000008"}
    assert {row["Split"] for row in rows} == {"test"}
    first = next(row for row in rows if row["StudyID"] == "59000005")
    assert (first["Lung Opacity"], first["Atelectasis"]) == ("1", "")
    assert recorder.plans[0]["left out"] == "no labels for the study: 13"
    with pytest.raises(OptionError, match="neither chexpert nor negbio nor a file"):
        labels_only("mimic", SET, out=tmp_path / "a.csv", labels="chexbert")


def test_labels_are_joined_by_ids_never_by_row_order(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(SET, folder)
    for name in ("metadata", "split", "chexpert"):
        path = folder / f"mimic-cxr-2.0.0-{name}.csv.gz"
        header, *rows = gzip.decompress(path.read_bytes()).decode().splitlines()
        path.write_bytes(gzip.compress("\n".join([header, *reversed(rows), ""]).encode()))
    one, _ = labels_only("mimic", SET, out=tmp_path / "a.csv")
    other, _ = labels_only("mimic", folder, out=tmp_path / "b.csv")
    assert one == other


def test_the_tables_one_by_one_unpacked(tmp_path: Path) -> None:
    paths = []
    for name in ("metadata", "split", "negbio"):
        path = tmp_path / f"{name}.csv"
        path.write_bytes(gzip.decompress((SET / f"mimic-cxr-2.0.0-{name}.csv.gz").read_bytes()))
        paths.append(path)
    rows, recorder = labels_only("mimic", *paths, out=tmp_path / "a.csv")
    assert len(rows) == 14
    assert "Labels: negbio.csv." in recorder.notes
    rows, recorder = labels_only("mimic", paths[0], paths[2], out=tmp_path / "a.csv")
    assert "No split file: without parts." in recorder.notes
    with pytest.raises(DataError, match=r"holds no mimic-cxr-\*-chexpert\.csv"):
        labels_only("mimic", *paths[:2], out=tmp_path / "a.csv")


def test_a_study_that_is_labelled_twice_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(SET, folder)
    path = folder / "mimic-cxr-2.0.0-chexpert.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress((text + text.splitlines()[1] + "\n").encode()))
    with pytest.raises(DataError, match=r"row 10: study 59000001 is labelled twice, first in row 2"):
        labels_only("mimic", folder, out=tmp_path / "a.csv")
