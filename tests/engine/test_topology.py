from pathlib import Path
from typing import Any

import pytest

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.topology import Topology, lock_outputs_once, num_processes, topology
from cxrlt_cli.errors import OptionError

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "h", "MASTER_PORT": "1"}
SRUN = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "0"}
NODES = {"nodes": 2, "rendezvous": "host:29500"}


@pytest.mark.parametrize(
    ("options", "environment", "num_gpus", "expected"),
    [
        ({}, {}, 0, Topology("alone")),
        ({}, {}, 4, Topology("alone")),
        ({"processes": "auto"}, {}, 0, Topology("alone")),
        ({"processes": "auto"}, {}, 4, Topology("launch", 4, 1, "", "cxrlt")),
        ({"processes": "auto", "device": "cpu"}, {}, 4, Topology("alone")),
        ({"processes": 3}, {}, 0, Topology("launch", 3, 1, "", "cxrlt")),
        ({"processes": 3, "device": "cpu"}, {}, 2, Topology("launch", 3, 1, "", "cxrlt")),
        ({"processes": 2, **NODES}, {}, 2, Topology("launch", 2, 2, "host:29500", "cxrlt")),
        ({**NODES, "run_id": "mine"}, {}, 0, Topology("launch", 1, 2, "host:29500", "mine")),
        ({}, TORCHRUN, 2, Topology("join")),
        ({}, SRUN, 2, Topology("join")),
        ({"processes": 2}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, 2, Topology("launch", 2, 1, "", "cxrlt")),
        ({}, {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, 0, Topology("alone")),
    ],
)
def test_where_a_command_computes(
    options: dict[str, Any], environment: dict[str, str], num_gpus: int, expected: Topology
) -> None:
    assert topology(ComputeOptions.model_validate(options), environment, num_gpus) == expected


@pytest.mark.parametrize(
    ("options", "environment", "num_gpus", "match"),
    [
        ({"processes": 3}, {}, 2, "this machine has 2 GPUs"),
        ({"nodes": 2}, {}, 0, "--nodes needs --rendezvous"),
        ({"rendezvous": "host:1"}, {}, 0, "for several machines"),
        ({"processes": 2}, TORCHRUN, 0, "torchrun has started"),
        (NODES, SRUN, 0, "srun has started"),
    ],
)
def test_contradictions_are_told(
    options: dict[str, Any], environment: dict[str, str], num_gpus: int, match: str
) -> None:
    with pytest.raises(OptionError, match=match):
        topology(ComputeOptions.model_validate(options), environment, num_gpus)


@pytest.mark.parametrize(
    ("options", "environment", "number"),
    [({}, {}, 1), ({"processes": 3, **NODES}, {}, 6), ({}, TORCHRUN, 2), ({}, SRUN, 4), ({}, {"WORLD_SIZE": "1"}, 1)],
)
def test_how_many_compute(options: dict[str, Any], environment: dict[str, str], number: int) -> None:
    assert num_processes(ComputeOptions.model_validate(options), environment, 0) == number


@pytest.mark.parametrize(
    ("changes", "environment", "locks"),
    [
        ({}, {}, True),
        ({"processes": 2}, {}, True),
        ({"dry_run": True}, {}, False),
        ({"processes": 2, **NODES}, {}, False),
        ({}, {**TORCHRUN, "RANK": "0"}, True),
    ],
)
def test_one_process_of_a_command_has_the_lock(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    environment: dict[str, str],
    locks: bool,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = ComputeOptions.model_validate({"device": "cpu", **changes})
    with lock_outputs_once(options, ("--out", tmp_path / "p.csv")):
        assert [path.name for path in tmp_path.iterdir()] == [".p.csv.lock"] * locks
