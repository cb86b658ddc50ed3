import hashlib
import json
from pathlib import Path

import pytest

from cxrlt_cli import __version__
from cxrlt_cli.tables.label_table import read_csv
from cxrlt_cli.training.out_of_fold import tell_best_place
from cxrlt_cli.training.record import OF_A_COMMAND
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


def test_folds_trained_one_by_one_leave_one_record_of_all(labels: Path, tmp_path: Path) -> None:
    out, changes = tmp_path / "run", {"folds": 2, "epochs": 1, "warmup_epochs": 0, "image_size": 32}
    for fold in (1, 2):
        train(run_options(labels, out, **changes, fold=fold), Recorder())
        assert not (out / "record.json").exists(), "as long as folds are missing"
    train(run_options(labels, out, **changes, resume=True), Recorder())
    record = json.loads((out / "record.json").read_text())
    assert (record["fold"], [one["fold"] for one in record["continued"]]) == (1, [2])
    assert record["started"] < record["continued"][0]["started"]
    assert set(record["continued"][0]) == set(OF_A_COMMAND)
    assert record["split_sha256"] == hashlib.sha256((out / "split.csv").read_bytes()).hexdigest()
    before = (out / "record.json").read_bytes()
    train(run_options(labels, out, **changes, resume=True), Recorder())
    assert (out / "record.json").read_bytes() == before, "nothing was trained"


def test_a_run_that_goes_on_keeps_its_first_record(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, changes = tmp_path / "run", {"epochs": 1, "warmup_epochs": 0, "image_size": 32}
    with monkeypatch.context() as patch:
        patch.setattr("cxrlt_cli.training.record.__version__", "0.0.1")
        patch.setattr("cxrlt_cli.training.loop.fit_novelty", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(run_options(labels, out, **changes), Recorder())
    first = json.loads((out / "record.json").read_text())
    assert "continued" not in first
    train(run_options(labels, out, **changes, resume=True), Recorder())
    record = json.loads((out / "record.json").read_text())
    (later,) = record.pop("continued")
    assert record == first
    assert (first["versions"]["cxrlt"], later["versions"]["cxrlt"]) == ("0.0.1", __version__)


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
