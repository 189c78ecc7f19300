"""The registry of actions as text: the footer's keys and the help page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from citadel_tui.actions import Action, Registry
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.meanings import meaning_lines
from citadel_tui.viewmodel.prose import fact, heading, section
from citadel_tui.viewmodel.spans import Line, Span, filled, left, width_of

_KEY_WIDTH: Final = 7
_VERB_WIDTH: Final = 10


class FooterKey(NamedTuple):
    """One key of the footer."""

    action: Action
    line: Line


def footer_keys(offered: Sequence[tuple[Action, str]], width: int) -> list[FooterKey]:
    """The keys that fit; those that can't be pressed now, for a reason, in brackets. The last two always stay."""
    keys = [FooterKey(action, _key_part(action, why_not)) for action, why_not in offered if action.footer]
    while len(keys) > 2 and sum(width_of(key.line) for key in keys) > width:
        keys.pop(-3)
    return keys


def footer_line(keys: Sequence[FooterKey], width: int, glyphs: Glyphs) -> Line:
    """The keys one behind the other."""
    return filled(tuple(span for key in keys for span in key.line), width, glyphs.ellipsis)


def action_at(keys: Sequence[FooterKey], x: int) -> Action | None:
    """The action whose key is shown over the cell `x`."""
    for key in keys:
        x -= width_of(key.line)
        if x < 0:
            return key.action
    return None


def _key_part(action: Action, why_not: str) -> Line:
    if why_not:
        return (Span(f" ({action.key_text} {action.word})", "dim"),)
    return (Span(f" {action.key_text}", "key"), Span(f" {action.word} "))


def help_lines(actions: Registry, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """All keys with what they do, then what is seen and what it means."""
    return (
        heading("Keys"),
        *key_lines(actions, width),
        *meaning_lines(width, glyphs),
        *section("More", fact("shell", "citadel help lists what else is explained", width, _KEY_WIDTH)),
    )


def key_lines(actions: Registry, width: int) -> tuple[Line, ...]:
    """Every key, its verb, and what that does."""
    return tuple(line for action in actions for line in _help(action, width))


def _help(action: Action, width: int) -> tuple[Line, ...]:
    """The key in its own colour before the verb and what it does."""
    first, *more = fact(action.word, action.help, width - _KEY_WIDTH, _VERB_WIDTH)
    blank = Span(" " * _KEY_WIDTH)
    return ((Span(left(action.key_text, _KEY_WIDTH), "key"), *first), *((blank, *line) for line in more))
