"""What this machine has, and how a process that computes uses it."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
PR_SET_PDEATHSIG = 1  # of prctl.h
ENDED = 137  # exit code of who was killed
AT_A_TIME = 4096  # items that a pool of threads is given

Item = TypeVar("Item")
Done = TypeVar("Done")


def signals(*names: str) -> tuple[signal.Signals, ...]:
    """Those of the named signals that this system has; Windows lacks most."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


def num_cores() -> int:
    """Cores that this process may use: by its affinity, a container's quota and ``LOKY_MAX_CPU_COUNT``."""
    import joblib  # late: help and completion need none

    return int(joblib.cpu_count())


def bound_cores() -> frozenset[int]:
    """Cores that this process is bound to, as SLURM binds each task to its own; elsewhere all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def share_of_cores(mine: int, bound: Sequence[frozenset[int]], place: int) -> int:
    """How many cores a process has for itself, at least 1.

    Args:
        mine: cores that it may use, as ``num_cores`` says.
        bound: the cores that each process of its machine is bound to; those of several are shared.
        place: which of them it is.
    """
    own = bound[place]
    if mine < len(own):  # a container's quota, which all of them share
        return max(1, mine // len(bound))
    return max(1, int(1e-9 + sum(1 / sum(core in other for other in bound) for core in own)))


def share_cores() -> None:
    """Have threads that wait for each other sleep, unless the user says otherwise; for before PyTorch is loaded.

    OpenMP lets them spin, which gains a few percent alone; beside other work on the same cores, each of the thousand
    waits of a step lasts until the system gives the thread that is waited for its turn.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def in_threads(work: Callable[[Item], Done], items: Iterable[Item], num_threads: int) -> Iterator[Done]:
    """``work`` of each item, in order, from the first ``next`` on: some at a time, as a pool holds all it is given.

    Where ``work`` raises, or the iterator is left, what has begun is waited for, and the rest is not done.
    """
    rest = iter(items)
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        while some := list(islice(rest, AT_A_TIME)):
            yield from pool.map(work, some)


def keep_freed_memory() -> None:
    """From now on the C library keeps what is freed for what is needed next, in this process and those forked off it.

    Films and the outputs of layers take megabytes each, and glibc gives such pieces back to the system one by one: with
    the next film their pages come anew, each cleared at its first touch. Other C libraries are left as they are.
    """
    import ctypes  # late: help and completion need none

    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        if libc.mallopt(M_MMAP_THRESHOLD, 2**30) or libc.mallopt(M_MMAP_THRESHOLD, 2**25):  # the most before glibc 2.33
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def end_with_parent() -> None:
    """From now on this process, which ``multiprocessing`` started, is killed when the one that started it has ended.

    However that ended: who is killed tells nobody.
    """
    import ctypes  # late: help and completion need none of these
    import multiprocessing
    from threading import Thread

    parent = multiprocessing.parent_process()
    assert parent is not None, "of a process that was started by another"
    if sys.platform != "linux" or ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL):
        Thread(target=_outlast, args=(parent.sentinel,), daemon=True).start()
    elif os.getppid() != parent.pid:  # it ended before this was asked for
        os._exit(ENDED)


def end_helpers() -> None:
    """Kill the processes that work for this one, where it ends: those that pass over SIGTERM would be waited for."""
    import multiprocessing

    if hasattr(signal, "SIGCHLD"):  # of which torch makes an error
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def _outlast(parent: int) -> None:
    from multiprocessing.connection import wait

    wait([parent])
    os._exit(ENDED)
