import pytest
from typer.testing import CliRunner

from cxrlt_cli.cli.app import app
from cxrlt_cli.config import about, flag
from tests.option_tables import MODELS


@pytest.mark.parametrize(("arguments", "said"), [
    (["evaluate", "p.csv", "--csv", "a.csv", "--csv", "b.csv"], "--csv is given more than once; the last counts:"),
    (["infer", "m", "--findings", "Mass", "--findings=Hernia"], "--findings is given more than once; the last counts:"),
    (["evaluate", "p.csv", "--exclude", "a.csv", "--exclude", "b.csv"], ""),  # that one may be repeated
    (["evaluate", "p.csv", "--by", "View", "--by", "Age"], ""),
])  # fmt: skip
def test_an_option_that_takes_one_value_and_is_typed_twice_is_told(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code in (3, 4), "neither p.csv nor m is there"
    assert ("more than once" in result.output) == bool(said)
    assert said in result.output


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100", "TERM": "dumb"})
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("name", MODELS)
def test_help_fits_two_screens_and_all_of_it_is_at_hand(name: str) -> None:
    short = shown(*name.split(), "--help")
    assert len(short.splitlines()) <= 80
    assert f"Example: cxrlt {name}" in short
    whole = " ".join(shown(*name.split(), "--help-all").split())
    for field in MODELS[name].model_fields:
        if not about(MODELS[name], field)["argument"]:
            assert f" {flag(MODELS[name], field)} " in whole, field


@pytest.mark.parametrize(
    ("typed", "near"),
    [("--help-al", "--help-all"), ("--hepl", "--help"), ("--los", "--loss"), ("--no-prior-bia", "--no-prior-bias")],
)
def test_an_option_that_is_none_is_answered_with_the_nearest(typed: str, near: str) -> None:
    said = CliRunner().invoke(app, ["train", typed], env={"COLUMNS": "200"})
    assert f"There is no option {typed}. Did you mean {near}? " in said.output
    assert said.exit_code == 2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["trai"], "There is no command trai. Did you mean train? "),
        (["data", "chek"], "There is no command chek. Did you mean check? "),
        (["zzz"], "There is no command zzz. "),
        (["--hepl"], "There is no option --hepl. Did you mean --help? "),
        (["data", "--help-al"], "There is no option --help-al. Did you mean --help-all? "),
    ],
)
def test_a_group_answers_as_its_commands_do(typed: list[str], said: str) -> None:
    done = CliRunner().invoke(app, typed, env={"COLUMNS": "200"})
    assert said in done.output
    assert done.exit_code == 2


def test_choices_are_named_in_short_and_explained_at_length() -> None:
    assert "Distribution-Balanced" not in shown("train", "--help")
    assert "One of bce, weighted-bce" in shown("train", "--help")
    assert "focal: easy labels count less" in " ".join(shown("train", "--help-all").split())
    assert "One of bce" in shown("train", "--help"), "what was folded once is shown again, and folded again"


@pytest.mark.parametrize("group", [(), ("data",), ("models",)])
def test_a_group_has_no_more_help_than_its_commands(group: tuple[str, ...]) -> None:
    assert shown(*group, "--help-all") == shown(*group, "--help")
    if not group:
        assert "cxrlt guide options" in " ".join(shown("--help").split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--epochs", "many"], "--epochs"),
        (["train", "--no-such-option"], "--no-such-option"),
        (["train", "--csv", "a.csv", "--folds", "1"], "--folds"),
        (["train", "--csv", "a.csv", "--processes", "2"], "torchrun has started the processes of this command already"),
        (["train", "--config", "none.yaml"], "none.yaml"),
    ],
)
def test_of_processes_that_were_started_together_the_first_tells_what_is_wrong_with_the_line(
    arguments: list[str], said: str
) -> None:
    """A file is another matter: it may be missing on one machine alone."""
    several = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "COLUMNS": "200"}
    first, second = (CliRunner().invoke(app, arguments, env={**several, "RANK": rank}) for rank in "01")
    assert first.exit_code == second.exit_code == 2
    assert said in first.output
    assert bool(second.output) == ("--config" in arguments)


def test_what_is_at_fault_on_one_machine_alone_is_told_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("cxrlt_cli.cli.app.os.getcwd", gone)
    several = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "RANK": "1"}
    done = CliRunner().invoke(app, ["env"], env=several)
    assert done.exit_code != 0
    assert "Error:" in done.output
