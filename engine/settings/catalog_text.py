"""Changes to the catalog's text: an entry put in, taken out, or given other aliases. Every byte that the change is not about
stays as somebody wrote it: order, indentation and spelling."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

_DECODER: Final = json.JSONDecoder()
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_USUAL_STEP: Final = "  "


class _Span(NamedTuple):
    """From the first character to behind the last."""

    begin: int
    end: int


class _Member(NamedTuple):
    key: str
    begin: int
    """Of the key."""
    value: _Span


def with_entry(text: str, entry: Mapping[str, object]) -> str:
    """`text`, which is a catalog without mistakes, with `entry` behind the others."""
    whole, entries = _entries(text)
    if not entries:
        indent = _indent(text, whole.begin) or ""
        inner = indent + _step(text, whole.begin)
        return f"{text[: whole.begin]}[\n{inner}{_written(entry, inner, inner[len(indent) :])}\n{indent}]{text[whole.end :]}"
    last = entries[-1]
    indent_of_entry = _indent(text, last.begin)
    if indent_of_entry is None:
        return f"{text[: last.end]}, {json.dumps(entry, ensure_ascii=False)}{text[last.end :]}"
    step = _step(text, last.begin)
    return f"{text[: last.end]},\n{indent_of_entry}{_written(entry, indent_of_entry, step)}{text[last.end :]}"


def without_entry(text: str, number: int) -> str:
    """`text` without the entry of that number, counted from 0."""
    whole, entries = _entries(text)
    if len(entries) == 1:
        return f"{text[: whole.begin]}[]{text[whole.end :]}"
    if number:
        return text[: entries[number - 1].end] + text[entries[number].end :]
    return text[: entries[0].begin] + text[entries[1].begin :]


def with_aliases(text: str, number: int, aliases: Sequence[str]) -> str:
    """`text` with these aliases for the entry of that number; an entry without any says nothing of them."""
    entry = _entries(text)[1][number]
    members = _members(text, entry.begin)
    written = json.dumps(list(aliases), ensure_ascii=False)
    for place, member in enumerate(members):
        if member.key == "aliases":
            if aliases:
                return text[: member.value.begin] + written + text[member.value.end :]
            if place:
                return text[: members[place - 1].value.end] + text[member.value.end :]
            return text[: member.begin] + text[members[place + 1].begin :]
    if not aliases:
        return text
    last = members[-1]
    between = text[members[-2].value.end : last.begin] if len(members) > 1 else ", "
    return f'{text[: last.value.end]}{between}"aliases": {written}{text[last.value.end :]}'


def _entries(text: str) -> tuple[_Span, list[_Span]]:
    """The list of models, and each of them."""
    top = _members(text, _after_blank(text, 1 if text.startswith("\ufeff") else 0))
    whole = next(member.value for member in reversed(top) if member.key == "models")
    entries: list[_Span] = []
    at = _after_blank(text, whole.begin + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        entries.append(_Span(at, end))
        at = _after_comma(text, end)
    return whole, entries


def _members(text: str, begin: int) -> list[_Member]:
    """Of the object that begins there."""
    members: list[_Member] = []
    at = _after_blank(text, begin + 1)
    while text[at] != "}":
        key, end_of_key = _DECODER.raw_decode(text, at)
        colon = _after_blank(text, end_of_key)
        value_begin = _after_blank(text, colon + 1)
        _, end = _DECODER.raw_decode(text, value_begin)
        members.append(_Member(key, at, _Span(value_begin, end)))
        at = _after_comma(text, end)
    return members


def _after_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None
    return found.end()


def _after_comma(text: str, at: int) -> int:
    at = _after_blank(text, at)
    return _after_blank(text, at + 1) if text[at] == "," else at


def _indent(text: str, at: int) -> str | None:
    """What stands before `at` in its line, or in the line where its key begins; None where that is more than blanks."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    blank = _BLANK.match(line)
    assert blank is not None
    if blank.end() < len(line) and not line[blank.end() :].startswith('"models"'):
        return None
    return blank.group() if "\n" in text[:at] else None


def _step(text: str, begin: int) -> str:
    """By how much the file indents what is within something else."""
    outer = _indent(text, begin) or ""
    for line in text[begin:].splitlines()[1:]:
        inner = line[: len(line) - len(line.lstrip(" \t"))]
        if line.strip() and len(inner) > len(outer):
            return inner[len(outer) :]
    return outer or _USUAL_STEP


def _written(entry: Mapping[str, object], indent: str, step: str) -> str:
    lines = (
        f"{indent}{step}{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()
    )
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
