"""``--where``: conditions on the columns of a table, as a tree; parsed, never run as code.

    or_    := and_ ("or" and_)*            and_ := not_ ("and" not_)*
    not_   := "not" not_ | "(" or_ ")" | test
    test   := COLUMN OPERATOR VALUE | COLUMN ["not"] "in" "(" VALUE ("," VALUE)* ")"

A column stands on the left, a value on the right. Either is a bare word, or anything between quotes or backticks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in"]

_TOKEN = re.compile(
    r"\s*(?:(?P<quoted>\"[^\"]*\"|'[^']*'|`[^`]*`)|(?P<mark>==|!=|<=|>=|[=<>(),])|(?P<word>[^\s\"'`=<>!(),]+))"
)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_WORDS = ("and", "or", "not", "in")
MOST = 50  # brackets and nots within each other


@dataclass(frozen=True)
class Value:
    """A text as it was written; ``number``: what it says where it was no text in quotes."""

    text: str
    number: Decimal | None = None

    def __str__(self) -> str:
        return self.text or "''"


@dataclass(frozen=True)
class Comparison:
    """Whether a column is, or is not, one of the values; or lies on one side of a number."""

    column: str
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Not:
    part: "Condition"


@dataclass(frozen=True)
class Joined:
    """``and`` or ``or`` of two or more."""

    word: Literal["and", "or"]
    parts: tuple["Condition", ...]


Condition = Comparison | Not | Joined


@dataclass(frozen=True)
class _Token:
    text: str
    kind: str  # quoted, mark, word or end
    place: int

    def is_(self, *words: str) -> bool:
        return self.kind != "quoted" and self.text.lower() in words


def parse(text: str) -> Condition:
    """The tree of a condition; raises ValueError that says where it stops being one."""
    parser = _Parser(text)
    condition = parser.joined("or", 0)
    if parser.next.kind != "end":
        raise parser.wrong("and, or, or the end")
    return condition


def columns_of(condition: Condition) -> tuple[str, ...]:
    """The columns that a condition looks at, each once."""
    return tuple(dict.fromkeys(test.column for test in tests_of(condition)))


def tests_of(condition: Condition) -> Iterator[Comparison]:
    if isinstance(condition, Comparison):
        yield condition
    else:
        for part in (condition.part,) if isinstance(condition, Not) else condition.parts:
            yield from tests_of(part)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._cut()
        self.next = next(self._tokens)

    def _cut(self) -> Iterator[_Token]:
        place = 0
        while self._text[place:].strip():
            found = _TOKEN.match(self._text, place)
            if found is None:
                rest = self._text[place:].strip()
                what = "a quote that is not closed" if rest[0] in "\"'`" else f"'{rest[0]}'"
                raise ValueError(f'{what} at character {self._text.index(rest, place) + 1} of "{self._text}"')
            kind = found.lastgroup
            assert kind in ("quoted", "mark", "word")
            token = found[kind]
            yield _Token(token[1:-1] if kind == "quoted" else token, kind, found.start(kind))
            place = found.end()
        yield _Token("the end", "end", len(self._text))

    def take(self) -> _Token:
        token = self.next
        if token.kind != "end":
            self.next = next(self._tokens)
        return token

    def wrong(self, wanted: str) -> ValueError:
        found = "its end" if self.next.kind == "end" else f"'{self.next.text}' at character {self.next.place + 1}"
        return ValueError(f'{found} of "{self._text}", where {wanted} is expected')

    def joined(self, word: Literal["and", "or"], depth: int) -> Condition:
        def part() -> Condition:
            return self.joined("and", depth) if word == "or" else self.negated(depth)

        parts = [part()]
        while self.next.is_(word):
            self.take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def negated(self, depth: int) -> Condition:
        if depth > MOST:
            raise ValueError(f"more than {MOST} brackets within each other")
        if self.next.is_("not"):
            self.take()
            return Not(self.negated(depth + 1))
        if self.next.is_("("):
            self.take()
            condition = self.joined("or", depth + 1)
            self.expect(")")
            return condition
        return self.test()

    def test(self) -> Comparison:
        is_number = self.next.kind == "word" and _NUMBER.fullmatch(self.next.text)
        column = self.named("a column")
        if is_number:
            raise ValueError(f'{column} in "{self._text}": a column stands on the left, as in PatientAge >= 18')
        if self.next.is_("not", "in"):
            word: Operator = "in"
            if self.take().is_("not"):
                if not self.next.is_("in"):
                    raise self.wrong("in")
                self.take()
                word = "not in"
            self.expect("(")
            values = [self.value()]
            while self.next.is_(","):
                self.take()
                values.append(self.value())
            self.expect(")")
            return Comparison(column, word, tuple(values))
        for operator in ("==", "!=", "<", "<=", ">", ">="):
            if self.next.is_(operator) or (operator == "==" and self.next.is_("=")):
                self.take()
                value = self.value()
                if operator not in ("==", "!=") and value.number is None:
                    raise ValueError(f"'{column} {operator} {value}': {operator} compares with a number")
                return Comparison(column, operator, (value,))
        spaced = " (a name with spaces stands between quotes)" if self.next.kind == "word" else ""
        raise self.wrong(f"==, !=, <, <=, >, >= or in{spaced}")

    def named(self, what: str) -> str:
        if self.next.kind not in ("word", "quoted") or self.next.is_(*_WORDS):
            raise self.wrong(what)
        return self.take().text

    def value(self) -> Value:
        is_quoted = self.next.kind == "quoted"
        text = self.named("a value")
        return Value(text, Decimal(text) if not is_quoted and _NUMBER.fullmatch(text) else None)

    def expect(self, mark: str) -> None:
        if not self.next.is_(mark):
            raise self.wrong(f"'{mark}'")
        self.take()
