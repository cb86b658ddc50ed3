"""The README's commands are real ones."""

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import typer

from cxrlt_cli.cli.app import app
from cxrlt_cli.cli.options import resolve
from cxrlt_cli.config import TrainOptions, refuse_unbuilt
from tests.readme_options import MODELS, updated

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHELL = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
         for line in block.replace("\\\n", " ").splitlines()]  # fmt: skip
COMMANDS = [line for line in SHELL if line.startswith("cxrlt ") and "--install-completion" not in line]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_parses(line: str) -> None:
    words = shlex.split(line.replace("...", ""))[1:]
    command: object = typer.main.get_command(app)
    name = ""
    while hasattr(command, "commands"):
        name = f"{name} {words[0]}".strip()
        command = command.commands[words.pop(0)]
    context = command.make_context(name, words)  # type: ignore[attr-defined]
    assert not context.args
    refuse_unbuilt(resolve(MODELS[name], context))


def test_ci_runs_what_the_readme_says() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert 'pip install -e ".[dev]"' in SHELL
    assert 'pip install -q -e ".[dev]"' in script
    assert script[-1] in SHELL


@pytest.mark.parametrize("name", ["head", "loss", "sampler"])
def test_every_choice_is_explained(name: str) -> None:
    for choice in get_args(TrainOptions.model_fields[name].annotation):
        assert f"| `{choice}` |" in README
        assert f"\n\n{choice}: " in str(TrainOptions.model_fields[name].description)


def test_the_tables_of_options_are_current() -> None:
    assert updated(README) == README, "python -m tests.readme_options writes them"
