import inspect
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlt_cli import config
from cxrlt_cli.cli.app import app
from cxrlt_cli.cli.options import build
from cxrlt_cli.cli.wording import in_our_words
from cxrlt_cli.config import Options, flag
from cxrlt_cli.errors import OptionError

MODELS: list[type[Options]] = [
    model for model in vars(config).values() if inspect.isclass(model) and issubclass(model, Options)
]
WRONG: list[Any] = ["wrong!", "", -(10**9), 10**30, 1.5, float("nan"), float("inf"), True, None, [], ["a", "a"], [[1]],
                    {}, {"a": {"b": 1}}, {1: 2}, "a=1,a=2", "a", b"x", "x" * 500, object()]  # fmt: skip
FOREIGN = ("Value error", "Input should", "Field required", "valid string", "validation", "pydantic", "Extra inputs")
COMMANDS: dict[str, type[Options]] = {
            "train": config.TrainOptions, "finetune": config.FinetuneOptions, "infer": config.InferOptions,
            "ensemble": config.EnsembleOptions, "calibrate": config.CalibrateOptions,
            "ood": config.OodOptions, "evaluate": config.EvaluateOptions,
            "data check": config.DataCheckOptions, "data cache": config.DataCacheOptions,
            "data phantom": config.DataPhantomOptions, "models export": config.ModelsExportOptions}  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_wrong_value_of_every_option_is_told_in_our_words(model: type[Options]) -> None:
    messages = [(name, value, fault(model, name, value)) for name in model.model_fields for value in WRONG]
    told = [(name, value, message) for name, value, message in messages if message]
    assert len(told) > 5
    for name, value, message in told:
        assert not any(word in message for word in FOREIGN), message
        assert max(map(len, message.splitlines())) < 700
        if value == "wrong!" and not message.startswith("--"):
            assert flag(model, name) in message


def fault(model: type[Options], name: str, value: object) -> str:
    """What is said of one value, besides what is missing; empty where it is taken."""
    try:
        build(model, {name: value}, {})
    except OptionError as error:
        return "\n".join(line for line in error.message.splitlines() if "is missing" not in line)
    return ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_wrong_value_that_is_typed_is_told_in_our_words(command: str) -> None:
    model = COMMANDS[command]
    for name, field in model.model_fields.items():
        kind = str(field.annotation)
        if not (field.annotation in (int, float) or kind.startswith("typing.Literal['")):
            continue
        done = CliRunner().invoke(app, [*command.split(), flag(model, name), "wrong!"], env={"COLUMNS": "300"})
        assert done.exit_code == 2, done.output
        assert flag(model, name) in done.output
        assert not any(word in done.output for word in FOREIGN), done.output


@pytest.mark.parametrize(("arguments", "said"), [
    (["train", "--loss", "bd"], "Did you mean db?"), (["train", "labels.csv"], "Did you mean --csv labels.csv?"),
    (["infer", "run", "films.CSV"], "Did you mean --csv films.CSV?"), (["ood", "a.tsv"], "Did you mean --csv a.tsv?"),
    (["train", "--los", "db"], "--loss"),
    (["train", "--val-fraction", "20"], "it must be below 1. 20 % is 0.2."),
    (["calibrate", "x", "--sensitivity", "95"], "it must be at most 1. 95 % is 0.95."),
    (["evaluate", "p.csv", "--threshold", "70"], "70 % is 0.7."),
    (["evaluate", "p.csv", "--threshold", "50%"], "50 % is 0.5."),
    (["calibrate", "x", "--miss-at-most", "10%"], "it must be a number. 10 % is 0.1."),
    (["calibrate", "x", "--sure=99.5 %"], "it must be a number. 99.5 % is 0.995."),
    (["calibrate", "x", "--miss-at-most", "10"], "--miss-at-most = 10: it must be below 1. 10 % is 0.1."),
    (["trian"], "train"), (["ood", "--anchor", "norml"], "Did you mean normal?"),
])  # fmt: skip
def test_the_nearest_is_named(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_words_of_others_are_translated() -> None:
    assert in_our_words("Input should be a valid boolean, unable to interpret input", []) == "it must be true or false."
    assert in_our_words("Missing parameter", []) == "Missing parameter"


@pytest.mark.parametrize("value", ["101", "-0.5", "1e9"])
def test_what_is_no_percentage_is_told_as_none(value: str) -> None:
    done = CliRunner().invoke(app, ["calibrate", "x", "--sensitivity", value], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert "%" not in done.output
