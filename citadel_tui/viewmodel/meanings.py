"""What is seen on the screen and what it means: marks, colours, and the words for what a model does."""

from __future__ import annotations

from typing import Final

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import fact, section
from citadel_tui.viewmodel.spans import Line, Role, Span, left

_MARK: Final = 7
_STATE: Final = 10
_COLOURS: Final[tuple[tuple[Role, str, str], ...]] = (
    ("good", "good", "as it should be: ready, done, within the target"),
    ("warn", "warning", "under way, waiting, or worth a look; what is dear or not real"),
    ("bad", "bad", "failed, lost, or out of bounds"),
    ("leaving", "leaving", "a model that has to leave, or is leaving"),
    ("key", "key", "a key, and what is chosen"),
    ("dim", "dim", "less important; on the whole screen: it may no longer be so"),
)
_STATES: Final = (
    ("ready", "answers requests on its device"),
    ("pending", "planned; it waits until its room is proven"),
    ("read, copy", "under way, with the share of its bytes that have come; likewise bind and warm"),
    ("draining", "to leave once its running uses have ended; a request still keeps it"),
    ("leaving", "gone for good; its bytes count until the device shows them free"),
    ("waiting", "wanted, and waits for what the line below the table says"),
    ("queued", "wanted, and about to be planned"),
    ("reading", "on no device; its weights are being read into the RAM tier"),
    ("resting", "on no device; WHERE says whether its weights are in the RAM tier or on disk"),
    ("trouble", "can't be loaded; the line below the table says why"),
)


def meaning_lines(width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """All of them. No meaning rests on a colour alone."""
    marks = (line for mark, meaning in _marks(glyphs) for line in fact(mark, meaning, width, _MARK))
    states = (line for state, meaning in _STATES for line in fact(state, meaning, width, _STATE))
    colours = (line for role, name, meaning in _COLOURS for line in _colour(role, name, meaning, width))
    return (
        *section("Memory bars, table and log", marks),
        *section("Words in STATE", states),
        *section("Colours, never alone", colours),
    )


def _colour(role: Role, name: str, meaning: str, width: int) -> tuple[Line, ...]:
    """The name in its own colour, and what that stands for."""
    (_, first), *more = fact(name, meaning, width, _STATE)
    return ((Span(left(name, _STATE + 1), role), first), *more)


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
