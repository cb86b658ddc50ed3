"""Commands in processes of their own, forked from one that has imported everything: read from stdin, told on stdout.

A line is a JSON object: ``arguments``; ``fault``, which this process brings into it; ``output``, the file of what it
prints; and, once there is a file like the pattern ``when``, a film to ``cut`` short or to ``remove``, or a ``signal``
to send. The answer: the exit code, None where it had to be killed, and the number of processes that it left behind.
"""

import atexit
import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from glob import glob
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

SECONDS = 15.0
IMPORTED_FIRST = ("data_cache", "ensemble", "infer", "ood", "train")


def bug(*_: object, **__: object) -> Any:
    raise ZeroDivisionError("a bug")


def one_batch(batches: Any, _: object) -> Iterator[Any]:
    yield next(iter(batches))
    bug()


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "last.safetensors")


def bring(fault: str) -> None:
    """Change this process, so that the command fails."""
    changes: dict[str, tuple[list[str], str, Callable[..., Any]]] = {
        "beside readers": (["engine.predict", "training.learner", "engine.encode"], "on_device", one_batch),
        "in a reader": (["data.loading", "data.cache"], "read_film", bug),
        "disk": (["training.loop"], "RunFolder.save_last", full_disk),
    }
    modules, names, value = changes[fault]
    for module in modules:
        place: Any = import_module(f"cxrlt_cli.{module}")
        *owners, name = names.split(".")
        for owner in owners:
            place = getattr(place, owner)
        setattr(place, name, value)


def processes(session: int) -> list[int]:
    """Those of a session that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has ended meanwhile
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def happen(case: dict[str, Any], pid: int, ended: Callable[[], bool]) -> None:
    start = time.monotonic()
    while not glob(case["when"]) and not ended() and time.monotonic() < start + 60:  # noqa: PTH207
        time.sleep(0.02)
    if "cut" in case:
        film = Path(case["cut"])
        film.write_bytes(film.read_bytes()[:400])
    elif "remove" in case:
        Path(case["remove"]).unlink()
    elif not ended():
        send = os.kill if case["signal"] == signal.SIGKILL else os.killpg  # as terminals and SLURM do
        send(pid, case["signal"])


def watch(case: dict[str, Any], pid: int) -> dict[str, Any]:
    """Wait for its end, and for that of what it started: killed by the system, they may take a moment."""
    status: list[int] = []

    def ended() -> bool:
        if not status:
            found, code = os.waitpid(pid, os.WNOHANG)
            status.extend([code] if found else [])
        return bool(status)

    if "when" in case:
        happen(case, pid, ended)
    start = time.monotonic()
    while not ended() and time.monotonic() < start + case.get("seconds", SECONDS):
        time.sleep(0.02)
    seconds = time.monotonic() - start
    while processes(pid) and time.monotonic() < start + seconds + 3 * bool(status):
        time.sleep(0.02)
    left = processes(pid)
    for process in left:
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status[0]) if status else None
    return {"code": code, "left": len(left) if status else 0, "seconds": seconds}


def begin(case: dict[str, Any]) -> None:
    """Be a command, as if it had been typed."""
    os.setsid()
    output = os.open(case["output"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["cxrlt", *case["arguments"]]
    if case.get("fault"):
        bring(case["fault"])


def serve() -> None:
    """Returns in a process that is to be a command."""
    for name in IMPORTED_FIRST:
        import_module(f"cxrlt_cli.verbs.{name}")
    print("ready", flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        pid = os.fork()
        if pid == 0:
            begin(case)
            return
        print(json.dumps(watch(case, pid)), flush=True)
    os._exit(0)


def run() -> NoReturn:
    """The command, and what Python does at its end, less the taking apart of modules, which takes a fork seconds."""
    from cxrlt_cli.cli.app import main

    error: BaseException | None = None
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        error, code = end, end.code
    except BaseException as end:
        error, code = end, 1
        sys.excepthook(type(end), end, end.__traceback__)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    del error  # until here it holds all that its frames do
    os._exit(code or 0)


if __name__ == "__main__":
    serve()
    run()
