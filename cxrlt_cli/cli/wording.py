"""What was typed or written and cannot be, in our words: of pydantic's errors of a model, and of Typer's of a line."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cxrlt_cli.files import TABLE_ENDINGS
from cxrlt_cli.names import meant, shown

NO_NUMBER = "it must be a number."

# What pydantic wants by the beginnings of its kinds of error, as it follows "it must be".
WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
    "tuple": "a list",
    "list": "a list",
    "iterable": "a list",
    "dict": "settings by name, NAME=VALUE",
    "greater_than_equal": "at least {ge}",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
    "too_short": "longer",
    "too_long": "shorter",
}


def told(where: str, problems: Sequence[Mapping[str, Any]]) -> str:
    """One line on all that pydantic found wrong with one option; ``where``: its flag, or its file and key."""
    value = problems[0]["input"]
    own = [str(problem["ctx"]["error"]) for problem in problems if problem["type"] == "value_error"]
    if own:
        return f"{where} = {_value(value)}: {own[0].rstrip('.')}."
    choices = [choice for problem in problems for choice in _choices(problem)]
    wanted = [text for problem in problems if (text := _wanted(problem))]
    text = " or ".join(dict.fromkeys([*wanted, *([_listed(choices)] if choices else [])]))
    hint = meant(str(value), choices) or _percent(problems)
    return f"{where} = {_value(value)}: it must be {text or 'of another kind'}.{hint}"


def _percent(problems: Sequence[Mapping[str, Any]]) -> str:
    """`` 10 % is 0.1.`` where a share, which is 1 at most, was given as a percentage; else empty."""
    for problem in problems:
        if problem["type"].startswith("float"):
            return as_share(str(problem["input"]))
        limit = problem.get("ctx", {}).get("le", problem.get("ctx", {}).get("lt"))
        if problem["type"].startswith("less_than") and limit == 1 and float(problem["input"]) > 1:
            return as_share(f"{problem['input']} %")
    return ""


def as_share(text: str) -> str:
    """`` 10 % is 0.1.`` of a text with a percent sign; else empty."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*%\s*", text)
    percent = float(match[1]) if match else 0.0
    return f" {percent:g} % is {percent / 100:g}." if 0 < percent <= 100 else ""


def _wanted(problem: Mapping[str, Any]) -> str | None:
    for kind, text in WANTED.items():
        if problem["type"].startswith(kind):
            return text.format(**{name: _bound(value) for name, value in problem.get("ctx", {}).items()})
    return None


def _bound(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value


def _choices(problem: Mapping[str, Any]) -> list[str]:
    return re.findall("'([^']*)'", problem["ctx"]["expected"]) if problem["type"] == "literal_error" else []


def _listed(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else f"one of {', '.join(choices[:-1])} and {choices[-1]}"


def _value(value: object) -> str:
    text = f"{value:.12g}" if isinstance(value, float) else str(value)  # 10 was read as 10.0
    return text if len(text) <= 80 else shown(text)


def in_our_words(message: str, flags: Iterable[str], commands: Iterable[str] = ()) -> str:
    """A message of Typer on what was typed."""
    if match := re.fullmatch(r"Value error, '(.*)' is not one of (.*)\.", message, re.DOTALL):
        choices = re.findall("'([^']*)'", match[2])
        return f"{match[1]} is none of {', '.join(choices)}.{meant(match[1], choices)}"
    if match := re.fullmatch(r"No such option: (.*)", message, re.DOTALL):
        return f"There is no option {match[1]}.{meant(match[1], flags)}"
    if match := re.match(r"No such command '(.*?)'\.", message, re.DOTALL):
        return f"There is no command {match[1]}.{meant(match[1], commands)}"
    if match := re.fullmatch(r"Got unexpected extra argument\(?s?\)? \((.*)\)", message, re.DOTALL):
        csv = next((flag for flag in ("--csv", "--train-csv") if flag in flags), None)
        table = next((word for word in match[1].split() if word.lower().endswith(TABLE_ENDINGS)), None)
        near = f" Did you mean {csv} {table}?" if csv and table else ""
        return f"There is no place for {match[1]}; each value follows its option.{near}"
    for word, text in (("integer", "a whole number"), ("number", "a number"), ("boolean", "true or false")):
        if message.startswith("Input should be") and word in message:
            return f"it must be {text}."
    return message.removeprefix("Value error, ").replace("Input should be", "it must be")
