import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cxrlt_cli.config import TrainOptions
from cxrlt_cli.engine.reporter import EpochSummary
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import remove_leftovers
from cxrlt_cli.training.run_folder import RunFolder

SUMMARY = EpochSummary("all", 1, 2, 0.5, 1e-3, 1e-4, "raw", 0.25, None, 10.0, 2.0, True)


def options(out: Path | None, **changes: object) -> TrainOptions:
    return TrainOptions.model_validate({"out": out, **changes})


def test_the_first_free_number_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2, 4):
        (tmp_path / "runs" / f"train-{number}").mkdir(parents=True)
    assert RunFolder.choose(options(None), "train").path == Path("runs/train-3")
    assert RunFolder.choose(options(None), "finetune").path == Path("runs/finetune-1")
    assert RunFolder.choose(options(None, resume=True), "train").path == Path("runs/train-2")
    with pytest.raises(OptionError, match="there is no runs/finetune-1"):
        RunFolder.choose(options(None, resume=True), "finetune")


def test_a_folder_with_a_run_or_a_file_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.choose(options(tmp_path / "run"), "train")
    folder.start(TrainOptions(csv=tmp_path / "a.csv").resolved(), "train", 0)
    assert RunFolder.choose(options(tmp_path / "run"), "train") == folder  # nothing was learned in it yet
    folder.add(SUMMARY)
    with pytest.raises(OptionError, match="already holds a run"):
        RunFolder.choose(options(tmp_path / "run"), "train")
    with pytest.raises(OptionError, match="is a file"):
        RunFolder.choose(options(tmp_path / "run" / "run.yaml"), "train")


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.held(), pytest.raises(OptionError, match="another command is writing"), folder.held():
        pass
    with folder.held():
        pass


def test_history_grows_a_line_an_epoch_and_run_yaml_is_good_for_config(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(TrainOptions(csv=Path("a.csv"), loss="asl").resolved(), "train", 0)
    content = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert (content["loss"], content["csv"]) == ("asl", str(Path("a.csv").resolve()))
    for _ in range(2):
        folder.add(SUMMARY)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [SUMMARY.to_json()] * 2


def test_a_run_that_goes_on_forgets_epochs_that_were_not_kept(tmp_path: Path) -> None:
    folder = RunFolder.choose(options(tmp_path / "run"), "train")
    folder.start(options(tmp_path / "run", csv=tmp_path / "a.csv").resolved(), "train", 0)
    for epoch in (1, 2, 3):
        folder.add(replace(SUMMARY, epoch=epoch))
    again = RunFolder.choose(options(tmp_path / "run", resume=True), "train")
    again.start(options(tmp_path / "run", csv=tmp_path / "a.csv").resolved(), "train", 2)
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


@pytest.mark.parametrize(
    "text", ["", "[]", "precision: [", "precision: fp8", "compile: maybe", "precision: {a: 1}", "\udcff", "[" * 10_000]
)
def test_a_damaged_run_yaml_is_told_where_it_would_decide(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "run.yaml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OptionError, match=r"--resume: .*run\.yaml is damaged"):
        folder.as_started(options(tmp_path))
    known = options(tmp_path, precision="fp32", compile=False)
    assert folder.as_started(known) == known


def test_a_damaged_history_is_kept_as_it_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "history.jsonl").write_bytes(b"\xff\n{}\n{}\n")
    folder.start(TrainOptions(csv=Path("a.csv")).resolved(), "train", 2)
    assert (tmp_path / "history.jsonl").read_bytes() == b"\xff\n{}\n"


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    (tmp_path / f".resume.pt.{ended.pid}.tmp").touch()
    remove_leftovers.cache_clear()
    with RunFolder(tmp_path).held():
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []
