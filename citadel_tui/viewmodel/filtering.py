"""The filter words of the model table: parts of names, and `state:ready`, `on:gpu0`, `pin:`, `task:embedding`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from citadel_tui.viewmodel.dashboard.rows import ModelRow

_FACETS: Final[dict[str, Callable[[ModelRow], tuple[str, ...]]]] = {
    "state": lambda row: (row.state,),
    "on": lambda row: row.places,
    "pin": lambda row: (row.pin,),
    "task": lambda row: (row.task,),
    "dtype": lambda row: (row.dtype,),
}
FACETS: Final = ", ".join(f"{name}:" for name in _FACETS)


class Filter(Struct, frozen=True):
    """What the shown models have in common: all of the words."""

    names: tuple[str, ...] = ()
    facets: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    """Words with a colon that are none of ours; they are left out, and said."""


def parse_filter(text: str) -> Filter:
    """The words of `text`, in any case and order."""
    words = [word.partition(":") for word in text.casefold().split()]
    return Filter(
        names=tuple(head for head, colon, _ in words if not colon),
        facets=tuple((head, value) for head, colon, value in words if colon and head in _FACETS),
        unknown=tuple(f"{head}:" for head, colon, _ in words if colon and head not in _FACETS),
    )


def admits(wanted: Filter, row: ModelRow) -> bool:
    """Whether `row` has all that is wanted."""
    name = row.name.casefold()
    return all(part in name for part in wanted.names) and all(
        any(_begins(text.casefold(), value) for text in _FACETS[facet](row)) for facet, value in wanted.facets
    )


def _begins(text: str, value: str) -> bool:
    """Whether `text`, unless it is empty, begins as `value`; `gpu1` must not find gpu10."""
    return bool(text) and (text == value or (text.startswith(value) and not value[-1:].isdigit()))
