"""The commands of the README and of the guide are real ones."""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml

from cxrlt_cli.cli.app import app
from cxrlt_cli.cli.options import resolve
from cxrlt_cli.config import Options, TrainOptions, about, flag
from cxrlt_cli.engine.sharding import told_of_parts
from tests.option_tables import MODELS, own_fields, tables, updated

ROOT = Path(__file__).parents[1]
PAGES = {
    path.stem: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "cxrlt_cli" / "guide").glob("*.md"))]
}
README = "\n".join(PAGES.values())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SHELL = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
         for line in block.replace("\\\n", " ").splitlines()]  # fmt: skip
COMMANDS = [command.strip() for line in SHELL for command in line.split("#")[0].split("&&") if command.strip()]
INLINE = [code for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", README) if re.match(r"cxrlt \S|python -m |pip ", code)]
CI = (ROOT / ".ci" / "run").read_text().splitlines()
OTHERS = {  # what cannot be run here: it wants a network, or changes the shell that it is typed in
    "git clone <this repository> cxrlt",
    "cd cxrlt",
    "python3 -m venv .venv",
    "source .venv/bin/activate",
    "pip install pre-commit",
    "pre-commit install",
    "pip install uv",
    "pip download cyclonedx-bom -d sbom-wheels",
    "python3 -m venv .sbom",
    ".sbom/bin/pip install --no-index --find-links sbom-wheels cyclonedx-bom",
    ".sbom/bin/cyclonedx-py environment .venv -o sbom.json",
    "uv pip compile --generate-hashes pyproject.toml -o requirements.txt",
    "pip download --require-hashes -r requirements.txt -d wheelhouse",
    "pip wheel --no-deps . -w wheelhouse",
    "pip install --no-index --find-links wheelhouse --require-hashes -r requirements.txt",
    "pip install --no-index --find-links wheelhouse --no-deps cxrlt",
}


def check_cxrlt(words: list[str]) -> None:
    command: object = typer.main.get_command(app)
    name = ""
    while hasattr(command, "commands") and not words[0].startswith("-"):
        name = f"{name} {words[0]}".strip()
        command = command.commands[words.pop(0)]
    helps = {"--help", "--help-all"}
    if set(words) & {*helps, "--install-completion"}:
        assert set(words) <= {flag for parameter in command.params for flag in parameter.opts} | helps  # type: ignore[attr-defined]
        return
    context = command.make_context(name, words)  # type: ignore[attr-defined]
    assert not context.args
    resolve(MODELS[name], context)


def leaves(command: object, name: str = "") -> dict[str, set[str]]:
    """Every command of the program with the names of its options and arguments."""
    if hasattr(command, "commands"):
        found = (leaves(child, f"{name} {word}".strip()) for word, child in command.commands.items())
        return {leaf: names for group in found for leaf, names in group.items()}
    return {name: {parameter.name for parameter in command.params}}  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", dict.fromkeys([*COMMANDS, *INLINE]))
def test_every_command_is_a_real_one(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").touch()  # --config is read as soon as it is typed
    Path("fitted.yaml").write_text("members: [runs/a]\n")
    plain = line.replace("...", "").replace(".venv/bin/", "").replace(" -q ", " ")
    words = [] if line in OTHERS else shlex.split(plain.replace("$SLURM_ARRAY_TASK_ID", "3"))
    match words:
        case []:
            pass
        case ["cxrlt", *rest] | ["srun", "--cpus-per-task=8", "cxrlt", *rest]:
            check_cxrlt(rest)
        case ["seq", "16", "|", "xargs", "-P", "4", "-I{}", "cxrlt", *rest]:
            check_cxrlt([word.replace("{}", "3") for word in rest])
        case ["awk", *_]:
            told = told_of_parts(Path("predictions-03-of-16.csv"), "3/16")
            assert told.endswith(line), "as infer says it"
        case [("python" | "python3"), "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["source", path]:
            shared = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
            assert path.removeprefix("$VIRTUAL_ENV/") in shared.values()
        case ["tensorboard", "--logdir", "runs"]:
            assert importlib.util.find_spec("tensorboard")
        case ["pip", "install", what] if what.startswith("cxrlt["):
            assert set(what[6:-1].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
        case ["pip", "install", "--extra-index-url", _, "."] | ["pip", "install", "."]:
            assert (ROOT / "pyproject.toml").exists()
        case ["pip", "install", "-e", what]:
            assert what[2:-1] in PROJECT["project"]["optional-dependencies"]
        case _:
            assert line in [check.strip() for check in CI[-1].split("&&")], f"no test knows what to do with: {line}"


def test_no_other_command_is_passed_over() -> None:
    assert set(COMMANDS) >= OTHERS
    assert len(README.split("```bash")) == len(re.findall(r"^```bash\n.*?^```$", README, re.DOTALL | re.MULTILINE)) + 1
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert not [text for kind, text in fenced if kind != "bash" and re.search(r"^\$? ?cxrlt ", text, re.MULTILINE)]


def test_the_models_are_those_of_the_commands() -> None:
    fields = {name: {*model.model_fields, "config"} for name, model in MODELS.items()}
    assert leaves(typer.main.get_command(app)) == fields


def test_the_tables_of_options_are_current() -> None:
    assert updated(PAGES["options"]) == PAGES["options"], "python -m tests.option_tables"


@pytest.mark.parametrize("name", MODELS)
def test_every_option_stands_in_a_table(name: str) -> None:
    model = MODELS[name]
    for parent in model.__mro__:
        if issubclass(parent, Options) and parent.model_fields:
            for field in own_fields(parent):
                assert re.search(rf"\| `{flag(parent, field)}[`/]", tables()), about(parent, field)


def test_a_commit_is_checked_by_what_ci_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == [check.strip() for check in CI[-1].split("&&")][:-1]


def test_ci_runs_what_the_readme_says() -> None:
    assert 'pip install -e ".[dev]"' in SHELL
    assert 'pip install -q -e ".[dev]"' in CI
    assert CI[-1] in SHELL


@pytest.mark.parametrize("name", ["head", "loss", "sampler"])
def test_every_choice_is_explained(name: str) -> None:
    for choice in get_args(TrainOptions.model_fields[name].annotation):
        assert f"| `{choice}` |" in README
        assert f"\n\n{choice}: " in str(TrainOptions.model_fields[name].description)
