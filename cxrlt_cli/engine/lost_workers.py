"""How the end of processes that compute together is told: by the error of the one that failed first."""

import json
import os
import re
import signal
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from cxrlt_cli.engine.topology import Topology
from cxrlt_cli.errors import CxrltError, WorkerError, explain, listed

GO_ON = "Training goes on with --resume, infer and ood with the same command."
ECHO, ENDED_BY_US = 1, 2  # errors of processes that others left alone come after those of the others


def end_with(error: Exception, path: Path) -> NoReturn:
    known = explain(error)
    told = {
        "time": time.time(),
        "echo": of_others_end(error),
        "message": known.message if known else f"{type(error).__name__}: {error}",
        "hint": known.hint if known else "This is a bug in cxrlt; please report it.\n\n" + traceback.format_exc(),
    }
    path.with_suffix(".tmp").write_text(json.dumps(told))
    path.with_suffix(".tmp").rename(path)
    os._exit(CxrltError.exit_code)


def raise_first(failures: Mapping[int, ProcessFailure], folder: Path, plan: Topology) -> None:
    """The error of the worker that failed first: its own, or that it was ended from outside."""
    told = {int(path.stem.removeprefix("error-")): json.loads(path.read_text()) for path in folder.glob("error-*.json")}
    number = plan.num_processes * plan.num_nodes
    killed = {rank: failure for rank, failure in failures.items() if failure.exitcode < 0 and rank not in told}
    order = {rank: (ECHO * one["echo"], one["time"]) for rank, one in told.items()}
    order |= {
        rank: (ENDED_BY_US * (failure.exitcode == -signal.SIGTERM), failure.timestamp)
        for rank, failure in killed.items()
    }
    order = order or {rank: (0, failure.timestamp) for rank, failure in failures.items()}
    if not order:
        return
    rank = min(order, key=lambda rank: order[rank])
    if order[rank][0] == ECHO or (order[rank][0] == ENDED_BY_US and plan.num_nodes > 1):
        raise lost(rank, number, _others(rank, plan), told.get(rank, {}).get("message", "")) from None
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


def of_others_end(error: Exception) -> bool:
    """Whether an error of one process is that another is gone."""
    by_gloo = isinstance(error, RuntimeError) and not isinstance(error, CxrltError) and "gloo" in str(error)
    return isinstance(error, distributed.DistError) or by_gloo


def lost(rank: int, number: int, which: str, reason: str) -> WorkerError:
    """The error of a process whose peers ended without a word to it."""
    address = re.search(r"\[([0-9a-f.:]+)\]:\d+", reason)
    where = f", at {address[1]}" if address else ""
    return WorkerError(
        f"Process {rank} of {number} lost {which}{where}: it ended, or cannot be reached.",
        f"The output of its own command has the reason. {GO_ON}",
    )


def lost_machines(plan: Topology, met: bool) -> WorkerError:
    """The error of a machine that cannot reach those that it is to compute with."""
    if met:
        return WorkerError(
            "The other machines ended, or cannot be reached any more.",
            f"The output of their own commands has the reason. {GO_ON}",
        )
    return WorkerError(
        f"The {plan.num_nodes} machines did not meet at {plan.rendezvous}.",
        "Start the same command on each, within a day; HOST of --rendezvous is one of them, and its PORT open.",
    )
