"""A refusal: what was needed, what was free, who is in the way and why, and what the operator can do."""

from __future__ import annotations

from typing import Final

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.spans import Line, Span, left, right
from engine.core.plans import Blocker, Refusal, Room
from engine.core.sizes import format_size

_INDENT: Final = 7
_WHY: Final = {
    "pinned": "pinned",
    "leased": "running a request",
    "loading": "being loaded",
    "leaving": "leaving already",
    "too young": "came only just now",
}


def refusal_lines(refusal: Refusal, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """The reason first, the advice last; the figures between them."""
    needed = f"needed {format_size(refusal.needed_bytes)}" if refusal.needed_bytes else ""
    return (
        *sentences((refusal.reason,), width, glyphs, "bad"),
        *section(
            f"Room ({needed})" if needed else "Room",
            (line for r in refusal.rooms for line in _room_lines(r, refusal, width, glyphs)),
        ),
        *section("In the way", (_blocker_line(b, width, glyphs) for b in refusal.blockers)),
        *section("What you can do", sentences(refusal.advice, width, glyphs)),
    )


def _room_lines(room: Room, refusal: Refusal, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    short = refusal.needed_bytes - room.free_bytes
    missing = f", {format_size(short)} short" if short > 0 and not room.note else ""
    free = f"{right(format_size(room.free_bytes), 9)} free of {format_size(room.budget_bytes)}"
    figures = (Span(f" {left(room.device, 6)}", "strong"), Span(free), Span(missing, "bad"))
    return (figures, *(fact("", glyphs.text(room.note), width, _INDENT, "dim") if room.note else ()))


def _blocker_line(blocker: Blocker, width: int, glyphs: Glyphs) -> Line:
    name = left(glyphs.text(blocker.model), min(24, max(width - 40, 10)), glyphs.ellipsis)
    facts = f" {left(blocker.device, 6)}{right(format_size(blocker.size_bytes), 9)}  "
    return (Span(f" {name}", "strong"), Span(facts), Span(_WHY[blocker.why], "warn"))
