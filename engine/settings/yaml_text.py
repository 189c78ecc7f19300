"""One value in the text of a YAML file set to another; every other character stays as it was, comments among them.

Kept apart: settings are read elsewhere, and this knows none of them.
"""

from __future__ import annotations

import yaml

from engine.settings.documents import yaml_in
from engine.settings.problems import Problem


class NotSet(Exception):
    """The file is written in a way that only a person should change."""


def with_value(text: str, table: tuple[str, ...], key: str, value: bool) -> str:
    """`text` with that value for `key` in the table that is found along `table`, which may be empty. Raises NotSet where the
    text is no YAML, has no such table, or would come to say something else besides."""
    problems: list[Problem] = []
    document = yaml_in(text, "", problems)
    if problems:
        raise NotSet(problems[0].what)
    at, until, put = _place(yaml.compose(text, yaml.SafeLoader), table, key, "true" if value else "false")
    changed = text[:at] + put + text[until:]
    if yaml_in(changed, "", problems) != _with(document, table, key, value):
        raise NotSet("other entries would change with it")
    return changed


def _place(node: yaml.Node | None, table: tuple[str, ...], key: str, value: str) -> tuple[int, int, str]:
    """From where to where there will be which text."""
    for name in table:
        node = _entry(node, name)
        if node is None:
            raise NotSet(f"there is no {name}")
    assert node is not None  # there is a table at least
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


def _with(document: object, table: tuple[str, ...], key: str, value: bool) -> object:
    if not table:
        return {**(document if isinstance(document, dict) else {}), key: value}
    assert isinstance(document, dict)  # the text has the table
    return {**document, table[0]: _with(document.get(table[0]), table[1:], key, value)}
