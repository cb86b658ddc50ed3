"""The guide's tables of options, made from the options models: ``python -m tests.option_tables`` writes them."""

from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cxrlt_cli.cli.options import CONFIG_HELP, _declarations
from cxrlt_cli.config import (
    CalibrateOptions,
    ComputeOptions,
    DataCacheOptions,
    DataCheckOptions,
    DataImportOptions,
    DataPhantomOptions,
    DemoOptions,
    EnsembleOptions,
    EnvOptions,
    EvaluateOptions,
    FilmOptions,
    FinetuneOptions,
    FitOptions,
    GuideOptions,
    InferOptions,
    ModelsExportOptions,
    ModelsListOptions,
    ModelsPullOptions,
    ModelsVerifyOptions,
    OodOptions,
    Options,
    PredictOptions,
    ReportOptions,
    TrainOptions,
    about,
    flag,
)

PAGE = Path(__file__).parents[1] / "cxrlt_cli" / "guide" / "options.md"
BEGIN = "<!-- options: made by python -m tests.option_tables -->\n"
END = "<!-- end of options -->\n"
MODELS: dict[str, type[Options]] = {
    "train": TrainOptions,
    "finetune": FinetuneOptions,
    "infer": InferOptions,
    "ensemble": EnsembleOptions,
    "calibrate": CalibrateOptions,
    "ood": OodOptions,
    "evaluate": EvaluateOptions,
    "report": ReportOptions,
    "demo": DemoOptions,
    "guide": GuideOptions,
    "env": EnvOptions,
    "data check": DataCheckOptions,
    "data cache": DataCacheOptions,
    "data import": DataImportOptions,
    "data phantom": DataPhantomOptions,
    "models list": ModelsListOptions,
    "models pull": ModelsPullOptions,
    "models verify": ModelsVerifyOptions,
    "models export": ModelsExportOptions,
}
SHARED = (Options, FilmOptions, ComputeOptions, FitOptions, PredictOptions)


def tables() -> str:
    """All of the block: what several commands share once, then what is a command's own."""
    parts = []
    for model in SHARED:
        users = [f"`{name}`" for name, user in MODELS.items() if issubclass(user, model)]
        title = "every command" if model is Options else " ".join((", ".join(users[:-1]), "and", users[-1]))
        rows = [_row(model, name) for name in own_fields(model)]
        if model is Options:
            rows.append(f"| `--config` | | {CONFIG_HELP} |")
        parts.append(_folded(f"Shared by {title}", rows))
    for command, model in MODELS.items():
        if fields := own_fields(model):
            parts.append(_folded(f"`cxrlt {command}`", [_row(model, name) for name in fields]))
    return "\n".join(parts)


def own_fields(model: type[Options]) -> list[str]:
    """Fields that no shared model above this one has, or has otherwise; arguments first."""
    above = [parent for parent in model.__mro__[1:] if parent in SHARED]
    own = [
        name
        for name, field in model.model_fields.items()
        if not any(name in parent.model_fields and _same(field, parent.model_fields[name]) for parent in above[:1])
    ]
    return sorted(own, key=lambda name: not about(model, name)["argument"])


def updated(page: str) -> str:
    """The page with the block as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{PAGE} has no block between {BEGIN!r} and {END!r}"
    return f"{before}{BEGIN}{tables()}{END}{after}"


def _same(field: Any, other: Any) -> bool:
    return bool(field.default == other.default and field.description == other.description)


def _folded(title: str, rows: list[str]) -> str:
    words = title.split("`")  # GitHub reads no Markdown inside a summary
    summary = "".join(f"<code>{word}</code>" if i % 2 else word for i, word in enumerate(words))
    head = f"<details><summary>{summary}</summary>\n\n| option | default | what |\n| --- | --- | --- |\n"
    return head + "\n".join(rows) + "\n\n</details>\n"


def _row(model: type[Options], name: str) -> str:
    field, default = model.model_fields[name], ""
    if field.is_required():
        default = "required"
    elif about(model, name)["shown"]:
        default = about(model, name)["shown"]
    elif field.default not in (None, (), {}):
        default = f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
    first, *others = (field.description or "").split("\n\n")
    choices = _literals(field.annotation) or [
        part.strip() for text in others if ": " in text for part in text.partition(": ")[0].split(",")
    ]
    offers = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    written = flag(model, name) if about(model, name)["argument"] else _declarations(model, name)[0]
    cells = f"`{written}`", default, f"{first}{offers}".replace("|", "\\|")
    return "| " + " | ".join(cells).replace("|  |", "| |") + " |"


def _literals(annotation: Any) -> list[str]:
    """The choices of a field that has nothing else; numbers beside words are no list of choices."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [str(argument) for argument in arguments]
    if origin is Annotated:
        return _literals(arguments[0])
    if origin in (Union, UnionType):
        rest = [argument for argument in arguments if argument is not type(None)]
        return _literals(rest[0]) if len(rest) == 1 else []
    return []


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
