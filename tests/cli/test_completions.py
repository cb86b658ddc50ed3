"""The shells' completions: the files are what the program gives now, and they complete in a real shell."""

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from cxrlt_cli.config import TrainOptions

ROOT = Path(__file__).parents[2]
FILES = {"bash": "cxrlt.bash", "zsh": "_cxrlt", "fish": "cxrlt.fish"}
INSTALLED = {
    "cxrlt.bash": "share/bash-completion/completions/cxrlt",
    "_cxrlt": "share/zsh/site-functions/_cxrlt",
    "cxrlt.fish": "share/fish/vendor_completions.d/cxrlt.fish",
}
PROGRAM = "import sys; sys.argv[0] = 'cxrlt'; from cxrlt_cli.cli.app import main; main()"
HEAVY = ("torch", "timm", "pandas", "numpy", "cv2", "sklearn", "albumentations", "open_clip", "pydicom")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def program(code: str = PROGRAM, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment(**variables)
    )
    assert not done.stderr
    return done.stdout


@pytest.fixture
def folder_of_cxrlt(tmp_path: Path) -> Path:
    """A folder whose ``cxrlt`` is this checkout's, whatever is installed."""
    script = tmp_path / "cxrlt"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(PROGRAM)} "$@"\n')
    script.chmod(0o755)
    return tmp_path


def in_shell(shell: str, code: str, folder: Path) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    plain = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *plain, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(PATH=f"{folder}:{os.environ['PATH']}"),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def in_bash(line: list[str], folder: Path) -> list[str]:
    code = (
        f"source {shlex.quote(str(ROOT / 'completions' / 'cxrlt.bash'))}\n"
        f"COMP_WORDS=({' '.join(map(shlex.quote, line))}); COMP_CWORD={len(line) - 1}\n"
        "_cxrlt_completion cxrlt\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return in_shell("bash", code, folder)


@pytest.mark.parametrize("shell", FILES)
def test_the_files_are_what_the_program_gives(shell: str) -> None:
    said = program(_CXRLT_COMPLETE=f"source_{shell}")
    assert (ROOT / "completions" / FILES[shell]).read_text() == said.strip() + "\n"


def test_zsh_finds_its_tag_on_the_first_line() -> None:
    assert (ROOT / "completions" / "_cxrlt").read_text().startswith("#compdef cxrlt\n")


def test_they_are_installed_where_the_shells_look() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["shared-data"] == {f"completions/{name}": place for name, place in INSTALLED.items()}
    assert {path.name for path in (ROOT / "completions").iterdir()} == set(INSTALLED)


@pytest.mark.parametrize("name", ["loss", "head", "sampler"])
def test_bash_offers_every_choice(name: str, folder_of_cxrlt: Path) -> None:
    offered = in_bash(["cxrlt", "train", f"--{name}", ""], folder_of_cxrlt)
    assert sorted(offered) == sorted(get_args(TrainOptions.model_fields[name].annotation))


@pytest.mark.parametrize(("line", "offered"), [
    (["cxrlt", "mod"], ["models"]),
    (["cxrlt", "models", "l"], ["list"]),
    (["cxrlt", "train", "--hea"], ["--head"]),
    (["cxrlt", "train", "--he"], ["--head", "--help"]),
    (["cxrlt", "train", "--loss", "ldam"], ["ldam", "ldam-drw"]),
])  # fmt: skip
def test_bash_completes_what_was_begun(line: list[str], offered: list[str], folder_of_cxrlt: Path) -> None:
    assert in_bash(line, folder_of_cxrlt) == offered


def test_bash_registers_the_completion(folder_of_cxrlt: Path) -> None:
    file = shlex.quote(str(ROOT / "completions" / "cxrlt.bash"))
    assert "_cxrlt_completion" in in_shell("bash", f"source {file}; complete -p cxrlt", folder_of_cxrlt)[0]


def test_zsh_reads_its_file(folder_of_cxrlt: Path) -> None:
    file = shlex.quote(str(ROOT / "completions" / "_cxrlt"))
    code = f"autoload -Uz compinit; compinit -D -u; source {file}; print $_comps[cxrlt]"
    assert in_shell("zsh", code, folder_of_cxrlt) == ["_cxrlt_completion"]


def test_fish_offers_every_loss(folder_of_cxrlt: Path) -> None:
    file = shlex.quote(str(ROOT / "completions" / "cxrlt.fish"))
    lines = in_shell("fish", f"source {file}; complete -C 'cxrlt train --loss '", folder_of_cxrlt)
    assert {line.split("\t")[0] for line in lines} == set(get_args(TrainOptions.model_fields["loss"].annotation))


def test_completion_imports_nothing_heavy() -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('heavy:', [name for name in {HEAVY!r} if name in sys.modules]))\n" + PROGRAM
    )
    said = program(code, _CXRLT_COMPLETE="complete_bash", COMP_WORDS="cxrlt train --loss d", COMP_CWORD="3")
    assert said.splitlines() == ["db", "db-lite", "heavy: []"]


def test_completion_takes_less_than_a_second() -> None:
    """Of processor time, the least of three: other programs of the machine are not what is measured."""
    seconds = []
    for _ in range(3):
        before = os.times()
        program(_CXRLT_COMPLETE="complete_bash", COMP_WORDS="cxrlt train --loss ", COMP_CWORD="3")
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert 0 < min(seconds) < 1
