"""Configuration files to plain values. Knows syntax only; keys given twice are kept apart, where parsers would drop one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from engine.core.texts import fault_of_text, in_brief
from engine.settings.problems import Place, Problem
from engine.whole_file import read_whole


class Table(dict[object, object]):
    """A mapping from a file that remembers which keys it had more than once."""

    def __init__(self, pairs: Iterable[tuple[object, object]]) -> None:
        pairs = list(pairs)
        super().__init__(pairs)
        self.repeated = tuple(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)


def read_yaml(path: Path, problems: list[Problem]) -> object:
    """The document in `path`; None after adding to `problems` when there is none."""
    return _read(path, _MOST_YAML_BYTES, _parse_yaml, problems)


def read_json(path: Path, problems: list[Problem]) -> object:
    """The document in `path`; None after adding to `problems` when there is none."""
    return _read(path, _MOST_JSON_BYTES, _parse_json, problems)


def json_in(text: str, file: str, problems: list[Problem]) -> object:
    """The document that `text` is, which stands in `file`; None after adding to `problems` when it is none."""
    return _in(text, file, _parse_json, problems)


def yaml_in(text: str, file: str, problems: list[Problem]) -> object:
    """The document that `text` is, which stands in `file`; None after adding to `problems` when it is none."""
    return _in(text, file, _parse_yaml, problems)


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


_MOST_YAML_BYTES: Final = 256 << 10
_MOST_JSON_BYTES: Final = 16 << 20
_MOST_DEPTH: Final = 50
_MOST_VALUES: Final = 1_000_000


def _check_size(document: object) -> None:
    """Raises _BadSyntax for a document that is nested too deeply, that a few aliases unfold into more than memory holds, or that
    has texts which no file or terminal takes."""
    sizes: dict[int, int] = {}

    def size(value: object, depth: int) -> int:
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if depth > _MOST_DEPTH:
            raise _BadSyntax(f"the file is nested too deeply: more than {_MOST_DEPTH} levels")
        for text in (value, *(value if isinstance(value, dict) else ())):
            if isinstance(text, str) and (fault := fault_of_text(text)):
                raise _BadSyntax(f"a text {fault}")
        if id(value) not in sizes:
            sizes[id(value)] = 1 + sum(size(child, depth + 1) for child in children)
        return sizes[id(value)]

    if size(document, 0) > _MOST_VALUES:
        raise _BadSyntax(f"the file has more than {_MOST_VALUES} values")


def _read(path: Path, most_bytes: int, parse: Callable[[str], object], problems: list[Problem]) -> object:
    try:
        document = parse(read_whole(path, most_bytes).decode("utf-8-sig"))
        _check_size(document)
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


def _in(text: str, file: str, parse: Callable[[str], object], problems: list[Problem]) -> object:
    try:
        document = parse(text)
        _check_size(document)
    except _BadSyntax as error:
        problems.append(Problem(Place(file), str(error)))
        return None
    return document


def _parse_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=Table)
    except json.JSONDecodeError as error:
        raise _BadSyntax(f"not JSON in line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError as error:
        raise _BadSyntax(f"not usable JSON: {_without_advice(error)}") from None


def _parse_yaml(text: str) -> object:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _BadSyntax(f"not YAML{line}: {in_brief(str(error.problem or error.context))}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _BadSyntax(f"not usable YAML: {in_brief(' '.join(_without_advice(error).split()))}") from None


def _without_advice(error: Exception) -> str:
    """Python's words, but for its advice to programmers about numbers of thousands of digits."""
    return str(error).partition("; use sys.")[0]


class _Loader(yaml.SafeLoader):
    """Safe YAML with tables that remember repeated keys, and without tags: what one makes of a value nobody checks."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag is not None and tag in self.yaml_constructors:  # of others it is said where a constructor is looked for
            said = (
                f"the tag {in_brief(tag.replace('tag:yaml.org,2002:', '!!'))} is not read; write the value without it"
            )
            raise yaml.composer.ComposerError(None, None, said, event.start_mark)
        return super().compose_node(parent, index)


def _construct_table(loader: _Loader, node: yaml.MappingNode) -> Table:
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key.start_mark)
    return Table(loader.construct_pairs(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_table)
