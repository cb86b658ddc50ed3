"""Processes that torchrun, srun, Kubeflow or Lightning started, and machines that wait for each other."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cxrlt_cli.engine import meeting
from cxrlt_cli.engine.meeting import wait_for_host
from cxrlt_cli.errors import OptionError, WorkerError
from cxrlt_cli.scores.predictions import Predictions
from tests.helpers import Recorder


@pytest.mark.parametrize(
    ("rendezvous", "match"),
    [
        ("nosuchhost.invalid:29500", "this machine knows no nosuchhost.invalid"),
        ("host", "is not HOST:PORT"),
        ("host:port", "is not HOST:PORT"),
        (":29500", "is not HOST:PORT"),
        ("127.0.0.1:123456", "is not HOST:PORT"),
    ],
)
def test_a_place_where_machines_cannot_meet_is_told_at_once(rendezvous: str, match: str) -> None:
    with pytest.raises(OptionError, match=f"^--rendezvous {rendezvous}.*{match}"):
        wait_for_host(rendezvous, Recorder())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_the_machine_where_they_meet_waits_for_nobody() -> None:
    reporter = Recorder()
    for host in ("127.0.0.1", "localhost", socket.gethostname()):
        wait_for_host(f"{host}:{free_port()}", reporter)
    assert reporter.notes == []


def test_another_machine_is_waited_for_while_it_prepares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than any store of torch would."""
    monkeypatch.setattr(meeting, "ASK_AGAIN", 0.05)
    monkeypatch.setattr(meeting, "_is_mine", lambda _: False)
    port, reporter = free_port(), Recorder()
    server: list[socket.socket] = []
    prepared = threading.Timer(0.5, lambda: server.append(socket.create_server(("127.0.0.1", port))))
    prepared.start()
    wait_for_host(f"127.0.0.1:{port}", reporter)
    prepared.join()
    server[0].close()
    assert len(reporter.notes) == 1
    assert f"Waiting for 127.0.0.1:{port}" in reporter.notes[0]
    with pytest.raises(WorkerError, match=f"^Nobody answers at 127.0.0.1:{port}"):
        wait_for_host(f"127.0.0.1:{port}", reporter, longest=0.1)


def srun(rank: int, port: int) -> dict[str, str]:
    names = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_STEP_NUM_TASKS": "2"}
    names |= {"SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_STEP_TASKS_PER_NODE": "2", "MASTER_PORT": str(port)}
    return names


def kubeflow(rank: int, port: int) -> dict[str, str]:
    names = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {**names, "PET_NODE_RANK": str(rank), "PET_NNODES": "2", "PET_NPROC_PER_NODE": "1"}


def lightning(rank: int, port: int) -> dict[str, str]:
    names = {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    return {**names, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def torchrun(rank: int, port: int) -> dict[str, str]:
    return {**lightning(rank, port), "RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}


STARTERS = [srun, *(pytest.param(starter, marks=pytest.mark.soak) for starter in (kubeflow, lightning, torchrun))]


def started(starter: object, arguments: list[object]) -> list[tuple[int, str, str]]:
    """What two processes that a scheduler started end with: exit codes, and what they say."""
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cxrlt_cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **starter(rank, port)},  # type: ignore[operator]
        )
        for rank in (1, 0)
    ]
    told = [process.communicate(timeout=120) for process in processes][::-1]
    return [(process.returncode, *texts) for process, texts in zip(processes[::-1], told, strict=True)]


def said_by(texts: list[str]) -> list[str]:
    """Lines of ours: PyTorch 2.10 has Gloo write one of its own."""
    return [line for text in texts for line in text.splitlines() if not line.startswith("[Gloo]")]


@pytest.mark.parametrize("starter", STARTERS)
def test_the_first_alone_prepares_and_speaks(starter: object, run: Path, labels: Path, tmp_path: Path) -> None:
    """What it read while the others waited is all that they need: then a film that is missing is told once."""
    arguments = ["infer", run, "--csv", labels, "--device", "cpu", "--workers", "0", "--out", tmp_path / "p.csv"]
    (code, out, err), (other, *silent) = started(starter, arguments)
    assert (code, other) == (0, 0), (err, silent)
    assert "Wrote" in out
    assert said_by(silent) == []
    assert len(Predictions.read(tmp_path / "p.csv").ids) == 48


@pytest.mark.soak
def test_what_the_first_finds_at_fault_ends_the_others_without_a_word(labels: Path, run: Path, tmp_path: Path) -> None:
    arguments = ["infer", run, "--csv", labels, "--image-dir", tmp_path, "--device", "cpu", "--out", tmp_path / "p.csv"]
    (code, _, err), (other, *silent) = started(srun, arguments)
    assert (code, other) == (3, 3)
    assert "Error: 48 of 48 films" in err
    assert said_by(silent) == []
