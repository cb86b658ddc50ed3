import re

import pytest

from cxrlt_cli.engine.cluster import first_host, started_already
from cxrlt_cli.errors import OptionError

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "h", "MASTER_PORT": "1"}
SRUN = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "6", "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "n[07-09]"}
SRUN |= {"SLURM_STEP_TASKS_PER_NODE": "2(x3)", "SLURM_JOB_ID": "123456"}


POD = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456"}
PET = {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "job-master-0", "PET_MASTER_PORT": "23456"}
LIGHTNING = {"NODE_RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "NUM_NODES": "2"}
LIGHTNING |= {"MASTER_ADDR": "h", "MASTER_PORT": "1"}


def without(names: dict[str, str], *missing: str) -> dict[str, str]:
    return {name: value for name, value in names.items() if name not in missing}


def test_what_torchrun_tells_is_taken() -> None:
    assert started_already(TORCHRUN) == {**TORCHRUN, "LOCAL_WORLD_SIZE": "1"}
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "h"}
    found = {**alone, "LOCAL_WORLD_SIZE": "1", "MASTER_PORT": "29500"}
    assert started_already(alone) == found


def test_what_srun_tells_is_taken_in_torchs_names() -> None:
    found = {"RANK": "3", "WORLD_SIZE": "6", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "n07"}
    assert started_already(SRUN) == {**found, "MASTER_PORT": "23456"}
    assert started_already({**SRUN, "RANK": "9"}) == {**found, "MASTER_PORT": "23456"}, "left by something else"
    chosen = {"MASTER_ADDR": "other", "MASTER_PORT": "7"}
    assert started_already({**SRUN, **chosen}) == {**found, **chosen}


def test_a_pod_of_kubeflow_says_not_which_of_its_machine_a_process_is() -> None:
    """It is one of a machine of its own; that is seen when they meet."""
    found = {**POD, "LOCAL_WORLD_SIZE": "1"}
    assert started_already(POD) == found
    assert started_already({**POD, **PET, "PET_NPROC_PER_NODE": "1"}) == found


@pytest.mark.parametrize(
    "environment", [PET, {**POD, **PET, "PET_NPROC_PER_NODE": "4"}, {"PET_NPROC_PER_NODE": "auto"}]
)
def test_a_pod_that_is_to_start_processes_is_for_torchrun(environment: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="PET_NPROC_PER_NODE") as caught:
        started_already(environment)
    assert "torchrun --no-python cxrlt" in caught.value.hint
    assert started_already({**environment, **TORCHRUN}) is not None, "it has started them"


@pytest.mark.parametrize(
    ("changes", "rank"),
    [
        ({}, "3"),
        ({"LOCAL_RANK": "0"}, "2"),
        ({"NUM_NODES": "", "NNODES": "2"}, "3"),
        ({"NUM_NODES": "", "LOCAL_WORLD_SIZE": "2"}, "3"),
        ({"NUM_NODES": "", "NODE_RANK": "0"}, "1"),
    ],
)
def test_lightnings_ranks_of_machine_and_process_are_taken(changes: dict[str, str], rank: str) -> None:
    found = started_already({**LIGHTNING, **changes})
    assert found is not None
    assert found["RANK"] == rank
    assert found["LOCAL_RANK"] == {**LIGHTNING, **changes}["LOCAL_RANK"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WORLD_SIZE": "1"},
        {"LOCAL_RANK": "3"},
        {"MASTER_ADDR": "h", "MASTER_PORT": "1"},
        {"RANK": "", "WORLD_SIZE": ""},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"},
        {"SLURM_JOB_ID": "7"},
    ],
)
def test_a_process_alone(environment: dict[str, str]) -> None:
    assert started_already(environment) is None


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        (without(TORCHRUN, "MASTER_ADDR"), ["MASTER_ADDR"]),
        (without(TORCHRUN, "WORLD_SIZE"), ["WORLD_SIZE"]),
        (without(TORCHRUN, "RANK"), ["RANK"]),
        ({"RANK": "0"}, ["WORLD_SIZE", "MASTER_ADDR"]),
        ({"WORLD_SIZE": "2"}, ["RANK", "MASTER_ADDR"]),
        ({"TORCHELASTIC_RUN_ID": "none", **without(TORCHRUN, "RANK")}, ["RANK"]),
        (without({**LIGHTNING, "NODE_RANK": "1"}, "NUM_NODES"), ["RANK"]),
    ],
)
def test_half_of_it_is_told(environment: dict[str, str], missing: list[str]) -> None:
    with pytest.raises(OptionError, match=f"lacks {', '.join(missing)}\\."):
        started_already(environment)


@pytest.mark.parametrize("wrong", ["x", "-1", "1.0", " "])
def test_what_is_no_number_is_told(wrong: str) -> None:
    for names in (TORCHRUN, SRUN):
        for name in set(names) - {"MASTER_ADDR", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE"}:
            with pytest.raises(OptionError, match=re.escape(f"{name}={wrong} in the environment is no number")):
                started_already({**names, name: wrong})
    with pytest.raises(OptionError, match="is no number"):
        started_already({"WORLD_SIZE": wrong})


def test_a_rank_beyond_the_last_is_told() -> None:
    with pytest.raises(OptionError, match="RANK=2 is none of the 2 processes"):
        started_already({**TORCHRUN, "RANK": "2"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("node07", "node07"), ("a,b", "a"), ("node[07-09,12],x", "node07"), ("n[3,5]-ib", "n3-ib"), ("a[1-2],b[3]", "a1")],
)
def test_slurms_first_host(nodes: str, first: str) -> None:
    assert first_host(nodes) == first
