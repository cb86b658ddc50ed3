"""Two commands with one rendezvous, on one machine."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cxrlt_cli.scores.predictions import Predictions
from cxrlt_cli.tables.label_table import read_ids
from tests.engine.test_launch import FLAGS, children, command, wait_for

ON_TWO = """
import sys
from pathlib import Path
from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.launch import launch
from cxrlt_cli.engine.reporter import Silent
from tests.engine.workers import gather_for_ever
if __name__ == "__main__":
    given = {"nodes": 2, "rendezvous": sys.argv[1], "device": "cpu", "workers": 0}
    launch(gather_for_ever, ComputeOptions.model_validate(given), Silent(), Path(sys.argv[2]))
"""


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def both(*arguments: object) -> "list[subprocess.Popen[str]]":
    address = free_address()
    return [command(*arguments, "--nodes", 2, "--rendezvous", address, "--run-id", "mine") for _ in range(2)]


def training(labels: Path, out: Path) -> "list[subprocess.Popen[str]]":
    """Two machines that have trained an epoch."""
    nodes = both("train", "--csv", labels, "--out", out, *FLAGS, "--epochs", 500)
    wait_for(lambda: (out / "history.jsonl").exists())
    return nodes


@pytest.mark.soak
def test_a_stop_that_one_machine_heard_is_a_stop_of_both(labels: Path, tmp_path: Path) -> None:
    nodes = training(labels, tmp_path / "run")
    nodes[0].terminate()
    told = [node.communicate(timeout=60)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [143, 143], told


@pytest.mark.soak
def test_a_machine_that_is_stopped_does_not_wait_for_another_that_failed(tmp_path: Path) -> None:
    (tmp_path / "on_two.py").write_text(ON_TWO)
    (tmp_path / "began").mkdir()
    line = [sys.executable, str(tmp_path / "on_two.py"), free_address(), str(tmp_path / "began")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    nodes = [subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=env) for _ in range(2)]
    wait_for(lambda: len(list((tmp_path / "began").iterdir())) == 2)
    nodes[0].terminate()
    told = [node.communicate(timeout=60)[1] for node in nodes]
    assert nodes[0].returncode == 143, told
    assert "WorkerError" in told[1]


def test_two_machines_compute_together(run: Path, labels: Path, tmp_path: Path) -> None:
    """Two commands with one rendezvous, on one machine."""
    nodes = both("infer", run, "--csv", labels, "--device", "cpu", "--workers", "0", "--out", tmp_path / "p.csv")
    told = [node.communicate(timeout=120) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    assert sum("Wrote" in out for out, _ in told) == 1, "the first alone reports"
    assert Predictions.read(tmp_path / "p.csv").ids.tolist() == read_ids(labels).tolist()


@pytest.mark.soak
def test_a_machine_that_lost_another_says_so(labels: Path, tmp_path: Path) -> None:
    """The other says how its process ended."""
    nodes = training(labels, tmp_path / "run")
    (worker,) = children(nodes[0].pid)
    os.kill(worker, signal.SIGKILL)
    own, others = (" ".join(node.communicate(timeout=120)[1].rpartition("Error: ")[2].split()) for node in nodes)
    assert [node.returncode for node in nodes] == [5, 5], (own, others)
    (rank,) = re.findall(r"^Process (\d) of 2 was ended from outside \(SIGKILL\)", own)
    assert others.startswith(
        f"Process {1 - int(rank)} of 2 lost process {rank} of another machine, at 127.0.0.1: it ended"
    )
    assert "The output of its own command has the reason." in others
