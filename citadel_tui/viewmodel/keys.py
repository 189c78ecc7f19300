"""The registry of actions as text: the footer's keys and the help page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from citadel_tui.actions import Action, Registry
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import fact, heading
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
    """All keys with what they do, then the marks of the memory bars."""
    keys = [line for action in actions for line in _help(action, width)]
    marks = [line for mark, meaning in _marks(glyphs) for line in fact(mark, meaning, width, _KEY_WIDTH)]
    return (heading("Keys"), *keys, (), heading("Memory bars, table and log"), *marks)


def _help(action: Action, width: int) -> tuple[Line, ...]:
    """The key in its own colour before the verb and what it does."""
    first, *more = fact(action.word, action.help, width - _KEY_WIDTH, _VERB_WIDTH)
    blank = Span(" " * _KEY_WIDTH)
    return ((Span(left(action.key_text, _KEY_WIDTH), "key"), *first), *((blank, *line) for line in more))


def _marks(glyphs: Glyphs) -> tuple[tuple[str, str], ...]:
    return (
        (glyphs.weights, "a resident's weights, behind its name"),
        (glyphs.workspace, "its workspace: what a request may need; as a figure: reserved and not in use now"),
        (glyphs.ghost, "a load under way"),
        (glyphs.leaving, "a model that is leaving; its bytes count until the device shows them free"),
        (glyphs.room, "room inside the budget"),
        (glyphs.budget, "where the budget ends"),
        (glyphs.context, "taken by the engine's worker itself, as its CUDA context is"),
        (glyphs.external, "in use by other programs"),
        (glyphs.leaked, "bytes that did not come back when a model left"),
        (glyphs.marked, "marked: the next verb is for all models with this mark"),
        (glyphs.synthetic, "synthetic: random weights made from the real configuration"),
        (glyphs.pinned, "pinned; a device's name means pinned to that device"),
        (glyphs.out, "in the log: before the models that had to leave"),
    )
