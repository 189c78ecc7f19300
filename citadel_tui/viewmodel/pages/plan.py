"""Plans, proposals and refusals as pages: the parts that `words/plans.py` gives, set in columns as far as there is room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.cells import cell_len

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.spans import Line, Role, Span, left, right, width_of
from citadel_tui.words.plans import (
    BlockerWords,
    GainWords,
    PlanWords,
    RoomWords,
    StepWords,
    plan_words,
    proposal_words,
    refusal_words,
)
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal

_WHAT: Final = 8
_WHERE: Final = 11
_SIZE: Final = 9
_DEVICE: Final = 6
_PLACES: Final = 14
_BELOW_A_GAIN: Final = 2
_BELOW_A_ROOM: Final = 7
_ROLES: Final[dict[str, Role]] = {"loads": "good", "pins": "strong"}
"""How a step's word is painted; all others take something away."""


def plan_lines(plan: Plan, width: int, glyphs: Glyphs, *, changed: bool) -> tuple[Line, ...]:
    """The steps, the time they should take, why, and the alternatives."""
    warning: tuple[Line, ...] = ()
    if changed:
        text = "The plan has changed since you agreed; nothing was done yet."
        warning = (*sentences((text,), width, glyphs, "warn"), ())
    words = plan_words(plan, str)
    return (
        *warning,
        *step_lines(words, width, glyphs),
        *_takes(words, width),
        *section("Why", sentences(words.reasons, width, glyphs)),
        *section("Instead", sentences(words.alternatives, width, glyphs)),
    )


def proposal_lines(proposal: Proposal, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Gains first, then what would be done in order, then what to know of the whole."""
    words = proposal_words(proposal, str)
    names = _longest((gain.model for gain in words.gains), glyphs)
    gains = tuple(line for gain in words.gains for line in _gain(gain, names, width, glyphs))
    steps = step_lines(words.plan, width, glyphs)
    return (
        *((*gains, *section("Steps, in order", steps)) if gains else steps),
        *_takes(words.plan, width),
        *section("Why", sentences(words.plan.reasons, width, glyphs)),
        *section("Instead", sentences(words.plan.alternatives, width, glyphs)),
    )


def refusal_lines(refusal: Refusal, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """The reason first, the advice last; the figures between them."""
    words = refusal_words(refusal, str)
    return (
        *sentences((words.reason,), width, glyphs, "bad"),
        *section(
            f"Room ({words.needed})" if words.needed else "Room",
            (line for room in words.rooms for line in _room(room, width, glyphs)),
        ),
        *section("In the way", (_blocker(blocker, width, glyphs) for blocker in words.blockers)),
        *section("What you can do", sentences(words.advice, width, glyphs)),
    )


def step_lines(words: PlanWords, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """A step's facts in columns, how it is done behind them or, where that is too narrow, below."""
    longest = _longest((step.model for step in words.steps), glyphs)
    names = min(longest, max(width - _WHAT - _WHERE - _SIZE, 10))
    return tuple(line for step in words.steps for line in _step(step, names, width, glyphs))


def _step(step: StepWords, names: int, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    facts: Line = (
        Span(left(f" {step.what}", _WHAT), _ROLES.get(step.what, "leaving")),
        Span(left(glyphs.text(step.model), names, glyphs.ellipsis), "strong"),
        Span(f" {left(step.where, _WHERE - 1)}{right(step.size, _SIZE)}"),
    )
    if width_of(facts) + len(step.how) + 2 <= width:
        return ((*facts, Span(f"  {step.how}")),)
    return (facts, (Span(" " * _WHAT), Span(step.how, "dim")))


def _takes(words: PlanWords, width: int) -> tuple[Line, ...]:
    """A blank line and how long the plan should take; nothing when nothing moves."""
    return ((), *fact(" takes", words.takes, width, _WHAT - 1)) if words.takes else ()


def _gain(gain: GainWords, names: int, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    places = f"{gain.source} {glyphs.arrow} {gain.target}"
    which: Line = (
        Span(f" {left(glyphs.text(gain.model), min(names, max(width - _PLACES - 3, 10)), glyphs.ellipsis)}", "strong"),
        Span(f"  {left(places, _PLACES)}"),
    )
    worth: Line = (
        Span(f" gains {right(gain.gains, 8)}", "warn" if gain.gains.startswith("-") else "good"),
        Span(f"  costs {right(gain.costs, 7)}"),
    )
    fits = width_of((*which, *worth)) <= width
    head = ((*which, *worth),) if fits else (which, (Span(" " * _BELOW_A_GAIN), *worth))
    return (*head, *(fact("", glyphs.text(gain.why), width, _BELOW_A_GAIN, "dim") if gain.why else ()))


def _room(room: RoomWords, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    short = f", {room.short}" if room.short else ""
    device = Span(f" {left(room.device, _DEVICE)}", "strong")
    figures = (device, Span(f"{right(room.free, _SIZE)} {room.of}"), Span(short, "bad"))
    return (figures, *(fact("", glyphs.text(room.note), width, _BELOW_A_ROOM, "dim") if room.note else ()))


def _blocker(blocker: BlockerWords, width: int, glyphs: Glyphs) -> Line:
    name = left(glyphs.text(blocker.model), min(24, max(width - 40, 10)), glyphs.ellipsis)
    facts = f" {left(blocker.device, _DEVICE)}{right(blocker.size, _SIZE)}  "
    return (Span(f" {name}", "strong"), Span(facts), Span(blocker.why, "warn"))


def _longest(models: Iterable[str], glyphs: Glyphs) -> int:
    return max((cell_len(glyphs.text(model)) for model in models), default=0)
