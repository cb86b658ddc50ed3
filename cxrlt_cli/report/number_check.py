"""A text held against what its data give: number by number, with line and both values."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_TOKEN = re.compile(r"[0-9a-f]{16,}|\d+(?:,\d{3}(?!\d))*(?:\.\d+)*(?:[eE][+-]?\d+)?|[^\W\d]+|\S")
MOST = 60  # characters of a value that are shown


@dataclass(frozen=True)
class Deviation:
    """Where a file says something else than is computed; line 0: the file as a whole."""

    file: str
    line: int
    printed: str
    computed: str


def deviations(file: str, computed: str, printed: str, authors: str | None = None) -> list[Deviation]:
    """Every place where ``printed`` differs from ``computed``: numbers and words one by one.

    ``authors``: what marks the lines, and the heading of the last part, that authors write in; those may differ.
    """
    if computed == printed:
        return []
    mine, theirs = (_before(text.replace("\r\n", "\n").split("\n"), authors) for text in (computed, printed))
    if mine == theirs:
        return []
    found: list[Deviation] = []
    for first, last, begin, end in _stretches(mine, theirs):
        if authors is not None and last > first and all(authors in line for line in mine[first:last]):
            continue
        if last - first == end - begin:
            for one, other, line in zip(mine[first:last], theirs[begin:end], range(begin + 1, end + 1), strict=True):
                found += _in_line(file, line, one, other)
        else:
            found += _in_line(file, begin + 1, " ".join(mine[first:last]), " ".join(theirs[begin:end]))
    return found


def _before(lines: list[str], authors: str | None) -> list[str]:
    """The lines up to the heading of the authors' part, if there is one."""
    heading = None if authors is None else f"## {authors}"
    return lines[: lines.index(heading) + 1] if heading in lines else lines


def _stretches(mine: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Lines that differ; where there are as many of both, each is held against its own."""
    if len(mine) == len(theirs):
        yield from (
            (at, at + 1, at, at + 1) for at, pair in enumerate(zip(mine, theirs, strict=True)) if len({*pair}) > 1
        )
        return
    for kind, *place in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if kind != "equal":
            first, last, begin, end = place
            yield first, last, begin, end


def _in_line(file: str, line: int, computed: str, printed: str) -> list[Deviation]:
    if computed == printed:
        return []
    mine, theirs = _TOKEN.findall(computed), _TOKEN.findall(printed)
    if mine == theirs:
        return [Deviation(file, line, _short(printed), _short(computed))]
    if len(mine) == len(theirs):
        return [
            Deviation(file, line, _short(other), _short(one))
            for one, other in zip(mine, theirs, strict=True)
            if one != other
        ]
    return [
        Deviation(file, line, _short(" ".join(theirs[begin:end])), _short(" ".join(mine[first:last])))
        for kind, first, last, begin, end in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes()
        if kind != "equal"
    ]


def _short(text: str) -> str:
    return text if len(text) <= MOST else f"{text[: MOST - 3]}..."
