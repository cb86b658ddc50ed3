import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from cxrlt_cli import machine
from cxrlt_cli.machine import in_threads, num_cores, share_of_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_cores_are_those_that_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    assert num_cores() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert num_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


ALL = frozenset(range(64))
EIGHT = [frozenset(range(first, first + 8)) for first in (0, 8, 16, 24)]


@pytest.mark.parametrize(
    ("mine", "bound", "found"),
    [
        (64, [ALL], 64),
        (64, [ALL] * 4, 16),  # torchrun binds nobody
        (8, EIGHT, 8),  # srun --cpus-per-task=8: these are its own already
        (8, [EIGHT[0]] * 4, 2),  # srun without it, of a job with eight cores
        (8, [ALL] * 4, 2),  # a container's quota, shared
        (8, [ALL], 8),  # a pod's, its own
        (8, [EIGHT[0], EIGHT[0], EIGHT[1]], 4),
        (3, [frozenset(range(3))] * 3, 1),
        (1, [frozenset([0])] * 4, 1),
    ],
)
def test_what_a_process_has_for_itself(mine: int, bound: list[frozenset[int]], found: int) -> None:
    assert share_of_cores(mine, bound, 0) == found


@pytest.mark.parametrize(
    ("given", "found"), [({}, "passive"), pytest.param({"OMP_WAIT_POLICY": "active"}, "active", marks=pytest.mark.soak)]
)
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(given: dict[str, str], found: str) -> None:
    """Where OpenMP is loaded, that is, which tells its settings then."""
    code = (
        "import sys; sys.argv = ['cxrlt', 'infer', 'nothing']\n"
        "from cxrlt_cli.cli.app import main\n"
        "assert 'torch' not in sys.modules\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "true", **given}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert f"OMP_WAIT_POLICY = '{found.upper()}'" in done.stderr


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


ORPHAN = """
import multiprocessing, os, signal, sys, time
from cxrlt_cli.machine import end_with_parent

def work(ready):
    sys.platform = {platform!r}
    end_with_parent()
    ready.set()
    time.sleep(60)

context = multiprocessing.get_context("fork")
ready = context.Event()
context.Process(target=work, args=(ready,), daemon=True).start()
ready.wait()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
@pytest.mark.parametrize("platform", sorted({sys.platform, "darwin"}))
def test_a_helper_ends_when_its_parent_is_killed(platform: str) -> None:
    """Until both have ended, one of them has the other end of this pipe."""
    code = ORPHAN.format(platform=platform)
    ended = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False, timeout=20)
    assert ended.returncode == -signal.SIGKILL


def test_threads_answer_in_order_and_are_given_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "AT_A_TIME", 4)
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            asked.append(number)
            yield number

    done = in_threads(lambda number: number * number, items(), 3)
    assert next(done) == 0
    assert asked == [0, 1, 2, 3]
    assert [*done] == [number * number for number in range(1, 10)]
    assert [*in_threads(str, [], 0)] == []


def test_threads_that_are_left_end_with_what_they_have_begun() -> None:
    """As when one Ctrl-C ends a look at ten thousand films."""
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)

    for _ in in_threads(work, range(1000), 2):
        break
    assert len(begun) < 10
    time.sleep(0.1)
    assert len(begun) < 10
