import json
from pathlib import Path

import pytest
import yaml

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.engine.reporting import EpochSummary
from cxrlt_cli.engine.run_folder import RunFolder
from cxrlt_cli.errors import OptionError

SUMMARY = EpochSummary("all", 1, 2, 0.5, 1e-3, 1e-4, "raw", 0.25, None, 10.0, 2.0, True)


def test_the_first_free_number_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2, 4):
        (tmp_path / "runs" / f"train-{number}").mkdir(parents=True)
    assert RunFolder.choose(None, "train", "ImageID").path == Path("runs/train-3")
    assert RunFolder.choose(None, "finetune", "ImageID").path == Path("runs/finetune-1")


def test_a_folder_with_a_run_or_a_file_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.choose(tmp_path / "run", "train", "ImageID")
    folder.start(TrainOptions(csv=tmp_path / "a.csv").resolved(), "train")
    assert RunFolder.choose(tmp_path / "run", "train", "ImageID") == folder  # nothing was learned in it yet
    folder.add(SUMMARY)
    with pytest.raises(OptionError, match="holds a run already"):
        RunFolder.choose(tmp_path / "run", "train", "ImageID")
    with pytest.raises(OptionError, match="is a file"):
        RunFolder.choose(tmp_path / "run" / "run.yaml", "train", "ImageID")


def test_history_grows_a_line_an_epoch_and_run_yaml_is_good_for_config(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(TrainOptions(csv=Path("a.csv"), loss="asl").resolved(), "train")
    content = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert (content["loss"], content["csv"]) == ("asl", str(Path("a.csv").resolve()))
    for _ in range(2):
        folder.add(SUMMARY)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [SUMMARY.to_json()] * 2
