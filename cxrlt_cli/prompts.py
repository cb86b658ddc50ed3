"""Sentences that describe findings, from a YAML file, with every fault told by its line.

findings:
  goiter:                       # a list of sentences, or groups of them by name
    - the trachea is pushed to one side
anchors:                        # optional: what a film without the findings looks like
  - a normal chest radiograph
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from cxrlt_cli.documents import compose_yaml
from cxrlt_cli.errors import DataError
from cxrlt_cli.names import fault_of_name, is_text, meant_path, shown

OWN = Path(__file__).with_name("prompts.yaml")
TEXT = "tag:yaml.org,2002:str"
KEYS = ("findings", "anchors")
MAX_LETTERS = 10_000


@dataclass(frozen=True)
class Prompts:
    """Sentences by finding, in the order of the file, and those of the anchor."""

    findings: Mapping[str, tuple[str, ...]]
    anchors: tuple[str, ...] = ()


def load(path: Path | str | None = None) -> dict[str, tuple[str, ...]]:
    """The sentences of each finding, in the order of the file; our own for the six unseen findings without a path.

    Raises DataError as ``read`` does.
    """
    return dict(read(path).findings)


def read(path: Path | str | None = None) -> Prompts:
    """The prompts of a YAML file.

    Raises DataError with file and line where it cannot be read, has an unknown key, a finding twice or without a
    sentence, something that is no text, a sentence twice, be it for one finding or for two, or more of YAML than lists
    and names: an anchor and what refers to it, a tag, nests.
    """
    file = OWN if path is None else Path(path)
    try:
        root = compose_yaml(file)
    except FileNotFoundError as error:
        raise DataError(f"{file} does not exist.{meant_path(file)}", "Check the path of --prompts.") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    except ValueError as error:
        raise DataError(f"{file} is no valid YAML: {error}.", "Is it a file of prompts?") from error
    if not isinstance(root, yaml.MappingNode):
        raise DataError(
            f"{file} must have 'findings:', with sentences for each.",
            "Such as:\nfindings:\n  goiter:\n    - the trachea is pushed to one side",
        )
    return _Reader(file).prompts(root)


class _Reader:
    """Nodes of one file to prompts; remembers where each sentence stands."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: dict[str, yaml.Node] = {}

    def prompts(self, root: yaml.MappingNode) -> Prompts:
        parts: dict[str, yaml.Node] = {}
        for key, value in root.value:
            self._name(key)
            if key.value not in KEYS:
                raise self._error(key, f"'{key.value}' is no key of a prompts file", f"It has {' and '.join(KEYS)}.")
            if key.value in parts:
                raise self._error(key, f"'{key.value}' stands here a second time")
            parts[key.value] = value
        findings: dict[str, tuple[str, ...]] = {}
        body = parts.get("findings")
        if not isinstance(body, yaml.MappingNode) or not body.value:
            hint = "Each is a name and a list: 'goiter: [a mass beside the trachea]'."
            raise self._error(body or root, "there is no finding with its sentences under 'findings:'", hint)
        for key, value in body.value:
            self._name(key)
            if key.value in findings:
                raise self._error(key, f"finding '{key.value}' stands here a second time")
            findings[key.value] = self._sentences(value, key)
        anchors = self._sentences(parts["anchors"], parts["anchors"]) if "anchors" in parts else ()
        return Prompts(findings, anchors)

    def _name(self, node: yaml.Node) -> None:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, "a name is wanted here")
        if fault := fault_of_name(node.value):
            raise self._error(node, f"here is the name {shown(node.value)}, which {fault}")

    def _sentences(self, node: yaml.Node, where: yaml.Node) -> tuple[str, ...]:
        """Those of a list, or of all lists of a mapping."""
        lists = [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else [node]
        found: list[str] = []
        for one in lists:
            if not isinstance(one, yaml.SequenceNode):
                raise self._error(one, "a list of sentences is wanted here", "Each on a line of its own, after '- '.")
            for item in one.value:
                if not isinstance(item, yaml.ScalarNode) or item.tag != TEXT or not item.value.strip():
                    raise self._error(item, "a sentence is wanted here", "What YAML takes for no text needs quotes.")
                sentence = " ".join(item.value.split())
                if not is_text(sentence) or len(item.value) > MAX_LETTERS:
                    raise self._error(item, "this sentence is too long, or holds what is no text")
                first = self._seen.setdefault(sentence.casefold(), item)
                if first is not item:
                    raise self._error(item, f"'{sentence}' stands in line {first.start_mark.line + 1} already")
                found.append(sentence)
        if not found:
            raise self._error(where, "there is no sentence here")
        return tuple(found)

    def _error(self, node: yaml.Node, what: str, hint: str = "") -> DataError:
        return DataError(f"{self._file}, line {node.start_mark.line + 1}: {what}.", hint)
