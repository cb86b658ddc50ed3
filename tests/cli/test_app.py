import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cxrlt_cli import __version__
from cxrlt_cli.cli.app import app
from tests.helpers import write_csv

CONTRACT = {
    "train": """config seed quiet debug device precision workers batch-size out dry-run csv image-dir id-column
        patient-column findings exclude cache max-pixels processes nodes rendezvous run-id preset val-csv val-fraction
        backbone weights image-size head csra-heads csra-lambda loss sampler warmup-epochs epochs lr-head lr-backbone
        weight-decay ema-decay clip-grad accumulate max-steps resume checkpoint-minutes compile track""",
    "finetune": """config seed out csv image-dir val-csv head csra-heads csra-lambda image-size loss sampler
        warmup-epochs epochs lr-head lr-backbone weight-decay ema-decay clip-grad accumulate max-steps resume
        retrain-head""",
    "infer": """config csv image-dir id-column exclude cache max-pixels tta merge postprocess alpha out dry-run
        processes""",
    "ensemble": "config csv image-dir weights tta merge postprocess alpha normal fit out",
    "calibrate": "config csv image-dir id-column patient-column exclude tta out dry-run",
    "ood": "config csv image-dir model prompts pool anchor tta features normalization out",
    "evaluate": "config csv train-csv bootstrap patient-column empty threshold by json report",
    "demo": "config",
    "data check": "config csv image-dir",
    "data cache": "config csv image-dir cache",
    "data phantom": "config films seed imbalance sheet",
    "models list": "config",
    "models pull": "config",
    "models verify": "config",
    "models export": "config",
}

runner = CliRunner()


def run(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def options_of(command: str) -> set[str]:
    group: object = typer.main.get_command(app)
    for name in command.split():
        group = group.commands[name]  # type: ignore[attr-defined]
    return {flag for parameter in group.params for flag in parameter.opts}  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", CONTRACT)
def test_the_contracts_options_are_there(command: str) -> None:
    assert {f"--{name}" for name in CONTRACT[command].split()} <= options_of(command)


@pytest.mark.parametrize("command", CONTRACT)
def test_every_command_has_help(command: str) -> None:
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    assert "--config" in out


def test_the_version() -> None:
    assert run("--version") == (0, f"cxrlt {__version__}\n", "")


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["train", "--loss", "foo"], 2, "--loss"),
    (["train", "--bogus"], 2, "--bogus"),
    (["train", "--lr-head", "-1"], 2, "--lr-head"),
    (["train", "--track", "nothing", "--csv", "x.csv"], 2, "--track"),
    (["train", "--csv", "nothing.csv"], 3, "nothing.csv does not exist"),
    (["train", "--config", "nothing.yaml"], 2, "nothing.yaml"),
    (["infer", "nothing.safetensors"], 4, "does not exist"),
    (["evaluate"], 2, "PREDICTIONS is missing"),
    (["evaluate", "nothing.csv", "--csv", "x.csv"], 3, "nothing.csv does not exist"),
    (["models", "export", "nothing.safetensors"], 4, "nothing.safetensors does not exist"),
    (["finetune", "nothing.safetensors", "--csv", "x.csv"], 4, "nothing.safetensors does not exist"),
])  # fmt: skip
def test_errors_have_their_exit_code(arguments: list[str], code: int, said: str) -> None:
    got, out, err = run(*arguments)
    assert got == code, err
    assert said in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert out == ""


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in run("evaluate", "nothing.csv", "--csv", "x.csv", "--debug")[2]


def test_interruption_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cxrlt_cli.verbs.evaluate.evaluate", interrupted)
    assert run("evaluate", "p.csv", "--csv", "x.csv")[0] == 130


def test_a_bug_keeps_its_traceback_and_exits_1(tmp_path: Path) -> None:
    code = (
        "import cxrlt_cli.verbs.evaluate as e, sys\n"
        "def broken(*_): raise ZeroDivisionError('a bug')\n"
        "e.evaluate = broken\n"
        "sys.argv = ['cxrlt', 'evaluate', 'p.csv', '--csv', 'x.csv']\n"
        "from cxrlt_cli.cli.app import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError: a bug" in done.stderr


def test_the_whole_way_train_finetune_infer_evaluate(labels: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    small = [
        "--image-size",
        64,
        "--batch-size",
        8,
        "--workers",
        1,
        "--val-fraction",
        0.3,
        "--csv",
        labels,
        "--drop-path",
        0,
    ]
    code, out, err = run(
        "train", *small, "--backbone", "test_convnext", "--weights", "none", "--head", "csra", "--loss", "db",
        "--sampler", "cas", "--warmup-epochs", 1, "--epochs", 3, "--out", first,
    )  # fmt: skip
    assert code == 0, err
    assert len(re.findall(r"^(?:head|all) \d/\d: loss", err, re.MULTILINE)) == 4
    assert "macro mean of 3 findings" in out
    assert {path.name for path in first.iterdir()} == {
        "best.safetensors", "last.safetensors", "resume.pt", "history.jsonl", "run.yaml", "metrics.json",
        "val_predictions.csv", "record.json", "split.csv", "tensorboard",
    }  # fmt: skip

    code, _, err = run("finetune", first / "best.safetensors", *small, "--loss", "asl", "--epochs", 1, "--out", second)
    assert code == 0, err
    assert "1/1: loss" in err

    predictions = tmp_path / "p.csv"
    code, out, err = run("infer", second / "best.safetensors", "--csv", labels, "--out", predictions, "--workers", 0)
    assert code == 0, err
    assert out == f"Wrote {predictions}: 48 films, 3 findings.\n"
    assert predictions.read_text().startswith("ImageID,Normal,effusion,nodule\nfilm000.png,")

    code, out, err = run("evaluate", predictions, "--csv", labels, "--json", tmp_path / "s.json")
    assert code == 0, err
    assert "effusion" in out
    assert (tmp_path / "s.json").exists()

    code, _, err = run("train", "--config", first / "run.yaml", "--out", first)
    assert code == 2
    assert "already holds a run" in err


STARTED = """
import os, signal, sys
from cxrlt_cli.cli.app import main
sys.argv = ["cxrlt", "--version"]
try: main()
except SystemExit: os.kill(os.getpid(), signal.SIGUSR1)
print("still here")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no such signal")
def test_sigusr1_ends_no_command() -> None:
    """It asks a training to keep its state; before that listens, and in other commands, there is none."""
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"cxrlt {__version__}", "still here"], done.stderr


def test_outputs_of_a_command_without_streams_and_into_a_pipe(tmp_path: Path) -> None:
    write_csv(tmp_path / "p.csv", ["ImageID", "Mass"], [[f"f{row}.png", row / 9] for row in range(9)])
    labels = [[f"f{row}.png", row, row % 2] for row in range(9)]
    write_csv(tmp_path / "truth.csv", ["ImageID", "PatientID", "Mass"], labels)
    os.mkfifo(tmp_path / "pipe")
    # a shell, since it alone starts a process whose three streams are closed
    command = f"{sys.executable} -m cxrlt_cli evaluate p.csv --csv truth.csv --bootstrap 0 --json pipe <&- >&- 2>&-"
    with ThreadPoolExecutor() as pool:
        scores = pool.submit((tmp_path / "pipe").read_text)
        assert subprocess.run(command, shell=True, cwd=tmp_path, timeout=60, check=False).returncode == 0
        assert json.loads(scores.result(10))["num_films"] == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "pipe", "truth.csv"]
