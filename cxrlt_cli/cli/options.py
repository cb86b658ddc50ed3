"""An options model as a Typer command, and what was typed as an options model.

Precedence: the command line, then ``--config``, then the defaults of the model.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from cxrlt_cli.cli.wording import told
from cxrlt_cli.config import Options, OptionsT, about, filled_in, flag, keys
from cxrlt_cli.errors import OptionError
from cxrlt_cli.names import meant, meant_path, shown

PANELS = (
    "",
    "Films",
    "Labels",
    "Table",
    "Model",
    "Long tail",
    "Schedule",
    "Cross-validation",
    "Prediction",
    "Studies",
    "Thresholds",
    "Zero-shot",
    "Scores",
    "Compute",
    "Processes",
    "Run",
)
CONFIG_HELP = "YAML file of options; the command line wins over it."


def as_command(model: type[Options], run: Callable[[typer.Context], None]) -> Callable[..., None]:
    """``run`` as a function that Typer turns into a command with the fields of ``model`` for its options."""

    def command(ctx: typer.Context, **_: Any) -> None:
        run(ctx)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("ctx", keyword, annotation=typer.Context)]
    for name, field in model.model_fields.items():
        kind = _typer_type(field.annotation)
        text = field.description or ""
        if about(model, name)["argument"]:
            declaration: Any = typer.Argument(help=text, metavar=name.upper(), show_default=not field.is_required())
        else:
            panel = about(model, name)["panel"]
            declaration = typer.Option(
                *_declarations(model, name),
                help=text,
                rich_help_panel=panel,
                show_default=about(model, name)["shown"] or True,
                metavar=_metavar(field),
            )
        default = (
            None if field.is_required() or field.default in ((), {}) else field.default
        )  # pydantic asks, not Typer
        accepted = kind | None if default is None else kind
        annotation: Any = Annotated[accepted, declaration]
        parameters.append(inspect.Parameter(name, keyword, annotation=annotation, default=default))
    config = Annotated[Path | None, typer.Option("--config", help=CONFIG_HELP, rich_help_panel="Run")]
    parameters.append(inspect.Parameter("config", keyword, annotation=config, default=None))
    parameters.sort(key=lambda parameter: PANELS.index(_panel(model, parameter.name)))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def resolve(model: type[OptionsT], ctx: typer.Context) -> OptionsT:
    """The options that were typed, over those of ``--config``, over the defaults.

    Raises OptionError that names the flag, or the file and its key.
    """
    typed = {
        name: value
        for name, value in ctx.params.items()
        if name != "config" and "DEFAULT" not in str(ctx.get_parameter_source(name))
    }
    config = ctx.params["config"]
    return build(model, typed, read_config(model, config) if config else {}, config)


def resolve_told(model: type[OptionsT], ctx: typer.Context, first: bool) -> OptionsT:
    """``resolve`` in processes that were started together, of which the ``first`` tells what all find at fault.

    The others raise Exit with the code of the error. A --config may be at fault on one machine alone: all tell it.
    """
    try:
        return resolve(model, ctx)
    except OptionError as error:
        if first or ctx.params["config"]:
            raise
        raise typer.Exit(error.exit_code) from None


def build(
    model: type[OptionsT], typed: Mapping[str, Any], configured: Mapping[str, Any], config: Path | None = None
) -> OptionsT:
    """A model from fields that were typed and fields from a file; errors name the flag, or the file and its key."""
    preset, before = typed.get("preset"), configured.get("preset")
    if preset and before and preset != before:  # as in a run.yaml, which names all that its preset filled in
        configured = {name: value for name, value in configured.items() if name not in filled_in(preset)}
    merged = model.over(configured, typed)
    aliases = keys(model)
    try:
        return model.model_validate({aliases[name]: value for name, value in merged.items()})
    except ValidationError as error:
        lines = []
        by_key: dict[str, list[Any]] = {}
        for problem in error.errors():
            by_key.setdefault(str(problem["loc"][0]) if problem["loc"] else "", []).append(problem)
        for key, problems in by_key.items():
            name = next((name for name, alias in aliases.items() if alias == key), key)
            if not name:
                lines += [str(problem["ctx"]["error"]) for problem in problems]
            elif problems[0]["type"] == "missing":
                lines.append(f"{flag(model, name)} is missing.")
            else:
                where = f"{config}: {key}" if name in configured and name not in typed else flag(model, name)
                lines.append(told(where, problems))
        raise OptionError("\n".join(lines)) from error


def read_config(model: type[Options], path: Path) -> dict[str, Any]:
    """The fields of a YAML file, with dashes or underscores in their names.

    Raises OptionError where the file cannot be read, is no mapping, or names an option that the command does not have.
    """
    from cxrlt_cli.documents import read_yaml  # late: help and completion read none

    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise OptionError(f"--config {path} does not exist.{meant_path(path)}") from error
    except OSError as error:
        raise OptionError(f"--config {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise OptionError(
            f"--config {path} is no valid YAML: {error}.", "It holds 'name: value', one a line."
        ) from error
    if not isinstance(content, dict | None):
        raise OptionError(f"--config {path} must hold options, one 'name: value' a line.")
    names = {key: name for name, key in keys(model).items()}
    fields = {}
    for key, value in (content or {}).items():
        name = str(key).replace("-", "_")
        if name not in names:
            raise OptionError(f"--config {path}: there is no option {shown(str(key))}.{meant(name, names)}")
        fields[names[name]] = value
    return fields


def _panel(model: type[Options], name: str) -> str:
    """Where an option stands in the help; arguments stand before all panels."""
    if name in ("ctx", "config"):
        return "" if name == "ctx" else "Run"
    return "" if about(model, name)["argument"] else str(about(model, name)["panel"])


def _metavar(field: FieldInfo) -> str | None:
    """What stands for the value in the help; Typer's own where it is None. Choices that the help explains come once."""
    if get_origin(field.annotation) is dict:
        return "NAME=VALUE,..."
    return "CHOICE" if "\n\n" in (field.description or "") else None


def _declarations(model: type[Options], name: str) -> tuple[str, ...]:
    """A switch that is off is one flag; a switch that is on, or that decides for itself, has a negative too."""
    long, field = flag(model, name), model.model_fields[name]
    is_switch = _typer_type(field.annotation) is bool
    return (f"{long}/--no-{long[2:]}",) if is_switch and field.default is not False else (long,)


def _typer_type(annotation: Any) -> Any:
    """The type that Typer reads for a field; what Typer cannot express is read as text and left to pydantic."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        rest = [argument for argument in arguments if argument is not type(None)]
        return _typer_type(rest[0]) if len(rest) == 1 else str
    if origin is Annotated:
        return str if get_origin(arguments[0]) is tuple else _typer_type(arguments[0])
    if origin is dict:
        return str
    if origin is tuple:
        return list[arguments[0]]  # type: ignore[valid-type]
    if origin is Literal:
        return annotation if all(isinstance(argument, str) for argument in arguments) else type(arguments[0])
    return annotation
