import pytest
from typer.testing import CliRunner

from cxrlt_cli.cli.app import app


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
