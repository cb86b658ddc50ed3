"""How commands end while others read films for them: at once, with the right code, and with nobody left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes where Linux lists them")

SMALL = ["--device=cpu", "--precision=fp32", "--workers=2", "--batch-size=4"]
TRAIN = ["--backbone=test_convnext", "--weights=none", "--image-size=32", "--drop-path=0", "--val-fraction=0.3"]
TRAIN += ["--warmup-epochs=0", "--epochs=500", "--track=none", *SMALL]
Ending = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ending]:
    """What ends a command, and how: ``ending("infer", ..., fault="disk")``."""
    output = tmp_path_factory.mktemp("endings") / "output"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cli.endings"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        stdin, stdout = server.stdin, server.stdout
        assert stdout.readline() == "ready\n"

        def end(*arguments: object, **how: object) -> dict[str, Any]:
            output.unlink(missing_ok=True)
            case = {"arguments": list(map(str, arguments)), "output": str(output), **how}
            print(json.dumps(case, default=str), file=stdin, flush=True)
            return {**json.loads(stdout.readline()), "output": output.read_text()}

        yield end
        stdin.close()


@pytest.fixture
def films(labels: Path, tmp_path: Path) -> Path:
    """The CSV of films that may be damaged."""
    return Path(shutil.copytree(labels.parent, tmp_path / "set")) / labels.name


def arguments(command: str, run: Path, films: Path, out: Path) -> list[object]:
    csv = ("--csv", films, "--device=cpu")
    return {
        "train": ["train", *csv, "--out", out, *TRAIN],
        "infer": ["infer", run, *csv, *SMALL, "--out", out],
        "ensemble": ["ensemble", run / "best.safetensors", run / "last.safetensors", *csv, *SMALL, "--out", out],
        "ood": ["ood", *csv, "--model=phantom-clip", *SMALL, "--out", out],
        "cache": ["data", "cache", *csv[:2], "--cache", out, "--image-size=32"],
    }[command]


@pytest.mark.parametrize("command", ["infer", "ensemble", "ood", "cache"])
def test_a_film_that_cannot_be_read_ends_the_command(
    ending: Ending, run: Path, films: Path, tmp_path: Path, command: str
) -> None:
    film = films.parent / "images" / "film030.png"
    film.write_bytes(film.read_bytes()[:400])
    ended = ending(*arguments(command, run, films, tmp_path / "out"))
    assert (ended["code"], ended["left"]) == (3, 0), ended["output"]
    assert "film030.png" in ended["output"]
    assert "Traceback" not in ended["output"]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        *((command, "beside readers") for command in ("train", "infer", "ensemble", "ood")),
        *((command, "in a reader") for command in ("train", "cache")),
    ],
)
def test_a_bug_ends_the_command(
    ending: Ending, run: Path, labels: Path, tmp_path: Path, command: str, fault: str
) -> None:
    ended = ending(*arguments(command, run, labels, tmp_path / "out"), fault=fault)
    assert (ended["code"], ended["left"]) == (1, 0), ended["output"]
    assert "ZeroDivisionError: a bug" in ended["output"]
    assert "DataLoader worker (pid" not in ended["output"], "their end is no fault"


@pytest.mark.parametrize("fault", ["cut", "gone"])
def test_a_film_that_is_damaged_meanwhile_ends_a_training(
    ending: Ending, run: Path, films: Path, tmp_path: Path, fault: str
) -> None:
    film = films.parent / "images" / "film030.png"
    how = {"cut": {"cut": film}, "gone": {"remove": film}}[fault]
    out = tmp_path / "out"
    ended = ending(*arguments("train", run, films, out), when=out / "history.jsonl", **how)
    assert (ended["code"], ended["left"]) == (3, 0), ended["output"]
    assert "film030.png" in ended["output"]


def test_a_full_disk_ends_a_training(ending: Ending, run: Path, labels: Path, tmp_path: Path) -> None:
    ended = ending(*arguments("train", run, labels, tmp_path / "out"), fault="disk")
    assert (ended["code"], ended["left"]) == (2, 0), ended["output"]
    assert "No space left" in ended["output"]


def test_a_loss_that_is_not_finite_ends_a_training(ending: Ending, run: Path, labels: Path, tmp_path: Path) -> None:
    ended = ending(*arguments("train", run, labels, tmp_path / "out"), "--lr-head=1e38", "--loss=bce")
    assert (ended["code"], ended["left"]) == (5, 0), ended["output"]


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143), (signal.SIGINT, 130)],
)
def test_a_signal_ends_a_training_and_its_readers(
    ending: Ending, run: Path, labels: Path, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "out"
    ended = ending(*arguments("train", run, labels, out), when=out / "history.jsonl", signal=number)
    assert (ended["code"], ended["left"]) == (code, 0), ended["output"]
    assert (out / "resume.pt").exists() == (number != signal.SIGKILL), "its readers stay until the state is kept"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_signal_ends_those_that_draw_phantoms(ending: Ending, tmp_path: Path, number: int) -> None:
    """Once the first film is drawn, of more than can be drawn in time."""
    arguments = ("data", "phantom", tmp_path / "out", "--films", 50_000, "--size", 64)
    ended = ending(*arguments, when=tmp_path / ".out.*.tmp" / "images" / "*.png", signal=number)
    assert (ended["left"], "Traceback" in ended["output"]) == (0, False), ended["output"]
    assert ended["code"] == (130 if number == signal.SIGINT else -number), ended["output"]


@pytest.mark.parametrize("command", [pytest.param("infer", marks=pytest.mark.soak), "train"])
def test_of_two_processes_one_that_fails_ends_all(
    ending: Ending, run: Path, films: Path, tmp_path: Path, command: str
) -> None:
    film, out = films.parent / "images" / "film030.png", tmp_path / "out"
    how: dict[str, object] = {"when": out / "history.jsonl", "cut": film}
    if command == "infer":
        film.write_bytes(film.read_bytes()[:400])
        how = {"seconds": 60}  # to start, mostly
    ended = ending(*arguments(command, run, films, out), "--processes=2", **how)
    assert (ended["code"], ended["left"]) == (5, 0), ended["output"]
    assert "film030.png" in ended["output"]
