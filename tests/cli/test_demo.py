import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from rich.console import Console

from cxrlt_cli.cli.app import app
from cxrlt_cli.cli.demo import StepError, demo, steps
from cxrlt_cli.errors import OptionError


class Runner:
    """Leaves what a step would, instead of taking it."""

    def __init__(self, folder: Path, fails_at: int | None = None) -> None:
        self.leaves = {step.command: step.leaves for step in steps(folder, 42)}
        self.folder, self.fails_at = folder, fails_at
        self.taken: list[tuple[str, ...]] = []

    def __call__(self, arguments: Sequence[str]) -> int:
        self.taken.append(tuple(arguments))
        if len(self.taken) == self.fails_at:
            return 5
        file = self.folder / self.leaves[tuple(part for part in arguments if part != "--resume")]
        file.parent.mkdir(parents=True, exist_ok=True)
        for path in (file, self.folder / "scores.json"):
            path.write_text(json.dumps({"macro": {"ap": 0.5, "auroc": 0.9, "ap_ci": [0.4, 0.6]}}))
        return 0


def told(folder: Path, runner: Runner) -> str:
    out = io.StringIO()
    demo(folder, 42, runner, Console(file=out, width=100))
    return out.getvalue()


def test_every_step_is_shown_as_the_command_that_is_run(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "demo")
    text = told(tmp_path / "demo", runner)
    for arguments in runner.taken:
        assert f"$ cxrlt {' '.join(arguments)}\n" in text
    assert [arguments[0] for arguments in runner.taken] == [
        "data", "data", "data", "train", "train", "infer", "infer", "ensemble", "evaluate", "ood", "evaluate",
        "report",
    ]  # fmt: skip
    assert "macro AP 0.500 (95 % 0.400 to 0.600)" in text
    assert "report.html" in text


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = Runner(tmp_path / "demo", fails_at=4)
    with pytest.raises(StepError) as failed:
        told(tmp_path / "demo", first)
    assert failed.value.exit_code == 5
    (tmp_path / "demo" / "runs" / "csra").mkdir(parents=True)
    (tmp_path / "demo" / "runs" / "csra" / "run.yaml").touch()
    second = Runner(tmp_path / "demo")
    assert "Done before." in told(tmp_path / "demo", second)
    assert len(second.taken) == 9
    assert second.taken[0][-1] == "--resume"
    third = Runner(tmp_path / "demo")
    told(tmp_path / "demo", third)
    assert third.taken == []


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "labels.csv").touch()
    with pytest.raises(OptionError, match="holds other files"):
        told(tmp_path / "mine", Runner(tmp_path / "mine"))
    told(tmp_path / "demo", Runner(tmp_path / "demo"))
    with pytest.raises(OptionError, match="--seed 42"):
        demo(tmp_path / "demo", 7, Runner(tmp_path / "demo"), Console(file=io.StringIO()))


def test_one_that_was_killed_while_it_drew_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "demo"

    def killed(_: Sequence[str]) -> int:
        (folder / ".films.1234-00aa11bb.tmp" / "images").mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo(folder, 42, killed, Console(file=io.StringIO()))
    for known in (True, False):  # False: as of 0.1.0, which wrote demo.json after the first step
        if not known:
            (folder / "demo.json").unlink()
        with pytest.raises(StepError):
            told(folder, Runner(folder, fails_at=1))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"seed": 42}', '{"seed": "x", "finished": []}', "[" * 100_000, "\udcff"]
)
def test_a_damaged_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "demo.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OptionError, match=r"demo\.json is damaged"):
        told(tmp_path, Runner(tmp_path))
    (tmp_path / "demo.json").unlink()
    told(tmp_path, Runner(tmp_path))
    (tmp_path / "scores.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OptionError, match=r"scores\.json is gone or damaged"):
        told(tmp_path, Runner(tmp_path))


@pytest.mark.parametrize("step", steps(Path("demo"), 42), ids=lambda step: " ".join(step.command[:2]))
def test_every_step_is_a_command(step: object) -> None:
    """Its options are known; what its files hold is another matter."""
    arguments = list(step.command)  # type: ignore[attr-defined]
    command = typer.main.get_command(app)
    context = command.make_context("cxrlt", arguments)
    while hasattr(command, "resolve_command") and context._protected_args + context.args:
        _, command, rest = command.resolve_command(context, context._protected_args + context.args)
        context = command.make_context("x", rest, parent=context)
    assert context.params


@pytest.mark.soak
def test_the_whole_story(tmp_path: Path) -> None:
    from cxrlt_cli.cli.app import _run_again

    demo(tmp_path / "demo", 42, _run_again, Console(file=io.StringIO()))
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000
