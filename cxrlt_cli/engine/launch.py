"""From one command to the processes that carry it out: alone, started here, or joined where somebody started them."""

import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event, Thread, Timer
from types import FrameType
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from cxrlt_cli.config import ComputeOptions
from cxrlt_cli.engine.cluster import speaks, started_already
from cxrlt_cli.engine.lost_workers import end_with, lost, lost_machines, of_others_end, raise_first
from cxrlt_cli.engine.meeting import LONGEST_WAIT, Others, meeting, wait_for_host
from cxrlt_cli.engine.process import Process
from cxrlt_cli.engine.reporter import Reporter, Silent
from cxrlt_cli.engine.topology import Topology, topology
from cxrlt_cli.errors import OptionError, explain
from cxrlt_cli.machine import end_with_parent, keep_freed_memory, num_cores, signals

P = ParamSpec("P")
T = TypeVar("T")
OptionsT = TypeVar("OptionsT", bound=ComputeOptions)
Work = Callable[Concatenate[Process, Reporter, P], T]

AFTER_A_FAILURE = 20  # seconds that the others have to end by themselves
PASSED_ON = signals("SIGUSR1", "SIGINT")
BY_ELASTIC = signals("SIGHUP", "SIGQUIT") or signals("SIGTERM")
HANDLED = (*PASSED_ON, signal.SIGTERM, *BY_ELASTIC)
PATIENCE = 0.5  # seconds after Ctrl-C, within which a stop needs no announcement
FOR_OTHER_MACHINES = 10.0  # seconds after a stop, in which they may stop too
TO_BE_TAKEN = 3.0  # seconds that a worker that was stopped stays, until what it gives is on its way
_joined: list[Others] = []  # where this process has met those that torchrun or srun started


def prepared_once(verb: Callable[[OptionsT, Reporter], T]) -> Callable[[OptionsT, Reporter], T | None]:
    """A verb that the first process carries out where torchrun or srun started several; the others do its ``launch``.

    They meet first, and wait for as long as the first prepares. It alone reads, checks and speaks; where it fails, the
    others end with its exit code. Gives None in the others.
    """

    @wraps(verb)
    def carried_out(options: OptionsT, reporter: Reporter) -> T | None:
        names = started_already(os.environ)
        if names is None or _joined:
            return verb(options, reporter)
        try:
            topology(options, os.environ, torch.cuda.device_count())
        except OptionError as error:
            if speaks(os.environ):
                raise
            raise SystemExit(error.exit_code) from error
        os.environ.update(names)
        with meeting(options) as process:
            try:
                if process.is_main:
                    return _lead(verb, options, reporter, process)
                _follow(reporter, process)
            except Exception as error:
                if of_others_end(error):
                    raise lost(process.rank, process.num_processes, "another one", str(error)) from error
                raise
        return None

    return carried_out


def _lead(verb: Callable[[OptionsT, Reporter], T], options: OptionsT, reporter: Reporter, process: Process) -> T:
    others = Others.of(process)
    _joined.append(others)
    code = 0
    try:
        return verb(options, reporter)
    except BaseException as error:
        code = _exit_code(error)
        raise
    finally:
        _joined.clear()
        if not others.at_work:  # else they see the end of this one
            with suppress(RuntimeError):  # gone by themselves
                others.tell(code)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    known = explain(error)
    return known.exit_code if known else 1


def _follow(reporter: Reporter, process: Process) -> None:
    """Work with the first process, again and again, until it has ended."""
    others = Others.of(process)
    while not isinstance(told := others.tell(None), int):
        work, args, kwargs = told
        work(process, Silent(reporter.remote()), *args, **kwargs)
    if told:
        raise SystemExit(told)


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
        if not _joined:
            return prepared_once(lambda options, reporter: launch(work, options, reporter, *args, **kwargs))(
                options, reporter
            )
        (others,) = _joined
        others.tell((work, args, kwargs))
        others.at_work = True
        given = work(others.process, reporter, *args, **kwargs)
        others.at_work = False
        return given
    with tempfile.TemporaryDirectory(prefix="cxrlt-") as folder:
        job = Path(folder) / "job.pickle"
        job.write_bytes(pickle.dumps((work, options, reporter.remote(), args, kwargs)))
        result: T = _elastic(plan, job, reporter)
    return result


def _elastic(plan: Topology, job: Path, reporter: Reporter) -> Any:
    """Start the workers of a job, and wait for the first of them."""
    if plan.rendezvous:
        wait_for_host(plan.rendezvous, reporter)
    for name in list(logging.root.manager.loggerDict):  # an end is told once, by us
        if name.startswith(("torch.distributed.elastic", "torch.multiprocessing")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    environment, before = dict(os.environ), {number: signal.getsignal(number) for number in HANDLED}
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(AFTER_A_FAILURE)  # read by PyTorch 2.12 and later
    config = LaunchConfig(
        min_nodes=plan.num_nodes,
        max_nodes=plan.num_nodes,
        nproc_per_node=plan.num_processes,
        run_id=plan.run_id,
        rdzv_backend="c10d",
        rdzv_endpoint=plan.rendezvous or "localhost:0",
        rdzv_configs={"join_timeout": LONGEST_WAIT},
        max_restarts=0,
        monitor_interval=0.1,
        signals_to_handle=",".join(number.name for number in BY_ELASTIC),
    )
    stop = _Stop(reporter, plan, job.parent)
    for number in signals("SIGUSR1"):
        signal.signal(number, _pass_on)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop.hear)
    os.environ["OMP_NUM_THREADS"] = str(max(1, num_cores() // plan.num_processes))
    try:
        with _held_back(*PASSED_ON):
            results = elastic_launch(config, _work)(str(job))
    except ChildFailedError as error:
        if stop.number:
            _end_by(stop.number)
        raise_first(error.failures, job.parent, plan)
    except (RendezvousError, distributed.DistError) as error:  # the machine where they meet is gone
        raise_first({}, job.parent, plan)
        raise lost_machines(plan, met=any(job.parent.glob("began-*"))) from error
    except SignalException as error:
        _end_by(error.sigval)
    finally:
        stop.over()
        for number, handler in before.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(environment)
    given = {rank: pickle.loads(result) for rank, result in results.items()}
    if any(stopped for stopped, _ in given.values()):
        _end_by(stop.number or signal.SIGTERM)
    return given[0][1] if 0 in given else None


class _Stop:
    """Ctrl-C and SIGTERM, heard by who started the workers: these keep what they can, and end; a second time, at once.

    Workers hear SIGTERM for both, and never Ctrl-C, which a terminal sends to all of them besides.
    """

    def __init__(self, reporter: Reporter, plan: Topology, folder: Path) -> None:
        self.number, self._reporter, self._plan, self._folder = 0, reporter, plan, folder
        self._over = Event()
        told = "Stopping when the state can be kept; Ctrl-C again stops at once."
        self._announcement = Timer(PATIENCE, reporter.note, [told])
        self._announcement.daemon = True

    def hear(self, number: int, _: FrameType | None) -> None:
        workers = multiprocessing.active_children()
        if self.number or not workers:
            for worker in workers:
                worker.kill()
            _end_by(number)
        self.number = number
        if number == signal.SIGINT:
            self._announcement.start()
        for worker in workers:
            worker.terminate()
        if self._plan.num_nodes > 1:
            Thread(target=self._end_without_others, args=(workers,), daemon=True).start()

    def _end_without_others(self, workers: Sequence[BaseProcess]) -> None:
        """PyTorch waits for other machines for minutes, in C++, where it hears no signal; they may have failed."""
        for worker in workers:
            wait([worker.sentinel])
        if not self._over.wait(FOR_OTHER_MACHINES):
            self._reporter.warn("Stopped. The other machines have not told that they stopped too.")
            shutil.rmtree(self._folder, ignore_errors=True)
            os._exit(128 + self.number)

    def over(self) -> None:
        self._over.set()
        self._announcement.cancel()


def _end_by(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt from None
    raise SystemExit(128 + number) from None


def _pass_on(number: int, _: FrameType | None) -> None:
    for child in multiprocessing.active_children():
        if child.pid is not None:
            os.kill(child.pid, number)


@contextmanager
def _held_back(*numbers: int) -> Iterator[None]:
    """Processes started meanwhile get these signals once they let them through: a Python that starts is ended by them.

    They have the mask of the thread that starts them; this process hears the signals by another one.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
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
    """One worker, from its start to its end: whether it was stopped, and what it gives.

    Pickled; its error is left beside the job.
    """
    for number in PASSED_ON:  # SIGUSR1 until somebody listens; Ctrl-C is passed on as SIGTERM by who started this one
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _end_by(signal.SIGTERM))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    end_with_parent()
    keep_freed_memory()
    work, options, reporter, args, kwargs = pickle.loads(Path(job).read_bytes())
    rank = os.environ["RANK"]
    Path(job).with_name(f"began-{rank}").touch()
    told = Path(job).with_name(f"error-{rank}.json")
    try:
        with meeting(options) as process:
            try:
                given = work(process, reporter() if process.is_main else Silent(reporter), *args, **kwargs)
            except Exception as error:  # before the group is touched: the others see its end as an error of their own
                end_with(error, told)
    except SystemExit:
        _leave_soon()
        return pickle.dumps((True, None))  # no failure, for which others would be ended while they keep their state
    except Exception as error:
        end_with(error, told)
    return pickle.dumps((False, given if process.is_main else None))


def _leave_soon() -> None:
    """What was stopped because another process failed gives something that nobody takes, and waits for that."""
    leave = Timer(TO_BE_TAKEN, os._exit, [0])
    leave.daemon = True
    leave.start()
