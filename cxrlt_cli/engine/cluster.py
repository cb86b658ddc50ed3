"""What started this process as one of several, told by the variables that torchrun, srun and others leave."""

import re
from collections.abc import Mapping

from cxrlt_cli.errors import OptionError, listed

SLURM = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_STEP_NUM_TASKS", "LOCAL_RANK": "SLURM_LOCALID"}
DEFAULT_PORT = "29500"  # as torchrun has it
BY_TORCHRUN = "Start it with torchrun, which reads the PET_ variables: torchrun --no-python cxrlt ..."


def started_already(environment: Mapping[str, str]) -> dict[str, str] | None:
    """What torchrun, srun, Kubeflow or Lightning tells a process of those that it started, in torch's names.

    None where this one is alone; without ``LOCAL_RANK`` where nobody says which of its machine it is.

    Raises OptionError where half of it is told, or what is no number.
    """
    _check_pod(environment)
    if by_torchrun(environment):
        return _checked(environment, "torchrun")
    if _number(environment, "SLURM_STEP_NUM_TASKS", "1") > 1 and environment.get("SLURM_PROCID"):
        for name in SLURM.values():
            _number(environment, name, "0")
        named = {torch: environment.get(slurm, "") for torch, slurm in SLURM.items()}
        on_node = environment.get("SLURM_STEP_TASKS_PER_NODE", "")  # such as 4(x2),3
        named["LOCAL_WORLD_SIZE"] = re.split(r"[(,]", on_node)[0] or "1"
        named["MASTER_ADDR"] = environment.get("MASTER_ADDR") or first_host(
            environment.get("SLURM_STEP_NODELIST", "127.0.0.1")
        )
        port = str(20000 + _number(environment, "SLURM_JOB_ID", "0") % 20000)
        return _checked({**named, "MASTER_PORT": environment.get("MASTER_PORT") or port}, "srun")
    several = _number(environment, "WORLD_SIZE", "2" if environment.get("RANK") else "1") > 1
    return _checked(_with_rank(environment), "torchrun") if several else None


def speaks(environment: Mapping[str, str]) -> bool:
    """Whether this process tells what all of those that were started together are to hear once: it is the first.

    Also where the environment is at fault, which may be so on one machine alone.
    """
    try:
        names = started_already(environment)
    except OptionError:
        return True
    return names is None or int(names["RANK"]) == 0


def by_torchrun(environment: Mapping[str, str]) -> bool:
    """Whether it was torchrun, or who leaves the same."""
    elastic = bool(environment.get("TORCHELASTIC_RUN_ID"))
    return elastic or all(environment.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def _check_pod(environment: Mapping[str, str]) -> None:
    """Raise OptionError in a pod of Kubeflow that is to start several processes, or knows of others by PET_ alone."""
    if environment.get("LOCAL_RANK") or environment.get("TORCHELASTIC_RUN_ID"):
        return  # torchrun has started them
    processes, nodes = (environment.get(f"PET_{name}", "1") for name in ("NPROC_PER_NODE", "NNODES"))
    if processes != "1" or (nodes not in ("1", "1:1") and not environment.get("RANK")):
        raise OptionError(
            f"This pod is to start {processes} processes (PET_NPROC_PER_NODE) on one of {nodes} machines (PET_NNODES).",
            BY_TORCHRUN,
        )


def _with_rank(environment: Mapping[str, str]) -> Mapping[str, str]:
    """With ``RANK``, which follows from those of the machine and of the process on it, as Lightning tells them."""
    if environment.get("RANK") or not (environment.get("NODE_RANK") and environment.get("LOCAL_RANK")):
        return environment
    node, local = _number(environment, "NODE_RANK"), _number(environment, "LOCAL_RANK")
    nodes = environment.get("NUM_NODES") or environment.get("NNODES")
    if environment.get("LOCAL_WORLD_SIZE"):
        on_node = _number(environment, "LOCAL_WORLD_SIZE")
    elif nodes:
        on_node = _number(environment, "WORLD_SIZE") // max(1, _number({"NUM_NODES": nodes}, "NUM_NODES"))
    elif node:
        return environment
    else:
        on_node = 0  # the first machine has the first ranks
    return {**environment, "RANK": str(node * on_node + local)}


def _checked(environment: Mapping[str, str], starter: str) -> dict[str, str]:
    """The variables of a process among several, all of them; raises OptionError where they are not."""
    names = {name: environment.get(name, "") for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR")}
    told = {name: SLURM.get(name, name) if starter == "srun" else name for name in names}
    missing = [told[name] for name, value in names.items() if not value]
    if missing:
        raise OptionError(
            f"This looks like one of several processes of {starter}, but the environment lacks {listed(missing)}.",
            "Start the command with torchrun or srun. Where it is to compute alone, unset RANK and WORLD_SIZE.",
        )
    names["LOCAL_WORLD_SIZE"] = environment.get("LOCAL_WORLD_SIZE") or "1"
    names["MASTER_PORT"] = environment.get("MASTER_PORT") or DEFAULT_PORT
    if environment.get("LOCAL_RANK"):
        names["LOCAL_RANK"] = environment["LOCAL_RANK"]
    rank, size = _number(names, "RANK"), _number(names, "WORLD_SIZE")
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT"):
        _number(names, name, "0")
    if rank >= size:
        raise OptionError(f"RANK={rank} is none of the {size} processes of WORLD_SIZE: the first is 0.")
    return names


def _number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    value = environment.get(name) or default
    if not value.isdecimal():
        raise OptionError(
            f"{name}={value} in the environment is no number.", "torchrun and srun set it; otherwise, unset it."
        )
    return int(value)


def first_host(nodes: str) -> str:
    """``node07`` of ``node[07-09,12],other3``, where SLURM's task 0 runs."""
    found = re.match(r"([^,\[]+)(?:\[([^,\-\]]+)[^\]]*\]([^,]*))?", nodes)
    return "".join(part or "" for part in found.groups()) if found else nodes
