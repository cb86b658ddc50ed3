import errno
import pickle
from pathlib import Path

import pytest
import torch

from cxrlt_cli import errors
from cxrlt_cli.errors import CxrltError, DataError, FilmError, OptionError, explain, listed


@pytest.mark.parametrize(("name", "code"), [
    ("OptionError", 2), ("DataError", 3), ("CheckpointError", 4), ("ModelError", 4), ("WorkerError", 5),
])  # fmt: skip
def test_exit_codes_are_the_contracts(name: str, code: int) -> None:
    assert getattr(errors, name)("what").exit_code == code


def test_the_hint_follows_the_message() -> None:
    assert str(DataError("What is wrong.", "What to do.")) == "What is wrong.\nWhat to do."


def test_a_film_error_comes_home_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(FilmError(Path("a.png"), "is empty")))
    assert (error.path, error.reason, error.exit_code) == (Path("a.png"), "is empty", 3)


def test_a_missing_libgl_is_told_with_its_remedy() -> None:
    known = explain(ImportError("libGL.so.1: cannot open shared object file: No such file or directory"))
    assert known is not None
    assert "libgl1" in known.hint
    assert "opencv-python-headless" in known.hint


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_or_closed_disk_is_the_users_matter(number: int) -> None:
    known = explain(OSError(number, "no", "/out/best.safetensors"))
    assert known is not None
    assert "/out/best.safetensors" in known.message
    assert known.exit_code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_weights_that_do_not_fit_on_the_disk_are_the_users_matter() -> None:
    """torch does not say why a file of its own was cut."""
    with pytest.raises(RuntimeError) as full:
        torch.save({"a": torch.ones(10**6)}, "/dev/full")
    disk = explain(full.value)
    assert isinstance(disk, OptionError)
    assert "disk is full" in disk.message


def test_memory_is_the_users_matter() -> None:
    gpu = explain(type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"))
    worker = explain(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert gpu is not None
    assert worker is not None
    assert (gpu.exit_code, worker.exit_code) == (5, 5)
    assert "--batch-size" in gpu.hint
    assert "--workers" in worker.hint


def test_what_is_not_known_is_a_bug() -> None:
    assert explain(ValueError("x")) is None
    assert explain(ImportError("No module named 'nothing'")) is None
    own = CxrltError("x")
    assert explain(own) is own


def test_lists_are_cut() -> None:
    assert listed(range(3)) == "0, 1, 2"
    assert listed(range(9)) == "0, 1, 2, 3, 4 and 4 more"
