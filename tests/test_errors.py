import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cxrlt_cli import errors
from cxrlt_cli.errors import CxrltError, DataError, FilmError, OptionError, explain, listed, missing_column


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


@pytest.mark.parametrize("number", sorted(set(errno.errorcode) - {errno.ENOENT}))
def test_whatever_the_system_refuses_of_a_file_names_it_and_a_way_out(number: int) -> None:
    known = explain(OSError(number, "no", "/data/labels.csv"))
    assert known is not None
    assert "/data/labels.csv" in known.message
    assert known.hint


@pytest.mark.parametrize("error", [
    OSError(errno.EMFILE, "Too many open files"), RuntimeError("received 0 items of ancdata"),
    RuntimeError("unable to open shared memory object </torch_1> in read-write mode: Too many open files (24)"),
])  # fmt: skip
def test_few_file_handles_are_told_with_two_ways_out(error: Exception) -> None:
    known = explain(error)
    assert known is not None
    assert "open at once" in known.message
    assert "--workers" in known.hint
    assert "ulimit -n" in known.hint


def test_a_file_that_is_not_there_is_told_with_the_nearest_that_is(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    known = explain(FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "lables.csv")))
    assert known is not None
    assert known.message == f"{tmp_path / 'lables.csv'} does not exist. Did you mean labels.csv?"


@pytest.mark.parametrize("words", [["data", "phantom", "x", "--films", "40"], ["infer", "/x", "--csv", "/x.csv"]])
def test_a_folder_that_is_gone_from_under_a_command_is_told(tmp_path: Path, words: list[str]) -> None:
    """Before PyTorch is loaded, whose libraries would end the process."""
    (tmp_path / "gone").mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from cxrlt_cli.cli.app import main; main()"
    command = [sys.executable, "-P", "-c", code, *words]
    done = subprocess.run(command, cwd=tmp_path / "gone", capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "Error: The folder that this command was started in is gone.",
    )


@pytest.mark.parametrize("home", ["/proc/none", pytest.param("/dev/null", marks=pytest.mark.soak)])
def test_a_home_that_cannot_be_made_is_told_with_what_to_set(home: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    command = [sys.executable, "-m", "cxrlt_cli", "train"]
    done = subprocess.run(command, env={**env, "HOME": home}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: ")
    assert "set XDG_CACHE_HOME" in done.stderr


def test_a_missing_column_is_told_with_the_nearest_and_the_flag_where_it_was_not_passed() -> None:
    error = missing_column("a.csv", "ImageID", ["Image Index", "imageid", "Mass"])
    assert error.message == "a.csv has no column 'ImageID' (it has Image Index, imageid, Mass). Did you mean imageid?"
    assert error.hint == "Pass --id-column imageid."
    assert missing_column("a.csv", "ImageID", ["x"]).hint == "Pass --id-column with its name."
    passed = missing_column("p.csv", "Image Index", ["ImageID", "Mass"])
    way_out = "If the files of a command call it differently, rename the column in this one."
    assert passed.hint == f"Pass --id-column ImageID. {way_out}"
    assert missing_column("p.csv", "Image Index", ["x"]).hint == way_out


def test_what_is_not_known_is_a_bug() -> None:
    assert explain(ValueError("x")) is None
    assert explain(ImportError("No module named 'nothing'")) is None
    own = CxrltError("x")
    assert explain(own) is own


def test_lists_are_cut() -> None:
    assert listed(range(3)) == "0, 1, 2"
    assert listed(range(9)) == "0, 1, 2, 3, 4 and 4 more"
