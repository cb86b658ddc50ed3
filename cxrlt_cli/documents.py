"""JSON and YAML that come from outside: read as plain values, or refused in words.

A short file can be deep, refer to itself until it fills the memory, or name code. None of that gets past here.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

MAX_BYTES, MAX_DEPTH = 1_000_000, 8  # of a YAML file, which a person writes
MAX_JSON = 200_000_000  # bytes
T = TypeVar("T")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; raises ValueError where it is none, is nested too deeply or holds too long a number."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path) -> Any:
    """The value of a JSON file; raises OSError where it cannot be opened, and ValueError as ``parse_json`` does."""
    return parse_json(_bytes(path, MAX_JSON))


def read_yaml(path: Path) -> Any:
    """The value of a YAML file of plain values.

    Raises OSError where it cannot be opened; ValueError, with the line where there is one, where it is no YAML, says a
    name twice, or holds an alias, a tag or deep nests.
    """

    def value(loader: "_Plain") -> Any:
        node = loader.get_single_node()
        if node is None:
            return None
        _require_distinct(node)
        return loader.construct_document(node)

    return _loaded(path, value)


def compose_yaml(path: Path) -> yaml.Node | None:
    """Its nodes, which know their lines; None of an empty file. Raises as ``read_yaml`` does."""
    return _loaded(path, lambda loader: loader.get_single_node())


def _loaded(path: Path, load: "Callable[[_Plain], T]") -> T:
    text = _bytes(path, MAX_BYTES).decode("utf-8-sig")
    try:
        return load(_Plain(text))
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ValueError(f"{error.problem}{line}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two of a number, a date, an escape
        raise ValueError(" ".join(str(error).split())) from error


def _bytes(path: Path, most: int) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data


def _require_distinct(node: yaml.Node) -> None:
    """Raise where a mapping says a name twice: YAML's own readers take the last and pass over the first."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.composer.ComposerError(
                    None, None, f"'{key.value}' stands here a second time", key.start_mark
                )
            seen.add(str(key.value))
            _require_distinct(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _require_distinct(item)


class _Plain(yaml.SafeLoader):
    """Refuses what makes a short file long, deep, or run: aliases, nests, tags."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        fault = None
        if isinstance(event, yaml.AliasEvent):
            fault = "an alias (*) stands here; write out what it stands for"
        elif event.tag is not None:
            fault = f"a tag ({event.tag}) stands here; only plain values are read"
        elif self._depth == MAX_DEPTH:
            fault = "this is nested too deeply"
        if fault:
            raise yaml.composer.ComposerError(None, None, fault, event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node
