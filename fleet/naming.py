"""What a box says, with its devices called as the fleet calls them, and what is asked of it, as it calls them itself.

Pure. It goes by the names of fields: a device is in a field of `_DEVICES`, whatever struct that is, and words that may name one
are in a field of `_WORDS`; `tests/fleet/test_naming.py` holds that no struct of the API has a device elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar

from msgspec import Struct, inspect
from msgspec.structs import fields, replace

from engine.core.names import BoxName, DeviceId, on_box, within_box
from engine.core.records import Notice, Record, Residency

_T = TypeVar("_T")

_DEVICES: Final = frozenset(("device", "stays", "preferred_device", "source", "target"))
_NOT_DEVICES: Final = frozenset((("ModelState", "source"),))
_WORDS: Final = frozenset(
    ("advice", "fallback", "note", "reason", "reasons", "text", "title", "waiting_for", "why", "why_not")
)
_NOT_WORDS: Final = frozenset((("TextPart", "text"), ("Continuation", "text"), ("DeviceSpec", "title")))
_DEVICE_IN_WORDS: Final = re.compile(r"(?<![\w/.-])(?:gpu\d+|cpu)(?![\w/-])")


def on(box: BoxName, said: _T) -> _T:
    """What `box` said, for the fleet: `gpu0` is `box/gpu0`, in words, too."""

    def named(device: DeviceId) -> DeviceId:
        return on_box(box, device)

    renamed: _T = _renamed(said, named, lambda text: words_on(box, text))
    return renamed


def words_on(box: BoxName, text: str) -> str:
    """Words of `box`, for the fleet."""
    return _DEVICE_IN_WORDS.sub(lambda found: on_box(box, found[0]), text)


def within(box: BoxName, asked: _T) -> _T:
    """What the fleet is asked, for `box`. Devices of others keep the name of their box, so that nobody takes them for its own."""

    def named(device: DeviceId) -> DeviceId:
        return within_box(device) if device.startswith(f"{box}/") else device

    renamed: _T = _renamed(asked, named, lambda text: effects_within(box, text))
    return renamed


def effects_within(box: BoxName, text: str) -> str:
    """Words of the fleet, such as the effects of a plan, as `box` would say them."""
    return re.sub(rf"(?<![\w/.-]){box}/(?=gpu\d|cpu)", "", text)


def record_on(box: BoxName, record: Record) -> Record:
    """A line of the journal of `box`, for the fleet's: a notice says whose it is."""
    entry = record.entry
    if isinstance(entry, Residency):
        there = tuple((model, on_box(box, device)) for model, device in entry.residents)
        pins = {model: None if device is None else on_box(box, device) for model, device in entry.pins.items()}
        return replace(record, entry=replace(entry, residents=there, pins=pins))
    if not isinstance(entry, Notice):
        return on(box, record)
    entry = on(box, entry)
    text = entry.text if f"{box}/" in entry.text else f"{box}: {entry.text}"
    condition = entry.condition and f"{box}: {entry.condition}"
    return replace(record, entry=replace(entry, text=text, condition=condition))


_Rename = Callable[[str], str]


def _renamed(value: Any, device: _Rename, words: _Rename) -> Any:  # noqa: ANN401 - of any kind, and what comes back is of the same
    match value:
        case Struct():
            changes = {}
            for name, is_device, is_text in _fields(type(value)):
                before = getattr(value, name)
                if is_device or is_text:
                    changes[name] = _each(before, device if is_device else words)
                else:
                    changes[name] = _renamed(before, device, words)
            return replace(value, **changes) if changes else value
        case tuple():
            return tuple(_renamed(item, device, words) for item in value) if value else value
        case _:
            return value


def _each(value: Any, rename: _Rename) -> Any:  # noqa: ANN401
    match value:
        case str():
            return rename(value)
        case tuple():
            return tuple(_each(item, rename) for item in value)
        case _:
            return value


@cache
def _fields(kind: type[Struct]) -> tuple[tuple[str, bool, bool], ...]:
    """Of each field that may have something to rename: whether it is a device, whether it is words."""
    found = []
    for field in fields(kind):
        name = field.name
        is_device = name in _DEVICES and (kind.__name__, name) not in _NOT_DEVICES
        is_text = name in _WORDS and (kind.__name__, name) not in _NOT_WORDS
        if is_device or is_text or _may_hold_more(field.type):
            found.append((name, is_device, is_text))
    return tuple(found)


def _may_hold_more(kind: Any) -> bool:  # noqa: ANN401
    """Whether a value of that type may be, or hold, a struct."""
    found = inspect.type_info(kind)
    if isinstance(found, inspect.UnionType):
        return any(isinstance(one, inspect.StructType | inspect.VarTupleType) for one in found.types)
    return isinstance(found, inspect.StructType | inspect.VarTupleType)
