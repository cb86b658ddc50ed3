"""What this machine has, and how a process that computes uses it."""

import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores() -> None:
    """Have threads that wait for each other sleep, unless the user says otherwise; for before PyTorch is loaded.

    OpenMP lets them spin, which gains a few percent alone; beside other work on the same cores, each of the thousand
    waits of a step lasts until the system gives the thread that is waited for its turn.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def keep_freed_memory() -> None:
    """From now on the C library keeps what is freed for what is needed next, in this process and those forked off it.

    Films and the outputs of layers take megabytes each, and glibc gives such pieces back to the system one by one: with
    the next film their pages come anew, each cleared at its first touch. Other C libraries are left as they are.
    """
    import ctypes  # late: help and completion need none

    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        if libc.mallopt(M_MMAP_THRESHOLD, 2**30) or libc.mallopt(M_MMAP_THRESHOLD, 2**25):  # the most before glibc 2.33
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
