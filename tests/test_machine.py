import os
import subprocess
import sys

import pytest

from cxrlt_cli.machine import num_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_cores_are_those_that_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    assert num_cores() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert num_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


FAULTS = """
import resource
from cxrlt_cli.machine import keep_freed_memory
if {keeps}: keep_freed_memory()
def touch(): b"x" * 40_000_000
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="this is of glibc")
def test_pages_come_once() -> None:
    """40 MB are 9,766 pages, which come anew each time unless what was freed is kept."""
    faults = [
        int(subprocess.run([sys.executable, "-c", FAULTS.format(keeps=keeps)], capture_output=True, check=True).stdout)
        for keeps in (False, True)
    ]
    assert faults[0] > 20 * 9000
    assert faults[1] < 100
