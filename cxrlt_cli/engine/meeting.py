"""Where processes of one command meet, and what each of them has of its machine."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.errors import OptionError, WorkerError
from cxrlt_cli.machine import bound_cores, num_cores, share_of_cores

LONGEST_WAIT = 24 * 60 * 60  # seconds for which a machine waits for others, which may be preparing
ASK_AGAIN = 1.0  # seconds


@dataclass
class Others:
    """Those that wait for what the first process tells them, for as long as it takes."""

    process: Process
    _group: Any
    at_work: bool = False

    @classmethod
    def of(cls, process: Process) -> "Others":
        """To be asked for on all processes, when they have met."""
        return cls(process, distributed.new_group(backend="gloo", timeout=timedelta(days=365)))

    def tell(self, mine: object) -> Any:
        """What the first process has, on every one of them."""
        told = [mine]
        distributed.broadcast_object_list(told, src=0, group=self._group)
        return told[0]


@contextmanager
def meeting(options: ComputeOptions) -> Iterator[Process]:
    """This process among the others, which meet here."""
    has_gpu = options.device != "cpu" and torch.cuda.is_available()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if has_gpu else "gloo", timeout=timedelta(hours=2))
    try:
        yield _among_others(options)
    finally:
        distributed.destroy_process_group()


def _among_others(options: ComputeOptions) -> Process:
    rank, size = distributed.get_rank(), distributed.get_world_size()
    places: list[Any] = [None] * size
    distributed.all_gather_object(places, (socket.gethostname(), bound_cores()))
    here = [other for other, (host, _) in enumerate(places) if host == places[rank][0]]
    place = here.index(rank)
    cores = share_of_cores(num_cores(), [places[other][1] for other in here], place)
    process = Process.of(options, int(os.environ.get("LOCAL_RANK", place)), cores)
    if process.device.type == "cuda":
        torch.cuda.set_device(process.device)
    return replace(process, rank=rank, num_processes=size)


def wait_for_host(rendezvous: str, reporter: Reporter, longest: float = LONGEST_WAIT) -> None:
    """Until the machine of ``--rendezvous`` answers, or this one is it: it may be preparing for hours yet.

    Raises OptionError where it can be no place to meet, WorkerError where nobody answers for a day.
    """
    addresses = _addresses(rendezvous)
    if any(map(_is_mine, addresses)):
        return
    told, start = False, time.monotonic()
    while not any(map(_answers, addresses)):
        if time.monotonic() - start > longest:
            raise WorkerError(
                f"Nobody answers at {rendezvous}.",
                "Start the same command on each machine; HOST of --rendezvous is one of them, and its PORT open.",
            )
        if not told:
            reporter.note(f"Waiting for {rendezvous}, which answers when the command there has read its films.")
            told = True
        time.sleep(ASK_AGAIN)


def _addresses(rendezvous: str) -> Sequence[tuple[Any, ...]]:
    """Where a machine is, as ``socket`` has it."""
    host, _, port = rendezvous.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise OptionError(f"--rendezvous {rendezvous} is not HOST:PORT.", "For example node1:29500.")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise OptionError(
            f"--rendezvous {rendezvous}: this machine knows no {host}.", "It is the name or address of one of them."
        ) from error
    return [(family, address) for family, _, _, _, address in found]


def _is_mine(where: tuple[Any, ...]) -> bool:
    """Whether an address is of this machine: only then something can listen there."""
    family, (host, _, *rest) = where
    with socket.socket(family) as tried:
        try:
            tried.bind((host, 0, *rest))
        except OSError:
            return False
    return True


def _answers(where: tuple[Any, ...]) -> bool:
    family, address = where
    with socket.socket(family) as tried:
        tried.settimeout(5 * ASK_AGAIN)
        return tried.connect_ex(address) == 0
