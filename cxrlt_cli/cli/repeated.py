"""Options that were typed twice, where one value is taken and the other forgotten."""

from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

KEY = "cxrlt.repeated"


class Command(TyperCommand):
    """A command that remembers which of its options were typed more than once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed = list(args)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:  # completion looks at unfinished lines
            _, _, order = self.make_parser(ctx).parse_args(typed)
            single = [param for param in order if param.param_type_name == "option" and not param.multiple]
            ctx.meta[KEY] = list(dict.fromkeys(param for param in single if single.count(param) > 1))
        return rest


def remarks(ctx: Any) -> Iterator[str]:
    """A line on each option that takes one value and was typed twice: scripts add to a line what is to count."""
    for param in ctx.meta.get(KEY, ()):
        yield f"{param.opts[0]} is given more than once; the last counts: {ctx.params[param.name]}."
