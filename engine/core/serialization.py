"""How values become bytes and bytes become values: the one door for what comes from outside, and for what goes there.

Whatever the bytes are, reading ends in a value of the kind that was asked for or in `Undecodable`. msgspec alone does not promise
that: text that is no UTF-8 and nesting beyond the stack come as Python's own errors, which nobody expects of a decoder. So
nothing else reads with it (`tests/test_house.py`). How many bytes there may be is up to whoever gets them:
`whole_file.read_whole`, a frame's length, a body's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar, get_args, overload
from zlib import crc32

import msgspec

from engine.core.texts import escaped, in_brief

_T = TypeVar("_T")
Hook: TypeAlias = Callable[[type, Any], Any]
_SHOWN: Final = 200
"""Characters of what a decoder says: it quotes names and values, of any length, that somebody else wrote."""


class Undecodable(Exception):
    """The bytes are not what they should be; says why, in one short and printable line."""


@overload
def from_json(data: bytes | str, kind: type[_T]) -> _T: ...
@overload
def from_json(data: bytes | str, kind: Any = Any) -> Any: ...  # noqa: ANN401 - unions and Any, whose values have no type of their own
def from_json(data: bytes | str, kind: Any = Any) -> Any:
    """The `kind` that JSON holds. Raises Undecodable."""
    try:
        return _json_decoder(kind).decode(data)
    except _FAULTS as fault:
        raise Undecodable(_words(fault)) from fault


@overload
def from_msgpack(data: bytes | bytearray, kind: type[_T]) -> _T: ...
@overload
def from_msgpack(data: bytes | bytearray, kind: Any) -> Any: ...  # noqa: ANN401
def from_msgpack(data: bytes | bytearray, kind: Any) -> Any:
    """The `kind` that msgpack holds. Raises Undecodable."""
    try:
        return _msgpack_decoder(kind).decode(data)
    except _FAULTS as fault:
        raise Undecodable(_words(fault)) from fault


@overload
def converted(value: object, kind: type[_T], *, strict: bool = ..., dec_hook: Hook | None = ...) -> _T: ...
@overload
def converted(value: object, kind: Any, *, strict: bool = ..., dec_hook: Hook | None = ...) -> Any: ...  # noqa: ANN401
def converted(value: object, kind: Any, *, strict: bool = True, dec_hook: Hook | None = None) -> Any:
    """`value`, of plain tables and lists, as the `kind`; not strict: numbers may come as text; `dec_hook` makes kinds that
    msgspec does not know. Raises Undecodable."""
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=dec_hook)
    except _FAULTS as fault:
        raise Undecodable(_words(fault)) from fault


def to_json(value: object) -> bytes:
    """`value` as JSON on one line, in which all that a terminal might act on, or an eye not see, is escaped: C1, DEL,
    bidirectional and zero-width characters. It says the same, and may be shown as it is. Raises UnicodeEncodeError for half
    characters."""
    written = msgspec.json.encode(value)
    if written.isascii() and b"\x7f" not in written:
        return written
    return escaped(written.decode()).encode()


def to_readable_json(value: object) -> bytes:
    """The same on several lines, for files that people look at."""
    return msgspec.json.format(to_json(value)) + b"\n"


def to_sealed_json(value: object) -> bytes:
    """`value`, which is an object of JSON, with the CRC-32 of all the rest as its last field: for what a disk keeps."""
    written = to_json(value)
    return b'%s,"%s":"%08x"}' % (written[:-1], _SEAL, crc32(written))


def from_sealed_json(data: bytes, kind: Any) -> Any:  # noqa: ANN401
    """The `kind` that was sealed. Raises Undecodable, also where it is no more what was written.

    What was written before there were checksums is taken without one, but with no field beyond those of the kind: a checksum that
    is itself damaged is one.
    """
    data = data.rstrip()
    if seal := _SEALED.search(data):
        body = data[: seal.start()] + b"}"
        if int(seal[1], 16) != crc32(body):
            raise Undecodable("it is not what was written: its checksum does not fit")
        return from_json(body, kind)
    value = from_json(data, kind)
    if not from_json(data, dict[str, msgspec.Raw]).keys() <= _fields_of(kind):
        raise Undecodable("it is not what was written: its checksum is damaged")
    return value


@cache
def _fields_of(kind: Any) -> frozenset[str]:  # noqa: ANN401
    """Of a struct, or of any struct of a tagged union."""
    structs = get_args(kind) or (kind,)
    named = (field.encode_name for struct in structs for field in msgspec.structs.fields(struct))
    return frozenset((*named, *(struct.__struct_config__.tag_field for struct in structs)))


_SEAL: Final = b"crc32"
_SEALED: Final = re.compile(rb',"crc32":"([0-9a-f]{8})"\}\Z')


def to_msgpack(value: object) -> bytes:
    """`value` as msgpack."""
    return msgspec.msgpack.encode(value)


_FAULTS: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, TypeError, MemoryError)
"""Beside its own error msgspec lets these through: bytes that are no UTF-8; nesting; figures too large for a float; keys that
can't be keys; and, of msgpack, lengths that no memory has room for."""


@cache
def _json_decoder(kind: Any) -> msgspec.json.Decoder[Any]:  # noqa: ANN401
    return msgspec.json.Decoder(kind)


@cache
def _msgpack_decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:  # noqa: ANN401
    return msgspec.msgpack.Decoder(kind)


def _words(fault: Exception) -> str:
    """What is wrong, for people."""
    match fault:
        case UnicodeError():
            return "it holds bytes that are no UTF-8 text"
        case RecursionError():
            return "it is nested too deeply"
        case MemoryError():
            return "it announces more than there is memory for"
        case _:
            return in_brief(str(fault), _SHOWN)
