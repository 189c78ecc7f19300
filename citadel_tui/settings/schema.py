"""What `console.yaml` may say: checked as the engine's own files are, and then for keys that can't stand for an action.

The struct is the rule: each field's type and description is what its value is checked against.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct, field

from citadel_tui.actions import ACTIONS, KEY_PATTERN, KEYS_ALLOWED, TAKEN, key_id, key_text
from citadel_tui.settings.settings import Colours, ConsoleSettings, Graphs
from citadel_tui.viewmodel.table_order import Sorting, SortKey
from engine.core.serialization import converted
from engine.settings.check import differences
from engine.settings.documents import without_nulls
from engine.settings.problems import Place, Problem

FIXED: Final = ("device", "details", "other", "back")
"""Actions whose keys are the same for everybody."""
_KEYS: Final = {action.id: action.key for action in ACTIONS if action.id not in FIXED}

KeyText: TypeAlias = Annotated[
    str, Meta(pattern=rf"^{KEY_PATTERN}\Z", description=f"{KEYS_ALLOWED}; a sign stands in quotes")
]
_OwnKeys: Final = msgspec.defstruct("_OwnKeys", [(action, KeyText | None, None) for action in _KEYS])
"""A field for each action whose key may be chosen."""


class ConsoleDocument(Struct, frozen=True):
    """`console.yaml`, as people write it."""

    sort: SortKey = "catalog"
    reverse: bool = False
    wanted: Annotated[str, Meta(description="words in quotes")] = field(default="", name="filter")
    colours: Colours = "auto"
    graphs: Graphs = "auto"
    keys: Annotated[dict[str, Any], Meta(description="lines such as `evict: x`")] = {}


def settings_of(document: object, file: str, problems: list[Problem]) -> ConsoleSettings | None:
    """The settings that `document` of `file` stands for; None when there are `problems`, which are added to."""
    if not problems:
        problems.extend(_mistakes(document, Place(file)))
    if problems:
        return None
    told = converted(without_nulls(document), ConsoleDocument)
    keys = {action: key_id(key) or "" for action, key in told.keys.items()}
    return ConsoleSettings(Sorting(told.sort, told.reverse), told.wanted, told.colours, told.graphs, keys)


def _mistakes(document: object, at: Place) -> Iterator[Problem]:
    yield from differences(document, ConsoleDocument, at)
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if isinstance(keys, Mapping):
        yield from list(_unfit_keys(keys, at.child("keys"))) or _clashes(keys, at.child("keys"))


def _unfit_keys(keys: Mapping[object, object], at: Place) -> Iterator[Problem]:
    """Actions that have no key of one's own, and keys that no action can have."""
    fixed = [at.child(action) for action in keys if action in FIXED]
    yield from (Problem(place, "its key is fixed") for place in fixed)
    yield from (problem for problem in differences(keys, _OwnKeys, at) if problem.at not in fixed)
    for action, key in keys.items():
        if isinstance(key, str) and key_id(key) in TAKEN:
            yield Problem(at.child(action), f"{key} is taken: it moves about, or means the same for everybody")


def _clashes(keys: Mapping[object, object], at: Place) -> Iterator[Problem]:
    """Keys that two actions would have, once all of `keys` are in force."""
    chosen = {action: key_id(key) for action, key in keys.items() if isinstance(key, str)}
    owners: defaultdict[str | None, list[object]] = defaultdict(list)
    for action, key in (_KEYS | chosen).items():
        owners[key].append(action)
    for key, actions in owners.items():
        if key is not None and len(actions) > 1:
            hint = "give one of them another key"
            yield Problem(at, f"{key_text(key)} would stand for {' and '.join(map(str, actions))}", hint=hint)
