"""Compares a document with the struct that it is to become, and finds every difference, where msgspec stops at the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Struct, UnsetType
from msgspec.structs import FieldInfo, fields

from engine.core.serialization import Undecodable, converted
from engine.settings.documents import Table, without_nulls
from engine.settings.problems import Place, Problem, given, meant
from engine.settings.schema import decode_size


def differences(value: object, expected: Any, at: Place, *, strict: bool = True) -> Iterator[Problem]:  # noqa: ANN401
    """What keeps `value` from becoming an `expected`. Not strict: numbers and flags may come as text."""
    kind = _bare(expected)
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield from _table(value, kind, at, strict=strict)
    elif get_origin(kind) is tuple:
        yield from list(_items(value, get_args(kind)[0], at)) or _whole(value, expected, at, strict=strict)
    else:
        yield from _whole(value, expected, at, strict=strict)


def allowed(expected: Any) -> str:  # noqa: ANN401
    """What a value of type `expected` may be, in words."""
    if get_origin(expected) is Annotated:
        described = (meta.description for meta in expected.__metadata__ if isinstance(meta, msgspec.Meta))
        return next((text for text in described if text), allowed(expected.__origin__))
    if get_origin(expected) in (Union, UnionType):
        return " or ".join(allowed(member) for member in get_args(expected) if member not in (NoneType, UnsetType))
    if get_origin(expected) is Literal:
        choices = get_args(expected)
        return str(choices[0]) if len(choices) == 1 else f"one of {', '.join(map(str, choices))}"
    if get_origin(expected) is tuple:
        return "a list"
    if get_origin(expected) is dict:
        return "a table"
    if isinstance(expected, type) and issubclass(expected, Struct):
        return f"a table with {', '.join(field.encode_name for field in fields(expected))}"
    return _WORDS.get(expected, str(expected))


def _table(value: object, kind: type[Struct], at: Place, *, strict: bool) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(at, given(value), allowed(kind))
        return
    known = {field.encode_name: field for field in fields(kind)}
    for key in value.repeated if isinstance(value, Table) else ():
        yield Problem(at.child(key), "the key is given more than once", "once")
    for key in (key for key in value if key not in known):
        yield Problem(at.child(key), "there is no such key", ", ".join(known), meant(key, known))
    for key, field in known.items():
        yield from _field(value.get(key), field, at.child(key), strict=strict)


def _field(value: object, field: FieldInfo, at: Place, *, strict: bool) -> Iterator[Problem]:
    if value is not None:
        yield from differences(value, field.type, at, strict=strict)
    elif field.required:
        yield Problem(at, "nothing is given", allowed(field.type))


def _items(value: object, item: Any, at: Place) -> Iterator[Problem]:  # noqa: ANN401
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        label = entry.get("name") if isinstance(entry, Mapping) else None
        yield from differences(entry, item, at.item(index, label if isinstance(label, str) else ""))


def _whole(value: object, expected: Any, at: Place, *, strict: bool) -> Iterator[Problem]:  # noqa: ANN401
    try:
        converted(without_nulls(value), expected, strict=strict, dec_hook=decode_size)
    except Undecodable:
        yield Problem(at, given(value), allowed(expected))


def _bare(expected: Any) -> Any:  # noqa: ANN401
    """`expected` without its annotation and without None, when one type remains."""
    if get_origin(expected) is Annotated:
        return _bare(expected.__origin__)
    if get_origin(expected) in (Union, UnionType):
        members = [member for member in get_args(expected) if member not in (NoneType, UnsetType)]
        return _bare(members[0]) if len(members) == 1 else expected
    return expected


_WORDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}
