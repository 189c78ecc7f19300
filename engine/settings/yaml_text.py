"""One entry in the text of a YAML file set or taken out; every other character stays as it was, comments among them.

Kept apart: settings are read elsewhere, and this knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import yaml

from engine.settings.documents import yaml_in
from engine.settings.problems import Problem

Flat: TypeAlias = bool | Mapping[str, str]
"""What an entry is set to."""


class NotSet(Exception):
    """The file is written in a way that only a person should change."""


def with_value(text: str, table: tuple[str, ...], key: str, value: Flat) -> str:
    """`text` with that value for `key` in the table that is found along `table`, which may be empty. Raises NotSet where the
    text is no YAML, has no such table, or would come to say something else besides."""
    document, node = _read(text, table)
    at, until, put = _place(node, table, key, _written(value))
    return _checked(text[:at] + put + text[until:], _with(document, table, key, value))


def without_key(text: str, table: tuple[str, ...], key: str) -> str:
    """`text` without `key` in that table, and the comment on its line. Raises NotSet as `with_value` does, and where the table
    does not have it."""
    document, node = _read(text, table)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    number = next((number for number, (name, _) in enumerate(pairs) if name.value == key), None)
    if number is None or not isinstance(node, yaml.MappingNode):
        raise NotSet(f"{table[-1]} has no {key}")
    start, end = pairs[number][0].start_mark.index, _last(pairs[number][1])
    if not node.flow_style:
        start, end = text.rfind("\n", 0, start) + 1, text.find("\n", end) + 1 or len(text)
    elif number + 1 < len(pairs):
        end = pairs[number + 1][0].start_mark.index
    elif number:
        start = _last(pairs[number - 1][1])
    return _checked(text[:start] + text[end:], _without(document, table, key))


def _read(text: str, table: tuple[str, ...]) -> tuple[object, yaml.Node]:
    """What it says, and the table of it. Raises NotSet."""
    problems: list[Problem] = []
    document = yaml_in(text, "", problems)
    if problems:
        raise NotSet(problems[0].what)
    node = yaml.compose(text, yaml.SafeLoader)
    for name in table:
        node = _entry(node, name)
        if node is None:
            raise NotSet(f"there is no {name}")
    assert node is not None  # there is a table at least
    return document, node


def _checked(changed: str, wanted: object) -> str:
    """Raises NotSet where the changed text says something else."""
    if yaml_in(changed, "", []) != wanted:
        raise NotSet("other entries would change with it")
    return changed


def _place(node: yaml.Node, table: tuple[str, ...], key: str, value: str) -> tuple[int, int, str]:
    """From where to where there will be which text."""
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return start, end, f" {{{key}: {value}}}" if start == end else f"{{{key}: {value}}}"
    if not isinstance(node, yaml.MappingNode):
        raise NotSet(f"{table[-1]} is no table")
    if (known := _entry(node, key)) is not None:
        return known.start_mark.index, known.end_mark.index, value
    if not node.flow_style:
        return start, start, f"{key}: {value}\n{' ' * node.start_mark.column}"
    return start + 1, start + 1, f"{key}: {value}, " if node.value else f"{key}: {value}"


def _entry(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _last(node: yaml.Node) -> int:
    """Where what it says ends: a table's own mark is behind the comments that follow it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _last(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _last(node.value[-1])
    return int(node.end_mark.index)


def _written(value: Flat) -> str:
    """In one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(yaml.safe_dump(dict(value), default_flow_style=True, width=1 << 20)).strip()


def _with(document: object, table: tuple[str, ...], key: str, value: Flat) -> object:
    if not table:
        return {**(document if isinstance(document, dict) else {}), key: value}
    assert isinstance(document, dict)  # the text has the table
    return {**document, table[0]: _with(document.get(table[0]), table[1:], key, value)}


def _without(document: Any, table: tuple[str, ...], key: str) -> object:  # noqa: ANN401 - of any kind, as YAML is
    if not table:
        return {name: value for name, value in document.items() if name != key}
    return {**document, table[0]: _without(document[table[0]], table[1:], key)}
