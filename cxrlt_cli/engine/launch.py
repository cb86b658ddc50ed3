"""From one command to the processes that carry it out: alone, started here, or joined where somebody started them."""

import ctypes
import json
import logging
import multiprocessing
import os
import pickle
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Concatenate, Literal, NoReturn, ParamSpec, TypeVar

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporting import Reporter, Silent
from cxrlt_cli.engine.writing import alone
from cxrlt_cli.errors import CxrltError, OptionError, WorkerError, explain
from cxrlt_cli.machine import keep_freed_memory, num_cores

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[Process, Reporter, P], T]

SHUTDOWN_SECONDS = 20  # for workers to write what they want to keep before they are killed
PR_SET_PDEATHSIG = 1
HANDLED = (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # the last four by elastic


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
    by_torchrun = "TORCHELASTIC_RUN_ID" in environment or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= set(environment)
    by_slurm = int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in environment
    if by_torchrun or by_slurm:
        if {"processes", "nodes", "rendezvous"} & options.model_fields_set:
            starter = "torchrun" if by_torchrun else "srun"
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


def writing(options: ComputeOptions, *outputs: tuple[str, Path | None]) -> AbstractContextManager[None]:
    """``engine.writing.alone`` for a command that may be one of several processes, of which the first writes.

    Several machines that were started one by one do not know yet which is the first: they take no lock.
    """
    plan = topology(options, os.environ, torch.cuda.device_count())
    others = plan.kind == "join" and os.environ.get("RANK", os.environ.get("SLURM_PROCID")) != "0"
    return nullcontext() if options.dry_run or others or plan.num_nodes > 1 else alone(*outputs)


def launch(
    work: Work[P, T], options: ComputeOptions, reporter: Reporter, *args: P.args, **kwargs: P.kwargs
) -> T | None:
    """``work(process, reporter, ...)`` on as many processes as the options ask for; what the first gives, where it is.

    ``work`` and its arguments are picklable. Only the first process reports. Raises WorkerError with the rank and the
    error of the process that failed first; the others are ended.
    """
    plan = topology(options, os.environ, torch.cuda.device_count())
    if plan.kind == "alone":
        return work(Process.of(options), reporter, *args, **kwargs)
    if plan.kind == "join":
        _name_slurm_processes()
        with _group(options) as process:
            given = work(process, reporter if process.is_main else Silent(), *args, **kwargs)
            return given if process.is_main else None
    with tempfile.TemporaryDirectory(prefix="cxrlt-") as folder:
        job = Path(folder) / "job.pickle"
        job.write_bytes(pickle.dumps((os.getpid(), work, options, reporter.remote(), args, kwargs)))
        result: T = _elastic(plan, job)
    return result


def _elastic(plan: Topology, job: Path) -> Any:
    """Start the workers of a job, and wait for the first of them."""
    for name in list(logging.root.manager.loggerDict):  # an end is told once, by us
        if name.startswith(("torch.distributed.elastic", "torch.multiprocessing")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=plan.num_nodes,
        max_nodes=plan.num_nodes,
        nproc_per_node=plan.num_processes,
        run_id=plan.run_id,
        rdzv_backend="c10d",
        rdzv_endpoint=plan.rendezvous or "localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    environment, before = dict(os.environ), {number: signal.getsignal(number) for number in HANDLED}
    signal.signal(signal.SIGUSR1, _pass_on)
    os.environ["OMP_NUM_THREADS"] = str(max(1, num_cores() // plan.num_processes))
    try:
        results = elastic_launch(config, _work)(str(job))
    except ChildFailedError as error:
        _raise_first(error, job.parent, plan)
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + error.sigval) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(environment)
    return pickle.loads(results[0]) if results.get(0) else None


def _pass_on(number: int, _: FrameType | None) -> None:
    for child in multiprocessing.active_children():
        if child.pid is not None:
            os.kill(child.pid, number)


def _work(job: str) -> bytes:
    """One worker, from its start to its end; what it gives is pickled, its error is left beside the job."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until somebody listens
    signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))  # whoever started this one says so
    if sys.platform == "linux":  # and takes it along
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    keep_freed_memory()
    starter, work, options, reporter, args, kwargs = pickle.loads(Path(job).read_bytes())
    if os.getppid() != starter:
        os._exit(CxrltError.exit_code)
    rank = os.environ["RANK"]
    with _group(options) as process:
        try:
            given = work(process, reporter() if process.is_main else Silent(), *args, **kwargs)
        except Exception as error:  # told before the group is touched: the others see its end as an error of their own
            _tell(error, Path(job).with_name(f"error-{rank}.json"))
            os._exit(CxrltError.exit_code)
    return pickle.dumps(given) if process.is_main else b""


def _tell(error: Exception, path: Path) -> None:
    known = explain(error)
    told = {
        "time": time.time(),
        "echo": isinstance(error, distributed.DistError) or "gloo" in str(error),  # of another process's end
        "message": known.message if known else f"{type(error).__name__}: {error}",
        "hint": known.hint if known else "This is a bug in cxrlt; please report it.\n\n" + traceback.format_exc(),
    }
    path.with_suffix(".tmp").write_text(json.dumps(told))
    path.with_suffix(".tmp").rename(path)


def _raise_first(error: ChildFailedError, folder: Path, plan: Topology) -> NoReturn:
    """The error of the worker that failed first: its own, or that it was ended from outside."""
    told = {int(path.stem.removeprefix("error-")): json.loads(path.read_text()) for path in folder.glob("error-*.json")}
    number = plan.num_processes * plan.num_nodes
    killed = {rank: failure for rank, failure in error.failures.items() if failure.exitcode < 0 and rank not in told}
    order = {rank: (one["echo"], one["time"]) for rank, one in told.items()}
    order |= {rank: (failure.exitcode == -signal.SIGTERM, failure.timestamp) for rank, failure in killed.items()}
    rank = min(order, key=lambda rank: order[rank]) if order else error.get_first_failure()[0]
    if rank in told:
        raise WorkerError(f"Process {rank} of {number}: {told[rank]['message']}", told[rank]["hint"]) from None
    code = error.failures[rank].exitcode
    hint = (
        "Was there memory enough? Pass a smaller --batch-size, or fewer --workers. Training goes on with --resume, "
        "infer and ood with the same command."
    )
    how = f"was ended from outside ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    raise WorkerError(f"Process {rank} of {number} {how}.", hint) from None


@contextmanager
def _group(options: ComputeOptions) -> Iterator[Process]:
    """This process among the others, which meet here."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local, num_local = int(os.environ["LOCAL_RANK"]), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    process = replace(Process.of(options, local, num_local), rank=rank, num_processes=size)
    if process.device.type == "cuda":
        torch.cuda.set_device(process.device)
    backend = "cpu:gloo,cuda:nccl" if process.device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=timedelta(hours=2))
    try:
        yield process
    finally:
        distributed.destroy_process_group()


def _name_slurm_processes() -> None:
    """What SLURM knows of its tasks, in torch's names."""
    environment = os.environ
    if "RANK" not in environment:
        names = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_STEP_NUM_TASKS", "LOCAL_RANK": "SLURM_LOCALID"}
        environment.update({name: environment[slurm] for name, slurm in names.items()})
        on_node = environment.get("SLURM_STEP_TASKS_PER_NODE", "1")  # such as 4(x2),3
        environment.setdefault("LOCAL_WORLD_SIZE", re.split(r"[(,]", on_node)[0])
        environment.setdefault("MASTER_ADDR", first_host(environment.get("SLURM_STEP_NODELIST", "127.0.0.1")))
        environment.setdefault("MASTER_PORT", str(20000 + int(environment.get("SLURM_JOB_ID", "0")) % 20000))


def first_host(nodes: str) -> str:
    """``node07`` of ``node[07-09,12],other3``, where SLURM's task 0 runs."""
    found = re.match(r"([^,\[]+)(?:\[([^,\-\]]+)[^\]]*\]([^,]*))?", nodes)
    return "".join(part or "" for part in found.groups()) if found else nodes
