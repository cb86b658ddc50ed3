"""Whether a command computes alone, starts processes, or joins those that somebody started."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.cluster import by_torchrun, started_already
from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.errors import OptionError


@dataclass(frozen=True)
class Topology:
    """What a command is to do: compute ``alone``, ``launch`` processes, or ``join`` those that were launched."""

    kind: Literal["alone", "launch", "join"]
    num_processes: int = 1  # on this machine
    num_nodes: int = 1
    rendezvous: str = ""
    run_id: str = ""


def topology(options: ComputeOptions, environment: Mapping[str, str], num_gpus: int) -> Topology:
    """Where a command computes, from its options, what torchrun or SLURM left in the environment, and the GPUs.

    Raises OptionError where they contradict each other.
    """
    if started_already(environment) is not None:
        if {"processes", "nodes", "rendezvous"} & options.model_fields_set:
            starter = "torchrun" if by_torchrun(environment) else "srun"
            raise OptionError(
                f"{starter} has started the processes of this command already.",
                f"Leave --processes, --nodes and --rendezvous out, or leave {starter} out.",
            )
        return Topology("join")
    if options.nodes > 1 and not options.rendezvous:
        raise OptionError(
            "--nodes needs --rendezvous HOST:PORT, the same on every machine.", "HOST is the first of them."
        )
    if options.rendezvous and options.nodes == 1:
        raise OptionError("--rendezvous is for several machines.", "Pass their number with --nodes.")
    gpus = 0 if options.device == "cpu" else num_gpus
    number = max(1, gpus) if options.processes == "auto" else options.processes
    if gpus and number > gpus:
        raise OptionError(f"--processes {number}: this machine has {gpus} GPUs.", "One process computes on each.")
    if number == options.nodes == 1:
        return Topology("alone")
    return Topology("launch", number, options.nodes, options.rendezvous or "", options.run_id or "cxrlt")


def num_processes(options: ComputeOptions, environment: Mapping[str, str], num_gpus: int) -> int:
    """How many processes will carry a command out, on all machines."""
    plan = topology(options, environment, num_gpus)
    names = started_already(environment) if plan.kind == "join" else None
    return plan.num_processes * plan.num_nodes if names is None else int(names["WORLD_SIZE"])


def lock_outputs_once(options: ComputeOptions, *outputs: tuple[str, Path | None]) -> AbstractContextManager[None]:
    """``lock_outputs``, unless nothing is written.

    Several machines that were started one by one do not know yet which is the first: they take no lock.
    """
    plan = topology(options, os.environ, torch.cuda.device_count())
    return nullcontext() if options.dry_run or plan.num_nodes > 1 else lock_outputs(*outputs)
