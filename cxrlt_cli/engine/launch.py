"""From one command to the processes that carry it out: alone, started here, or joined where somebody started them."""

import json
import logging
import multiprocessing
import os
import pickle
import re
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import resource_tracker
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any, Concatenate, Literal, NoReturn, ParamSpec, TypeVar

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.cluster import by_torchrun, started_already
from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter, Silent
from cxrlt_cli.errors import CxrltError, OptionError, WorkerError, explain, listed
from cxrlt_cli.machine import end_with_parent, keep_freed_memory, num_cores

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[Process, Reporter, P], T]

GO_ON = "Training goes on with --resume, infer and ood with the same command."
SHUTDOWN_SECONDS = 20  # for workers to write what they want to keep before they are killed
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
    """``lock_outputs`` for a command that may be one of several processes, of which the first writes.

    Several machines that were started one by one do not know yet which is the first: they take no lock.
    """
    plan = topology(options, os.environ, torch.cuda.device_count())
    others = plan.kind == "join" and os.environ.get("RANK", os.environ.get("SLURM_PROCID")) != "0"
    return nullcontext() if options.dry_run or others or plan.num_nodes > 1 else lock_outputs(*outputs)


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
        os.environ.update(started_already(os.environ) or {})
        with _group(options) as process:
            try:
                given = work(process, reporter if process.is_main else Silent(reporter.remote()), *args, **kwargs)
            except Exception as error:
                if _of_others_end(error):
                    raise _lost(process.rank, process.num_processes, "another one", str(error)) from error
                raise
            return given if process.is_main else None
    with tempfile.TemporaryDirectory(prefix="cxrlt-") as folder:
        job = Path(folder) / "job.pickle"
        job.write_bytes(pickle.dumps((work, options, reporter.remote(), args, kwargs)))
        result: T = _elastic(plan, job)
    return result


def _elastic(plan: Topology, job: Path) -> Any:
    """Start the workers of a job, and wait for the first of them."""
    if plan.rendezvous:
        _require_host(plan.rendezvous)
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
        with _held_back(signal.SIGUSR1, signal.SIGINT):
            results = elastic_launch(config, _work)(str(job))
    except ChildFailedError as error:
        _raise_first(error.failures, job.parent, plan)
    except (RendezvousError, distributed.DistError) as error:  # the machine where they meet is gone
        _raise_first({}, job.parent, plan)
        raise _lost_machines(plan, met=any(job.parent.glob("began-*"))) from error
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


@contextmanager
def _held_back(*numbers: int) -> Iterator[None]:
    """Processes started meanwhile get these signals once they let them through: a Python that starts is ended by them.

    They have the mask of the thread that starts them; this process hears the signals by another one.
    """
    over = Event()

    def hear() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        over.wait()

    resource_tracker.ensure_running()  # which lets Ctrl-C through again when it has started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    listener = Thread(target=hear, daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        over.set()
        listener.join()


def _work(job: str) -> bytes:
    """One worker, from its start to its end; what it gives is pickled, its error is left beside the job."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until somebody listens
    signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))  # whoever started this one says so
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1, signal.SIGINT])
    end_with_parent()
    keep_freed_memory()
    work, options, reporter, args, kwargs = pickle.loads(Path(job).read_bytes())
    rank = os.environ["RANK"]
    Path(job).with_name(f"began-{rank}").touch()
    told = Path(job).with_name(f"error-{rank}.json")
    try:
        with _group(options) as process:
            try:
                given = work(process, reporter() if process.is_main else Silent(reporter), *args, **kwargs)
            except Exception as error:  # before the group is touched: the others see its end as an error of their own
                _end_with(error, told)
    except Exception as error:
        _end_with(error, told)
    return pickle.dumps(given) if process.is_main else b""


def _end_with(error: Exception, path: Path) -> NoReturn:
    known = explain(error)
    told = {
        "time": time.time(),
        "echo": _of_others_end(error),
        "message": known.message if known else f"{type(error).__name__}: {error}",
        "hint": known.hint if known else "This is a bug in cxrlt; please report it.\n\n" + traceback.format_exc(),
    }
    path.with_suffix(".tmp").write_text(json.dumps(told))
    path.with_suffix(".tmp").rename(path)
    os._exit(CxrltError.exit_code)


def _raise_first(failures: Mapping[int, ProcessFailure], folder: Path, plan: Topology) -> None:
    """The error of the worker that failed first: its own, or that it was ended from outside."""
    told = {int(path.stem.removeprefix("error-")): json.loads(path.read_text()) for path in folder.glob("error-*.json")}
    number = plan.num_processes * plan.num_nodes
    killed = {rank: failure for rank, failure in failures.items() if failure.exitcode < 0 and rank not in told}
    order = {rank: (one["echo"], one["time"]) for rank, one in told.items()}
    order |= {rank: (failure.exitcode == -signal.SIGTERM, failure.timestamp) for rank, failure in killed.items()}
    order = order or {rank: (False, failure.timestamp) for rank, failure in failures.items()}
    if not order:
        return
    rank = min(order, key=lambda rank: order[rank])
    if rank in told and told[rank]["echo"]:
        raise _lost(rank, number, _others(rank, plan), told[rank]["message"]) from None
    if rank in told:
        raise WorkerError(f"Process {rank} of {number}: {told[rank]['message']}", told[rank]["hint"]) from None
    code = failures[rank].exitcode
    hint = f"Was there memory enough? Pass a smaller --batch-size, or fewer --workers. {GO_ON}"
    how = f"was ended from outside ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    raise WorkerError(f"Process {rank} of {number} {how}.", hint) from None


def _others(rank: int, plan: Topology) -> str:
    """Those that do not compute on the machine of ``rank``."""
    first = rank - rank % plan.num_processes
    mine = range(first, first + plan.num_processes)
    others = [str(other) for other in range(plan.num_processes * plan.num_nodes) if other not in mine]
    return f"process{'es' if len(others) > 1 else ''} {listed(others)} of another machine" if others else "another one"


def _of_others_end(error: Exception) -> bool:
    """Whether an error of one process is that another is gone."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def _lost(rank: int, number: int, which: str, reason: str) -> WorkerError:
    """The error of a process whose peers ended without a word to it."""
    address = re.search(r"\[([0-9a-f.:]+)\]:\d+", reason)
    where = f", at {address[1]}" if address else ""
    return WorkerError(
        f"Process {rank} of {number} lost {which}{where}: it ended, or cannot be reached.",
        f"The output of its own command has the reason. {GO_ON}",
    )


def _lost_machines(plan: Topology, met: bool) -> WorkerError:
    """The error of a machine that cannot reach those that it is to compute with."""
    if met:
        return WorkerError(
            "The other machines ended, or cannot be reached any more.",
            f"The output of their own commands has the reason. {GO_ON}",
        )
    return WorkerError(
        f"The {plan.num_nodes} machines did not meet at {plan.rendezvous}.",
        "Start the same command on each, within 10 minutes; HOST of --rendezvous is one of them, and its PORT open.",
    )


def _require_host(rendezvous: str) -> None:
    """Raise OptionError where ``--rendezvous`` can be no place to meet; torch would look for it for minutes."""
    host, _, port = rendezvous.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise OptionError(f"--rendezvous {rendezvous} is not HOST:PORT.", "For example node1:29500.")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError as error:
        raise OptionError(
            f"--rendezvous {rendezvous}: this machine knows no {host}.", "It is the name or address of one of them."
        ) from error


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
