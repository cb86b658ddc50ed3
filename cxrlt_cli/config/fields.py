"""How options are written: the types of fields, ``option``, and what is made of a model.

A field is an option of the same name with dashes; ``option`` gives it its default, its help and the panel it stands in.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cxrlt_cli.config.conditions import parse
from cxrlt_cli.errors import OptionError
from cxrlt_cli.files import TABLE_ENDINGS


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError("names must be given, each once")
    return names


def _settings(value: object) -> object:
    """``gamma_neg=2,weighting=both`` as a mapping; numbers become numbers."""
    if not isinstance(value, str):
        return value
    parts = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(separator for _, separator, _ in parts):
        raise ValueError("settings are written NAME=VALUE,NAME=VALUE")
    settings = {name.strip(): _number(text.strip()) for name, _, text in parts}
    if len(settings) < len(parts):
        raise ValueError("a setting is given twice")
    return settings


def _number(text: str) -> int | float | bool | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _threshold(value: float | Literal["best"]) -> float | Literal["best"]:
    if value != "best" and not 0 < value < 1:
        percent = f": {value:g} % is {value / 100:g}" if 1 < value < 100 else ""
        raise ValueError(f"it is between 0 and 1, or best{percent}")
    return value


def _pool(text: str) -> str:
    kind, _, number = text.partition(":")
    if text in ("mean", "max", "lse") or (kind == "topk" and number.isdecimal() and int(number) > 0):
        return text
    raise ValueError(f"'{text}' is none of mean, max, lse and topk:K, K a whole number from 1")


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, int | float) else _split(value)


def _channels(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise ValueError("it is one number, or three: of red, green and blue")
    return values * (3 // len(values))


def _image_size(value: object) -> object:
    """``512``, or ``784x644``: height and width."""
    given = value.lower().split("x") if isinstance(value, str) else value
    sides = [str(side).strip() for side in (given if isinstance(given, list | tuple) else [given])]
    if not 1 <= len(sides) <= 2 or not all(side.isdecimal() for side in sides):
        raise ValueError("it is written 512, or 784x644 for height and width")
    height, width = int(sides[0]), int(sides[-1])
    return height if height == width else (height, width)


def _sides(size: int | tuple[int, int]) -> int | tuple[int, int]:
    if not all(32 <= side <= 8192 for side in ((size,) if isinstance(size, int) else size)):
        raise ValueError("a side has 32 to 8192 pixels")
    return size


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _films(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    for path in paths:
        if path.suffix.lower() in TABLE_ENDINGS:
            raise ValueError(f"{path} is a table, no film. Did you mean --csv {path}?")
    return paths


def _condition(text: str) -> str:
    parse(text)
    return text


WHERE_IN_COLUMNS = (
    'Rows of --csv to take, such as "ViewPosition in (PA, AP) and PatientAge >= 18": with ==, !=, <, <=, >, >=, in, '
    "and, or, not."
)
WHERE_HELP = f"{WHERE_IN_COLUMNS} What DICOM headers say needs no column."

TEXT_OUTPUTS = ("decisions", "json_path", "errors", "suspects", "fix")  # options beside --out that a file is written to

SEED_HELP = "Random seed: the same one gives the same result."

Films = Annotated[tuple[Path, ...], AfterValidator(_films)]
ImageSize = Annotated[int | tuple[int, int], BeforeValidator(_image_size), AfterValidator(_sides)]
Settings = Annotated[dict[str, int | float | bool | str], BeforeValidator(_settings)]
Weights = Annotated[dict[str, float], BeforeValidator(_settings)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_unique)]
Columns = Annotated[tuple[str, ...], BeforeValidator(_one_or_several)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_split)]
Channels = Annotated[tuple[float, ...], BeforeValidator(_one_or_more), AfterValidator(_channels)]
Where = Annotated[str, AfterValidator(_condition)]
Threshold = Annotated[float | Literal["best"], AfterValidator(_threshold)]
Pool = Annotated[str, AfterValidator(_pool)]
OptionsT = TypeVar("OptionsT", bound="Options")


def option(
    default: Any,
    help: str,
    *,
    panel: str = "Run",
    argument: bool = False,
    shown: str | None = None,
    rare: bool = False,
    **bounds: Any,
) -> Any:
    """A field that is an option: its default, its help, its panel, and pydantic's bounds (``ge``, ``le``, ...).

    ``shown``: what the help says in place of a default that another option can change. ``rare``: shown by
    ``--help-all`` alone.
    """
    about: dict[str, Any] = {"panel": panel, "argument": argument, "shown": shown, "rare": rare}
    return Field(default, description=help, json_schema_extra=about, **bounds)


class Options(BaseModel):
    """What all commands share."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    seed: int = option(42, SEED_HELP, ge=0, rare=True)
    quiet: bool = option(False, "Print results and errors only.", rare=True)
    debug: bool = option(False, "Show a traceback with every error.", rare=True)

    @classmethod
    def over(cls, configured: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a ``--config`` file, and over them those that were typed."""
        return {**configured, **typed}

    @model_validator(mode="after")
    def _check_dashes(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if Path("-") in (value if isinstance(value, tuple) else (value,)):
                raise ValueError(f"{flag(type(self), name)} -: {_no_dash(type(self), name)}")
        return self


def _no_dash(model: type[Options], name: str) -> str:
    """What a lone dash is answered with, which in other programs is standard input or output."""
    default = model.model_fields[name].default
    if name in TEXT_OUTPUTS or (name == "out" and isinstance(default, Path) and default.suffix in (".csv", ".json")):
        return "a dash does not stand for standard output here. Name a file; /dev/stdout is one"
    return "a dash is no path here. Name a file or folder"


def about(model: type[Options], name: str) -> dict[str, Any]:
    """What ``option`` said of a field: its panel, and whether it is an argument."""
    extra = model.model_fields[name].json_schema_extra
    assert isinstance(extra, dict), f"{model.__name__}.{name} is not made with option()"
    return extra


def keys(model: type[Options]) -> dict[str, str]:
    """What files call each field: as its flag, where the field has another name."""
    return {name: field.alias or name for name, field in model.model_fields.items()}


def flag(model: type[Options], name: str) -> str:
    """``--image-dir`` for ``image_dir``; ``CHECKPOINT`` for an argument."""
    if about(model, name)["argument"]:
        return name.upper()
    return "--" + keys(model)[name].replace("_", "-")


def changed(options: Options) -> set[str]:
    """The options that differ from their defaults: a file that ``to_yaml`` made names all of them."""
    fields = type(options).model_fields
    return {name for name in options.model_fields_set if getattr(options, name) != fields[name].default}


def flags(options: Options, names: Iterable[str]) -> str:
    """``--image-dir and --cache`` for a message, in the order of the help."""
    chosen = set(names)
    return " and ".join(flag(type(options), name) for name in type(options).model_fields if name in chosen)


def to_yaml(options: Options) -> dict[str, Any]:
    """What a ``--config`` file needs to say to ask for the same again, elsewhere."""
    left_out = {"out", "quiet", "debug", "dry_run"}
    splits = getattr(options, "split", None) is not None and "val_fraction" not in options.model_fields_set
    if getattr(options, "val_csv", None) is not None or getattr(options, "folds", None) is not None or splits:
        left_out.add("val_fraction")
    values = options.model_dump(by_alias=True, exclude_none=True, exclude=left_out)
    return {name: _plain(value) for name, value in values.items()}


def check_settings(what: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise OptionError where ``given`` has a setting that ``known`` has not, or of another kind than its default."""
    for name, value in given.items():
        if name not in known:
            offers = ", ".join(f"{key}={default}" for key, default in known.items()) or "no settings"
            raise OptionError(f"{what} has no setting {name}.", f"It has {offers}.")
        default = known[name]
        if isinstance(value, str) != isinstance(default, str):
            kind = {bool: "true or false", str: "a word"}.get(type(default), "a number")
            raise OptionError(f"{what}: {name} is {value!r}.", f"It must be {kind}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise OptionError(f"{what}: {name} is {value}.", "It must be a number.")


def _plain(value: object) -> object:
    """A value as YAML has it; a path as it is from anywhere."""
    if isinstance(value, Path):
        return str(value.resolve())
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
