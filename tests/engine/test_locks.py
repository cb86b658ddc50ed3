"""Two commands and one file: of processes of their own, started together, one writes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.errors import OptionError
from cxrlt_cli.scores.predictions import Predictions
from tests.helpers import write_csv

HOLD = """
import sys
from pathlib import Path
from cxrlt_cli.engine.locks import lock_outputs
with lock_outputs(("--out", Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""
TAKE_TURNS = """
import sys
from pathlib import Path
from cxrlt_cli.engine.locks import lock_outputs
from cxrlt_cli.errors import OptionError
folder, number = Path(sys.argv[1]), 0
while number < 60:
    try:
        with lock_outputs(("--out", folder / "p.csv")):
            (folder / "mine").touch(exist_ok=False)
            (folder / "mine").unlink()
            number += 1
    except OptionError:
        pass
"""
SERVE = """
import json, sys
from cxrlt_cli.cli.app import _run_again
from cxrlt_cli.errors import explain
import cxrlt_cli.verbs.infer, cxrlt_cli.verbs.ensemble, cxrlt_cli.verbs.data_check
print("ready", flush=True)
for line in sys.stdin:
    code = _run_again(json.loads(line))
    sys.stdout.write(f"exit {code}\\n")
    sys.stdout.flush()
"""


def test_a_second_one_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    out = tmp_path / "new" / "p.csv"
    (tmp_path / "link.csv").symlink_to(out)
    with lock_outputs(("--out", out), ("--decisions", None)):
        for path in (out, tmp_path / "link.csv"):
            with (
                pytest.raises(OptionError, match=r"--out .*: another command is writing there"),
                lock_outputs(("--out", path)),
            ):
                pass
        with lock_outputs(("--out", out.with_name("q.csv"))):
            pass
        assert list(out.parent.iterdir()) == [out.with_name(".p.csv.lock")]
    assert list(tmp_path.iterdir()) == [tmp_path / "link.csv"]
    with lock_outputs(("--out", out)):
        out.touch()
    assert list(out.parent.iterdir()) == [out]


def test_rows_that_a_killed_command_left_go_with_what_they_were_for(tmp_path: Path) -> None:
    left = [tmp_path / ".p.csv.partial", tmp_path / ".p.csv.partial.json", tmp_path / ".q.csv.partial"]
    for path in left:
        path.touch()
    with pytest.raises(ValueError, match="stopped"), lock_outputs(("--out", tmp_path / "p.csv")):
        raise ValueError("stopped")
    assert all(path.exists() for path in left)
    with lock_outputs(("--out", tmp_path / "p.csv")):
        pass
    assert list(tmp_path.iterdir()) == left[2:]


def test_the_lock_of_a_killed_command_is_free(tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OptionError, match="another command"), lock_outputs(("--out", out)):
            pass
        holder.kill()
        holder.wait()
    with lock_outputs(("--out", out)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_locks_that_come_and_go_are_held_by_one_at_a_time(tmp_path: Path) -> None:
    others = [subprocess.Popen([sys.executable, "-c", TAKE_TURNS, tmp_path]) for _ in range(3)]
    assert [other.wait(60) for other in others] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


@contextmanager
def serving() -> Iterator["subprocess.Popen[str]"]:
    """A process that carries out the commands that it is sent."""
    pipe = subprocess.PIPE
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=alone
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield server
        server.stdin.close()
        server.wait(60)


def answer(server: "subprocess.Popen[str]") -> int:
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("exit "):
            return int(line.removeprefix("exit "))
    raise AssertionError("the process has ended")


def test_two_commands_into_one_file(run: Path, labels: Path, tmp_path: Path) -> None:
    """Whoever comes second is refused, or replaces a whole file by a whole file."""
    ids = Predictions.read(run / "val_predictions.csv").ids[:6]
    csv = write_csv(tmp_path / "films.csv", ["ImageID"], [[film] for film in ids])
    films = ["--csv", csv, "--image-dir", labels.parent / "images", "--quiet"]
    here = ["--device", "cpu", "--precision", "fp32", "--workers", "0", "--batch-size", "3"]
    commands = [
        ["infer", run, *films, *here, "--out", tmp_path / "p.csv"],
        ["ensemble", *[run / "val_predictions.csv"] * 2, "--csv", csv, "--quiet", "--out", tmp_path / "p.csv"],
        ["data", "check", *films, "--fix", tmp_path / "p.csv"],
    ]
    codes = []
    with serving() as first, serving() as second:
        for server in (first, second):
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        for number in range(10):
            (tmp_path / "p.csv").unlink(missing_ok=True)
            pair = commands[0], commands[max(0, number - 7)]
            for server, command in zip((first, second), pair, strict=True):
                assert server.stdin is not None
                server.stdin.write(json.dumps(list(map(str, command))) + "\n")
                server.stdin.flush()
            codes += [{answer(first), answer(second)}]
            rows = (tmp_path / "p.csv").read_text().splitlines()
            assert len(rows) in ({len(ids) + 1} if number < 9 else {len(ids) + 1, 1})
            assert sorted(path.name for path in tmp_path.iterdir()) == ["films.csv", "p.csv"]
    assert set().union(*codes) <= {0, 2, 3}
