"""Options that were typed twice, where one value would be taken and the other forgotten."""

from typing import Any

from typer.core import TyperCommand

from cxrlt_cli.errors import OptionError

KEY = "cxrlt.repeated"


class Command(TyperCommand):
    """A command that remembers which of its options were typed more than once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed = list(args)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:  # completion looks at unfinished lines
            _, _, order = self.make_parser(ctx).parse_args(typed)
            single = [param for param in order if param.param_type_name == "option" and not param.multiple]
            ctx.meta[KEY] = list(dict.fromkeys(param.opts[0] for param in single if single.count(param) > 1))
        return rest


def require_once(ctx: Any) -> None:
    """Raise OptionError where an option that takes one value was typed twice."""
    for name in ctx.meta.get(KEY, ()):
        raise OptionError(f"{name} is given twice.", "Give it once; where it takes several, separate them by commas.")
