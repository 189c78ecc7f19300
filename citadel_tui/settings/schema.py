"""A settings document, made into settings, or into every mistake at once with what would be right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from citadel_tui.actions import ACTIONS, KEYS_ALLOWED, TAKEN, key_id, key_text
from citadel_tui.settings.settings import COLOURS, GRAPHS, ConsoleSettings
from citadel_tui.viewmodel.table_order import SORT_KEYS, Sorting
from engine.settings.documents import Table, without_nulls
from engine.settings.problems import Place, Problem, given, plain

FIXED: Final = ("device", "details", "other", "back")
"""Actions whose keys are the same for everybody."""
_KEYS: Final = {action.id: action.key for action in ACTIONS if action.id not in FIXED}
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"sort": SORT_KEYS, "colours": COLOURS, "graphs": GRAPHS}
_NAMES: Final = (*_CHOICES, "reverse", "filter", "keys")


def settings_of(document: object, file: str, problems: list[Problem]) -> ConsoleSettings | None:
    """The settings that `document` of `file` stands for; None when there are `problems`, which are added to."""
    if not isinstance(document, dict):
        if not problems:
            problems.append(Problem(Place(file), given(document), "lines such as `sort: size`"))
        return None
    found = without_nulls(document)
    assert isinstance(found, dict)
    problems.extend(_repeated(document, Place(file)))
    problems.extend(_out_of_range(found, Place(file)))
    problems.extend(_bad_keys(found.get("keys", {}), Place(file, "keys")))
    if problems:
        return None
    keys = {action: key_id(key) or "" for action, key in found.get("keys", {}).items()}
    sorting = Sorting(found.get("sort", "catalog"), found.get("reverse", False))
    return ConsoleSettings(
        sorting, found.get("filter", ""), found.get("colours", "auto"), found.get("graphs", "auto"), keys
    )


def _repeated(document: object, at: Place) -> Iterator[Problem]:
    if isinstance(document, Table):
        for name in document.repeated:
            yield Problem(at.child(name), "it is given more than once")
        yield from _repeated(document.get("keys"), at.child("keys"))


def _out_of_range(found: Mapping[object, object], at: Place) -> Iterator[Problem]:
    for name, value in found.items():
        if name not in _NAMES:
            yield Problem(at.child(name), "there is no such setting", ", ".join(_NAMES))
        elif name in _CHOICES and value not in _CHOICES[str(name)]:
            yield Problem(at.child(name), given(value), ", ".join(_CHOICES[str(name)]))
        elif name == "reverse" and not isinstance(value, bool):
            yield Problem(at.child(name), given(value), "true, false")
        elif name == "filter" and not isinstance(value, str):
            yield Problem(at.child(name), given(value), "words in quotes")


def _bad_keys(keys: object, at: Place) -> list[Problem]:
    if not isinstance(keys, dict):
        return [Problem(at, given(keys), "lines such as `evict: x`")]
    problems = [problem for action, key in keys.items() if (problem := _bad_key(action, key, at.child(action)))]
    return problems or list(_clashes({action: key_id(key) or "" for action, key in keys.items()}, at))


def _bad_key(action: object, key: object, at: Place) -> Problem | None:
    if action in FIXED:
        return Problem(at, "its key is fixed")
    if action not in _KEYS:
        near = get_close_matches(plain(action), _KEYS, 1)
        return Problem(at, "there is no such action", ", ".join(_KEYS), f"{near[0]} is one" if near else "")
    if not isinstance(key, str) or key_id(key) is None:
        return Problem(at, given(key), KEYS_ALLOWED, "a sign stands in quotes")
    if key_id(key) in TAKEN:
        return Problem(at, f"{key} is taken: it moves about, or means the same for everybody")
    return None


def _clashes(keys: Mapping[str, str], at: Place) -> Iterator[Problem]:
    """Keys that two actions would have, once all of `keys` are in force."""
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for action, key in (_KEYS | dict(keys)).items():
        owners[key].append(action)
    for key, actions in owners.items():
        if len(actions) > 1:
            hint = "give one of them another key"
            yield Problem(at, f"{key_text(key)} would stand for {' and '.join(actions)}", hint=hint)
