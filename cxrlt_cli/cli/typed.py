"""The command as Typer reads what was typed: its help, its errors in our words, a remark on what was typed twice."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from typer.core import TyperCommand, TyperGroup

from cxrlt_cli.cli.wording import NO_NUMBER, as_share, in_our_words

REPEATED, ALL = "cxrlt.repeated", "cxrlt.all"
HELP_ALL = "--help-all"
USAGE = 2  # what a command line that cannot be read ends with


class Command(TyperCommand):
    """A command whose errors of the command line are in our words, and that knows which options were typed twice.

    Options that are ``rare`` are left out of ``--help``, and choices are not explained: ``--help-all`` has it all.
    """

    rare: frozenset[str] = frozenset()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        if ctx.meta.get(ALL):
            super().format_help(ctx, formatter)
            return
        folded = [param for param in self.params if param.name in self.rare]
        with _changed(folded, "hidden", lambda _: True), _changed(self.params, "help", _in_short):
            more = f"Every option, and what each choice is: {ctx.command_path} {HELP_ALL}"
            with _changed([self], "epilog", lambda epilog: f"{epilog}\n\n{more}"):
                super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if HELP_ALL in args[: args.index("--") if "--" in args else None]:
            ctx.meta[ALL], args = True, ["--help"]
        typed = list(args)
        with _explained(self, ctx, typed):
            rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:  # completion looks at unfinished lines
            _, _, order = self.make_parser(ctx).parse_args(typed)
            single = [param for param in order if param.param_type_name == "option" and not param.multiple]
            ctx.meta[REPEATED] = list(dict.fromkeys(param for param in single if single.count(param) > 1))
        return rest


def _value_of(typed: Sequence[str], flags: Sequence[str]) -> str:
    """What was typed after a flag, the last time; empty where it was not."""
    words = [part for word in typed for part in word.split("=", 1)]
    return next((value for word, value in reversed(list(pairwise(words))) if word in flags), "")


class Group(TyperGroup):
    """A group of commands, whose ``--help-all`` is its help: options are those of its commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _explained(self, ctx, args):
            return super().parse_args(ctx, ["--help"] if args[:1] == [HELP_ALL] else args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        with _explained(self, ctx, args, self.commands):
            return super().resolve_command(ctx, args)


@contextmanager
def _explained(command: Any, ctx: Any, typed: Sequence[str], commands: Iterable[str] = ()) -> Iterator[None]:
    """Errors of Typer in our words, with the nearest of what was meant; of processes started together, one tells."""
    try:
        yield
    except Exception as error:  # those of Typer say what is wrong in ``message``
        said = getattr(error, "message", None)
        if isinstance(said, str):
            from cxrlt_cli.engine.cluster import speaks

            if not speaks(os.environ):
                sys.exit(getattr(error, "exit_code", USAGE))
            flags = [flag for option in command.get_params(ctx) for flag in (*option.opts, *option.secondary_opts)]
            message = in_our_words(said, [*flags, HELP_ALL], commands)
            if message == NO_NUMBER:
                message += as_share(_value_of(typed, getattr(getattr(error, "param", None), "opts", [])))
            error.message, error.possibilities = message, None  # type: ignore[attr-defined]  # it names the nearest
        raise


def _in_short(text: str | None) -> str | None:
    """Help in which choices are named and not explained."""
    if text is None or "\n\n" not in text:
        return text
    first, explained = text.split("\n\n", 1)
    lines = [line.partition(": ")[0] for line in explained.split("\n\n") if ": " in line]
    return f"{first} One of {', '.join(lines)}." if lines else first


@contextmanager
def _changed(things: Iterable[Any], name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """As long as this lasts, an attribute of each thing that has it is another."""
    before = [(thing, getattr(thing, name)) for thing in things if hasattr(thing, name)]
    for thing, value in before:
        setattr(thing, name, change(value))
    try:
        yield
    finally:
        for thing, value in before:
            setattr(thing, name, value)


def remarks(ctx: Any) -> Iterator[str]:
    """A line on each option that takes one value and was typed twice: scripts add to a line what is to count."""
    for param in ctx.meta.get(REPEATED, ()):
        yield f"{param.opts[0]} is given more than once; the last counts: {ctx.params[param.name]}."
