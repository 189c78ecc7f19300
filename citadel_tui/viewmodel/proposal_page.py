"""A proposal of the engine: each model that would change its place, what that gains and costs, and the steps in order."""

from __future__ import annotations

from typing import Final

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.plan import predicted_lines, step_lines
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.spans import Line, Span, left, right, width_of
from citadel_tui.words.figures import seconds_text
from engine.core.proposals import Gain, Proposal

_INDENT: Final = 3
_PLACES: Final = 14


def proposal_lines(proposal: Proposal, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Gains first, then what would be done in order, then what to know of the whole."""
    names = max((len(gain.model) for gain in proposal.gains), default=0)
    steps = step_lines(proposal.plan, width, glyphs)
    if not proposal.gains:
        told = steps
    else:
        gains = (line for gain in proposal.gains for line in _gain(gain, names, width, glyphs))
        told = (*gains, *section("Steps, in order", steps))
    return (
        *told,
        *predicted_lines(proposal.plan, width),
        *section("Why", sentences(dict.fromkeys(proposal.reasons), width, glyphs)),
    )


def _gain(gain: Gain, names: int, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    places = f"{gain.source or 'no device'} {glyphs.arrow} {gain.target or 'no device'}"
    which: Line = (
        Span(f" {left(glyphs.text(gain.model), min(names, max(width - _PLACES - 3, 10)), glyphs.ellipsis)}", "strong"),
        Span(f"  {left(places, _PLACES)}"),
    )
    worth: Line = (
        Span(f" gains {right(_signed(gain.gain_s), 8)}", "good" if gain.gain_s >= 0 else "warn"),
        Span(f"  costs {right(seconds_text(gain.cost_s), 7)}"),
    )
    fits = width_of((*which, *worth)) <= width
    head = ((*which, *worth),) if fits else (which, (Span(" " * (_INDENT - 1)), *worth))
    return (*head, *(fact("", glyphs.text(gain.why), width, _INDENT - 1, "dim") if gain.why else ()))


def _signed(seconds: float) -> str:
    return seconds_text(seconds) if seconds > -0.005 else f"-{seconds_text(-seconds)}"
