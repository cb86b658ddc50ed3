"""The command as Typer reads what was typed: its help, its errors in our words, a remark on what was typed twice."""

from collections.abc import Iterable, Iterator
from typing import Any

from typer.core import TyperCommand

from cxrlt_cli.cli.wording import in_our_words

REPEATED, ALL = "cxrlt.repeated", "cxrlt.all"
HELP_ALL = "--help-all"


class Command(TyperCommand):
    """A command whose errors of the command line are in our words, and that knows which options were typed twice.

    Options that are ``rare`` are left out of ``--help``, and shown by ``--help-all``.
    """

    rare: frozenset[str] = frozenset()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        folded = [] if ctx.meta.get(ALL) else [param for param in self.params if param.name in self.rare]
        epilog = self.epilog
        if folded:
            self.epilog = f"{epilog}\n\n{len(folded)} more options: {ctx.command_path} {HELP_ALL}"
        _hide(folded, True)
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = epilog
            _hide(folded, False)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if HELP_ALL in args[: args.index("--") if "--" in args else None]:
            ctx.meta[ALL], args = True, ["--help"]
        typed = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except Exception as error:  # Typer's, which say what is wrong in ``message``
            if isinstance(getattr(error, "message", None), str):
                flags = [flag for parameter in self.params for flag in parameter.opts]
                error.message = in_our_words(error.message, flags)  # type: ignore[attr-defined]
            raise
        if not ctx.resilient_parsing:  # completion looks at unfinished lines
            _, _, order = self.make_parser(ctx).parse_args(typed)
            single = [param for param in order if param.param_type_name == "option" and not param.multiple]
            ctx.meta[REPEATED] = list(dict.fromkeys(param for param in single if single.count(param) > 1))
        return rest


def _hide(parameters: Iterable[Any], hidden: bool) -> None:
    for parameter in parameters:
        parameter.hidden = hidden


def remarks(ctx: Any) -> Iterator[str]:
    """A line on each option that takes one value and was typed twice: scripts add to a line what is to count."""
    for param in ctx.meta.get(REPEATED, ()):
        yield f"{param.opts[0]} is given more than once; the last counts: {ctx.params[param.name]}."
