"""Bytes from outside become values or our own error; values become bytes that may be shown as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from engine.core.serialization import (
    Undecodable,
    converted,
    from_json,
    from_msgpack,
    from_sealed_json,
    to_json,
    to_sealed_json,
)
from engine.core.texts import in_brief


class Named(Struct, frozen=True):
    name: str
    size: int = 0


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"name":"\xff"}', "bytes that are no UTF-8"),
        (b'{"name":"a","x":' + b"[" * 100_000, "nested too deeply"),
        (b'{"name":"' + b"a" * 1_000_000, "truncated"),
        (b'{"name":1}', "Expected `str`, got `int` - at `$.name`"),
        (b'{"name":"a","size":' + b"9" * 10_000 + b"}", "out of range"),
    ],
    ids=["UTF-8", "nesting", "cut short", "kind", "number"],
)
def test_what_is_wrong_is_said_in_a_short_line(data: bytes, why: str) -> None:
    with pytest.raises(Undecodable, match=why.replace("$", r"\$")) as wrong:
        from_json(data, Named)

    assert len(str(wrong.value)) <= 201


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_our_own_error(data: bytes) -> None:
    for read in (
        lambda: from_json(data),
        lambda: from_json(data, Named),
        lambda: from_msgpack(data, Any),
        lambda: from_sealed_json(data, Named),
    ):
        said = ""
        try:
            read()
        except Undecodable as wrong:
            said = str(wrong)
        assert said.isprintable()


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63 - 1)))
def test_what_is_written_means_the_same_and_shows_nothing_that_a_terminal_acts_on(value: dict[str, object]) -> None:
    written = to_json(value).decode()

    assert json.loads(written) == value
    assert written.isprintable()


@pytest.mark.parametrize("character", ["\x9b", "\x7f", "\u202e", "\u200b", "\u2066", "\U000e0067"])
def test_controls_beyond_ascii_are_escaped(character: str) -> None:
    assert character not in to_json({"a": f"é{character}中"}).decode()
    assert from_json(to_json({"a": character})) == {"a": character}


@given(st.text(), st.integers(-(2**63), 2**63 - 1))
def test_what_was_sealed_is_read_and_damage_is_seen(name: str, size: int) -> None:
    value = Named(name, size)
    sealed = to_sealed_json(value)
    assert from_sealed_json(sealed, Named) == value

    with pytest.raises(Undecodable, match="checksum does not fit"):
        from_sealed_json(sealed.replace(b'"size":', b'"size":1' if size >= 0 else b'"size": '), Named)


def test_a_value_without_a_checksum_is_read_unless_it_has_a_damaged_one() -> None:
    assert from_sealed_json(b'{"name":"a","size":1}', Named) == Named("a", 1)

    with pytest.raises(Undecodable, match="its checksum is damaged"):
        from_sealed_json(b'{"name":"a","size":1,"crc33":"00000000"}', Named)


def test_plain_values_are_converted_or_refused() -> None:
    assert converted({"name": "a", "size": "3"}, Named, strict=False) == Named("a", 3)
    with pytest.raises(Undecodable, match="Expected `int`"):
        converted({"name": "a", "size": "x"}, Named)


def test_what_somebody_else_wrote_is_quoted_in_brief() -> None:
    assert in_brief("a" * 200) == "a" * 100 + "…"
    assert in_brief("\x1b[2J") == "\\u001b[2J"
