"""What started this process as one of several: torchrun or srun, told by the variables that they leave."""

import re
from collections.abc import Mapping

from cxrlt_cli.errors import OptionError, listed

SLURM = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_STEP_NUM_TASKS", "LOCAL_RANK": "SLURM_LOCALID"}
DEFAULT_PORT = "29500"  # as torchrun has it


def started_already(environment: Mapping[str, str]) -> dict[str, str] | None:
    """What torchrun or srun tells a process of those that it started, in torch's names; None where this one is alone.

    Raises OptionError where it tells half of it, or what is no number.
    """
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
    if several:
        _checked(environment, "torchrun")
    return None


def by_torchrun(environment: Mapping[str, str]) -> bool:
    """Whether it was torchrun, or who leaves the same."""
    elastic = bool(environment.get("TORCHELASTIC_RUN_ID"))
    return elastic or all(environment.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def _checked(environment: Mapping[str, str], starter: str) -> dict[str, str]:
    """The variables of a process among several, all of them; raises OptionError where they are not."""
    names = {name: environment.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")}
    if names["WORLD_SIZE"] == "1":
        names["LOCAL_RANK"] = names["LOCAL_RANK"] or "0"
    told = {name: SLURM.get(name, name) if starter == "srun" else name for name in names}
    missing = [told[name] for name, value in names.items() if not value]
    if missing:
        raise OptionError(
            f"This looks like one of several processes of {starter}, but the environment lacks {listed(missing)}.",
            "Start the command with torchrun or srun. Where it is to compute alone, unset RANK and WORLD_SIZE.",
        )
    names["LOCAL_WORLD_SIZE"] = environment.get("LOCAL_WORLD_SIZE") or "1"
    names["MASTER_PORT"] = environment.get("MASTER_PORT") or DEFAULT_PORT
    rank, size = _number(names, "RANK"), _number(names, "WORLD_SIZE")
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT"):
        _number(names, name)
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
