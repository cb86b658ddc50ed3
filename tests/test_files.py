import errno
import os
import pty
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import (
    finish,
    remove_leftovers,
    replacing,
    require_file,
    require_no_labels,
    working_path,
    write_text,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "first")
    with pytest.raises(ValueError, match="stop"), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "first"
        raise ValueError("stop")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_files_have_the_usual_mode(tmp_path: Path) -> None:
    write_text(tmp_path / "usual", "x")
    with replacing(tmp_path / "private") as temporary:
        temporary.touch(0o600)
    assert (tmp_path / "private").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_is_read_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "labels.csv")
    with pytest.raises(OptionError, match="reads"):
        require_file(tmp_path / "link.csv", "--out", [None, tmp_path / "labels.csv"])
    require_file(tmp_path / "p.csv", "--out", [tmp_path / "labels.csv"])


def test_a_path_that_cannot_be_is_told() -> None:
    with pytest.raises(OptionError, match=r"cannot be written|Permission|does not exist"):
        write_text(Path("/proc/nothing/x.csv"), "x")


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "first")
    with pytest.raises(OptionError, match="No space left"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("way", [write_text, lambda path, text: finish(grown(path, text), path)])
def test_what_is_written_to_a_pipe_passes_through(tmp_path: Path, way: object) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        require_file(path, "--json")
        with ThreadPoolExecutor() as pool:
            read = pool.submit((tmp_path / "pipe").read_text)
            way(path, "scores")  # type: ignore[operator]
            assert read.result(10) == "scores"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def grown(path: Path, text: str) -> Path:
    rows = path.with_name(".rows")
    rows.write_text(text)
    return rows


def test_a_terminal_is_written_to_and_stays_one() -> None:
    ours, theirs = pty.openpty()
    path = Path(os.ttyname(theirs))
    require_file(path, "--json")
    write_text(path, "scores")
    assert os.read(ours, 100) == b"scores"
    assert stat.S_ISCHR(path.stat().st_mode)
    os.close(ours)
    os.close(theirs)


def test_dev_stdout_is_what_is_open_there(tmp_path: Path) -> None:
    """Though it leads to a plain file: that goes on getting what is printed before and after."""
    code = (
        "from pathlib import Path; from cxrlt_cli.files import write_text\n"
        "print('before'); write_text(Path('/dev/stdout'), 'scores\\n'); print('after')"
    )
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nscores\nafter\n"


def test_a_number_that_nothing_is_open_at_is_told_before_any_work() -> None:
    with pytest.raises(OptionError, match="--json /dev/fd/987654 cannot be written to"):
        require_file(Path("/dev/fd/987654"), "--json")
    with pytest.raises(OptionError, match="cannot be written"):
        write_text(Path("/dev/fd/987654"), "x")


def test_links_are_followed_and_stay(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "there.txt").write_text("old")
    for name in ("there", "not_yet"):
        link = tmp_path / f"{name}.txt"
        link.symlink_to(f"far/{name}.txt")
        require_file(link, "--out")
        write_text(link, "new")
        assert link.is_symlink()
        assert (tmp_path / "far" / f"{name}.txt").read_text() == "new"
    finish(grown(tmp_path / "x", "newest"), tmp_path / "there.txt")
    assert (tmp_path / "far" / "there.txt").read_text() == "newest"
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["not_yet.txt", "there.txt"]


def test_what_is_neither_file_nor_stream_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name, reason in (("socket", "a socket"), ("loop", "a link")):
            with pytest.raises(OptionError, match=f"--out .*{name} is {reason}"):
                require_file(Path(name), "--out")
            with pytest.raises(OptionError, match=f"{name} is {reason}"):
                write_text(Path(name), "x")
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop", "socket"]


def test_what_killed_commands_left_goes_and_what_living_ones_write_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = working_path(tmp_path / "p.csv").name
    machine = mine.split("-")[1].removesuffix(".tmp")
    day = time.time() - 25 * 3600
    gone = [f".p.csv.{ended.pid}.tmp", f".p.csv.{ended.pid}-{machine}.tmp", f".p.csv.{os.getpid()}-00000000.tmp"]
    stay = [f".p.csv.{os.getppid()}-{machine}.tmp", f".p.csv.{ended.pid}-11111111.tmp", f".q.csv.{ended.pid}.tmp", "p"]
    for name in (*gone, *stay):
        (tmp_path / name).touch()
    os.utime(tmp_path / gone[2], (day, day))  # of another machine
    (tmp_path / f".p.csv.{ended.pid}-00000000.tmp").mkdir()
    os.utime(tmp_path / f".p.csv.{ended.pid}-00000000.tmp", (day, day))
    remove_leftovers.cache_clear()
    write_text(tmp_path / "p.csv", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*stay, "p.csv"])


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_crash_and_get_no_files(tmp_path: Path, closed: str) -> None:
    code = (
        "import os; from cxrlt_cli.files import open_standard_streams\n"
        "open_standard_streams(); file = open('results', 'w')\n"
        "print('to stdout'); ended = os.system('echo noise && echo noise >&2')\n"
        "file.write(str((file.fileno() > 2, ended))); file.close()"
    )
    done = subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "results").read_text() == "(True, 0)"


def test_what_an_encoding_lacks_is_written_out() -> None:
    code = "from cxrlt_cli.files import open_standard_streams\nopen_standard_streams(); print('\u2265 90 \u2013')"
    here = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", code], env=here, stdout=subprocess.PIPE, check=True)
    assert done.stdout.strip() == b"\\u2265 90 \x96"


def test_labels_are_no_predictions(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    require_no_labels([tmp_path / "a.csv"], None)
    require_no_labels([tmp_path / "a.csv"], tmp_path / "b.csv")
    with pytest.raises(OptionError, match=r"link\.csv is named as predictions and as --csv"):
        require_no_labels([tmp_path / "link.csv"], tmp_path / "a.csv")
