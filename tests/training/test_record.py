import hashlib
import json
from pathlib import Path

import pytest

from cxrlt_cli.tables.label_table import read_csv
from cxrlt_cli.training.out_of_fold import tell_best_place
from cxrlt_cli.verbs.train import train
from tests.conftest import run_options
from tests.helpers import Recorder, write_csv


def test_a_run_records_its_films_and_what_they_were_read_from(run: Path, labels: Path) -> None:
    record = json.loads((run / "record.json").read_text())
    assert record["labels"] == [{"name": "labels.csv", "sha256": hashlib.sha256(labels.read_bytes()).hexdigest()}]
    assert record["split_sha256"] == hashlib.sha256((run / "split.csv").read_bytes()).hexdigest()
    assert (record["num_rows"], record["num_taken"], record["num_excluded"]) == (48, 48, 0)
    split = read_csv(run / "split.csv")
    assert sorted(split["ImageID"]) == sorted(read_csv(labels)["ImageID"])
    assert set(split["Split"]) == {"train", "val"}
    assert sorted(split["ImageID"][split["Split"] == "val"]) == sorted(read_csv(run / "val_predictions.csv")["ImageID"])
    assert str(labels.parent) not in json.dumps(record)


def test_folds_and_exclusions_are_recorded(labels: Path, tmp_path: Path) -> None:
    bad = write_csv(tmp_path / "bad.csv", ("ImageID",), [("film000.png",), ("film001.png",)])
    changes = {"folds": 2, "epochs": 1, "image_size": 32, "exclude": [bad]}
    train(run_options(labels, tmp_path / "run", **changes), Recorder())
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert (record["num_rows"], record["num_taken"], record["num_excluded"]) == (48, 46, 2)
    assert record["exclude"][0]["name"] == "bad.csv"
    split = read_csv(tmp_path / "run" / "split.csv")
    assert set(split["Split"]) == {"fold-1", "fold-2"}
    for fold in (1, 2):
        judged = read_csv(tmp_path / "run" / f"fold-{fold}" / "val_predictions.csv")["ImageID"]
        assert sorted(split["ImageID"][split["Split"] == f"fold-{fold}"]) == sorted(judged)


@pytest.mark.parametrize(
    ("best", "warning", "note"),
    [([1, 0, 0, 0], "of 4 epochs by validation AP is the first", ""), ([1, 0, 1], "", "of 3 epochs is the last"),
     ([1, 1, 0], "", ""), ([1], "", "")],
)  # fmt: skip
def test_a_best_epoch_at_an_end_is_told(labels: Path, tmp_path: Path, best: list[int], warning: str, note: str) -> None:
    (tmp_path / "history.jsonl").write_text("".join(json.dumps({"best": bool(one)}) + "\n" for one in best))
    recorder = Recorder()
    tell_best_place(tmp_path, run_options(labels, tmp_path), recorder)
    assert [warning in one for one in recorder.warnings] == [True] * bool(warning)
    assert [note in one for one in recorder.notes] == [True] * bool(note)
    (tmp_path / "history.jsonl").write_bytes(b"\xff\n{}\n")
    tell_best_place(tmp_path, run_options(labels, tmp_path), Recorder())
