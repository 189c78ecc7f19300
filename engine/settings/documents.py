"""Configuration files to plain values. Knows syntax only; keys given twice are kept apart, where parsers would drop one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from engine.settings.problems import Place, Problem


class Table(dict[object, object]):
    """A mapping from a file that remembers which keys it had more than once."""

    def __init__(self, pairs: Iterable[tuple[object, object]]) -> None:
        pairs = list(pairs)
        super().__init__(pairs)
        self.repeated = tuple(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)


def read_yaml(path: Path, problems: list[Problem]) -> object:
    """The document in `path`; None after adding to `problems` when there is none."""
    return _read(path, _parse_yaml, problems)


def read_json(path: Path, problems: list[Problem]) -> object:
    """The document in `path`; None after adding to `problems` when there is none."""
    return _read(path, _parse_json, problems)


def json_in(text: str, file: str, problems: list[Problem]) -> object:
    """The document that `text` is, which stands in `file`; None after adding to `problems` when it is none."""
    try:
        return _parse_json(text)
    except _BadSyntax as error:
        problems.append(Problem(Place(file), str(error)))
        return None


def without_nulls(document: object) -> object:
    """`document` without the keys that have no value: they count as left out."""
    match document:
        case dict():
            return {key: without_nulls(value) for key, value in document.items() if value is not None}
        case list():
            return [without_nulls(item) for item in document]
        case _:
            return document


class _BadSyntax(Exception):
    pass


def _read(path: Path, parse: Callable[[str], object], problems: list[Problem]) -> object:
    try:
        document = parse(path.read_text(encoding="utf-8-sig"))
        return Table(()) if document is None else document
    except FileNotFoundError:
        what = f"the file is missing from {path.parent}"
    except OSError as error:
        what = f"the file can't be read: {error.strerror}"
    except UnicodeDecodeError as error:
        what = f"the file is not UTF-8 text (byte {error.start})"
    except _BadSyntax as error:
        what = str(error)
    except RecursionError:
        what = "the file is nested too deeply"
    problems.append(Problem(Place(path.name), what))
    return None


def _parse_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=Table)
    except json.JSONDecodeError as error:
        raise _BadSyntax(f"not JSON in line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError as error:
        raise _BadSyntax(f"not usable JSON: {error}") from None


def _parse_yaml(text: str) -> object:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _BadSyntax(f"not YAML{line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _BadSyntax(f"not usable YAML: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    """Safe YAML with tables that remember repeated keys."""


def _construct_table(loader: _Loader, node: yaml.MappingNode) -> Table:
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key.start_mark)
    return Table(loader.construct_pairs(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_table)
