"""The orders that the model table can be in: one for each column, each of them the other way around too."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from citadel_tui.viewmodel.dashboard.rows import ModelRow
from engine.core.names import box_of, is_cpu, within_box

SortKey: TypeAlias = Literal[
    "catalog",
    "name",
    "where",
    "state",
    "size",
    "pin",
    "task",
    "dtype",
    "source",
    "note",
    "switch",
    "leases",
    "waiting",
    "requests",
    "rate",
    "first",
    "p95",
    "idle",
]

_Value: TypeAlias = tuple[float, str]
_TIERS: Final = ("ram", "disk")
_DIGITS: Final = 32
"""As long as a box's name may be."""


class Sorting(Struct, frozen=True):
    """How the table is ordered."""

    key: SortKey = "catalog"
    reverse: bool = False

    @property
    def text(self) -> str:
        """ "by size", "by size, reversed"; nothing for the catalog's own order."""
        if self == Sorting():
            return ""
        return f"by {self.key}" + (", reversed" if self.reverse else "")

    @property
    def reversed(self) -> Sorting:
        return Sorting(self.key, not self.reverse)


class _Order(NamedTuple):
    value: Callable[[ModelRow], _Value | None]
    """None where there is nothing to compare: such rows come last, whichever way around."""
    falling: bool = False
    """Whether the largest comes first."""


def sorted_rows(rows: Sequence[ModelRow], sorting: Sorting) -> list[ModelRow]:
    """`rows`, which come in catalog order, as `sorting` says; equal ones stay as they came."""
    if sorting.key == "catalog":
        return list(reversed(rows)) if sorting.reverse else list(rows)
    order = _ORDERS[sorting.key]
    values = [(value, row) for row in rows if (value := order.value(row)) is not None]
    known = sorted(values, key=lambda pair: pair[0], reverse=order.falling != sorting.reverse)
    return [row for _, row in known] + [row for row in rows if order.value(row) is None]


def _number(value: float | None) -> _Value | None:
    return None if value is None else (value, "")


def _text(value: str) -> _Value | None:
    return (0, value.casefold()) if value else None


def _place(row: ModelRow) -> _Value:
    """GPUs by their number, then the CPU, of one box after the other; then the tiers."""
    first = row.places[0]
    if first in _TIERS:
        return (_TIERS.index(first) + 1, "")
    box, device = _by_number(box_of(first)), within_box(first)
    return (0, f"{box} {'~' if is_cpu(device) else _by_number(device)}")


def _by_number(name: str) -> str:
    """For an order in which box2 comes before box10."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(_DIGITS), name)


_ORDERS: Final[dict[SortKey, _Order]] = {
    "name": _Order(lambda r: _text(r.name)),
    "where": _Order(_place),
    "state": _Order(lambda r: _text(r.state)),
    "size": _Order(lambda r: _number(r.size_mib), falling=True),
    "pin": _Order(lambda r: _text(r.pin)),
    "task": _Order(lambda r: _text(r.task)),
    "dtype": _Order(lambda r: _text(r.dtype)),
    "source": _Order(lambda r: _text(r.source)),
    "note": _Order(lambda r: _text(r.note)),
    "switch": _Order(lambda r: _number(r.last_switch_s), falling=True),
    "leases": _Order(lambda r: _number(r.leases), falling=True),
    "waiting": _Order(lambda r: _number(r.waiting), falling=True),
    "requests": _Order(lambda r: _number(r.per_minute), falling=True),
    "rate": _Order(lambda r: _number(r.per_s), falling=True),
    "first": _Order(lambda r: _number(r.first_part_s), falling=True),
    "p95": _Order(lambda r: _number(r.p95_s), falling=True),
    "idle": _Order(lambda r: _number(r.idle_s)),
}
