"""What Linux alone has is not asked for while modules are imported: on Windows and macOS the program begins."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRETEND = """
import os, signal, sys
import torch, torch.distributed.elastic.multiprocessing, torch.distributed.launcher.api, timm, open_clip  # as they are
import albumentations, cv2, pandas, sklearn.metrics, scipy.stats, pydicom
import pyarrow, filelock, rich.progress, typer, joblib
lacks = {"win32": (("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGQUIT", "SIGKILL", "SIGCHLD", "pthread_sigmask", "SIG_BLOCK"),
                   ("fork", "sched_getaffinity", "mkfifo", "getuid", "WNOHANG"),
                   ("fcntl", "resource", "pwd", "grp", "termios")),
         "darwin": ((), ("sched_getaffinity",), ())}
signals, calls, modules = lacks[sys.argv[1]]
for name in signals:
    vars(signal).pop(name, None)
for name in calls:
    vars(os).pop(name, None)
for name in modules:
    sys.modules[name] = None
sys.platform = sys.argv[1]
import importlib, pkgutil, cxrlt_cli
names = [found.name for found in pkgutil.walk_packages(cxrlt_cli.__path__, "cxrlt_cli.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
assert len(names) > 200
from cxrlt_cli.machine import end_with_parent, keep_freed_memory, num_cores, share_cores
keep_freed_memory(); share_cores(); num_cores()
from typer.testing import CliRunner
from cxrlt_cli.cli.app import app
assert CliRunner().invoke(app, ["train", "--help"]).exit_code == 0
"""


@pytest.mark.parametrize("platform", ["win32", pytest.param("darwin", marks=pytest.mark.soak)])
def test_every_module_is_imported_where_there_is_no_linux(platform: str) -> None:
    done = subprocess.run([sys.executable, "-c", PRETEND, platform], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
