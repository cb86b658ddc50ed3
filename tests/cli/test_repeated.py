import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cxrlt_cli.cli.app import app


@pytest.mark.parametrize(("arguments", "code"), [
    (["evaluate", "p.csv", "--by", "View", "--by", "Age"], 2),
    (["infer", "model", "--findings", "Mass", "--findings", "Hernia"], 2),
    (["train", "--lr-head", "1", "--lr-head=2"], 2),
    (["evaluate", "p.csv", "--exclude", "a.csv", "--exclude", "b.csv"], 3),  # may be repeated; p.csv is not there
])  # fmt: skip
def test_an_option_that_takes_one_value_is_given_once(arguments: list[str], code: int) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code
    assert (f"{arguments[2].split('=')[0]} is given twice" in result.output) == (code == 2) or arguments[0] == "train"
    assert ("given twice" in result.output) == (code == 2)


def test_the_program_says_so_too() -> None:
    command = [sys.executable, "-m", "cxrlt_cli", "evaluate", "p.csv", "--by", "a", "--by", "b"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "--by is given twice" in done.stderr) == (2, True)
