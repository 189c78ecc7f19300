"""Plans, proposals and refusals as pages: the parts that `words/plans.py` gives, set in columns as far as there is room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.cells import cell_len

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.place_names import place_text
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.spans import Line, Role, Span, left, named, right, width_of
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
from engine.core.names import box_of
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal

_WHAT: Final = 8
_WHERE: Final = 11
_WHERE_MOST: Final = 26
_SIZE: Final = 9
_DEVICE: Final = 6
_DEVICE_OF_BOX: Final = 14
_PLACES: Final = 14
_PLACES_OF_BOXES: Final = 27
_BELOW_A_GAIN: Final = 2
_BELOW_A_ROOM: Final = 7
_ROLES: Final[dict[str, Role]] = {"loads": "good", "pins": "strong"}
"""How a step's word is painted; all others take something away."""


def plan_lines(plan: Plan, paper: Paper, *, changed: bool) -> tuple[Line, ...]:
    """The steps, the time they should take, why, and the alternatives."""
    warning: tuple[Line, ...] = ()
    if changed:
        text = "The plan has changed since you agreed; nothing was done yet."
        warning = (*sentences((text,), paper, "warn"), ())
    words = plan_words(plan, str)
    return (
        *warning,
        *step_lines(words, paper),
        *_takes(words, paper.width),
        *section("Why", sentences(words.reasons, paper)),
        *section("Instead", sentences(words.alternatives, paper)),
    )


def proposal_lines(proposal: Proposal, paper: Paper) -> tuple[Line, ...]:
    """Gains first, then what would be done in order, then what to know of the whole."""
    words = proposal_words(proposal, str)
    names = _longest((gain.model for gain in words.gains), paper.glyphs)
    gains = tuple(line for gain in words.gains for line in _gain(gain, names, paper))
    steps = step_lines(words.plan, paper)
    return (
        *((*gains, *section("Steps, in order", steps)) if gains else steps),
        *_takes(words.plan, paper.width),
        *section("Why", sentences(words.plan.reasons, paper)),
        *section("Instead", sentences(words.plan.alternatives, paper)),
    )


def refusal_lines(refusal: Refusal, paper: Paper) -> tuple[Line, ...]:
    """The reason first, the advice last; the figures between them."""
    words = refusal_words(refusal, str)
    return (
        *sentences((words.reason,), paper, "bad"),
        *section(
            f"Room ({words.needed})" if words.needed else "Room",
            (line for room in words.rooms for line in _room(room, paper)),
        ),
        *section("In the way", (_blocker(blocker, paper) for blocker in words.blockers)),
        *section("What you can do", sentences(words.advice, paper)),
    )


def step_lines(words: PlanWords, paper: Paper) -> tuple[Line, ...]:
    """A step's facts in columns, how it is done behind them or, where that is too narrow, below."""
    longest = _longest((step.model for step in words.steps), paper.glyphs)
    where = max((min(len(step.where) + 1, _WHERE_MOST) for step in words.steps if "/" in step.where), default=_WHERE)
    names = min(longest, max(paper.width - _WHAT - where - _SIZE, 10))
    return tuple(line for step in words.steps for line in _step(step, names, where, paper))


def _step(step: StepWords, names: int, where: int, paper: Paper) -> tuple[Line, ...]:
    facts: Line = (
        Span(left(f" {step.what}", _WHAT), _ROLES.get(step.what, "leaving")),
        Span(named(paper.text(step.model), names, paper.glyphs.ellipsis), "strong"),
        Span(f" {left(_where(step.where, where - 1), where - 1)}{right(step.size, _SIZE)}"),
    )
    if width_of(facts) + len(step.how) + 2 <= paper.width:
        return ((*facts, Span(f"  {step.how}")),)
    return (facts, (Span(" " * _WHAT), Span(step.how, "dim")))


def _where(text: str, width: int) -> str:
    """ "on box2/gpu0", in at most `width` cells."""
    before, _, place = text.rpartition(" ")
    return f"{before} {place_text(place, width - len(before) - 1)}" if "/" in place else text


def _takes(words: PlanWords, width: int) -> tuple[Line, ...]:
    """A blank line and how long the plan should take, and what the key `n` does to that; nothing when nothing moves."""
    sooner = fact(" or n", words.sooner, width, _WHAT - 1) if words.sooner else ()
    return ((), *fact(" takes", words.takes, width, _WHAT - 1), *sooner) if words.takes else ()


def _gain(gain: GainWords, names: int, paper: Paper) -> tuple[Line, ...]:
    places = f"{gain.source} {paper.glyphs.arrow} {gain.target}"
    if "/" in places:
        each = (_PLACES_OF_BOXES - len(paper.glyphs.arrow) - 2) // 2
        places = f"{place_text(gain.source, each)} {paper.glyphs.arrow} {place_text(gain.target, each)}"
    which: Line = (
        Span(
            f" {named(paper.text(gain.model), min(names, max(paper.width - _PLACES - 3, 10)), paper.glyphs.ellipsis)}",
            "strong",
        ),
        Span(f"  {left(places, max(_PLACES, len(places)))}"),
    )
    worth: Line = (
        Span(f" gains {right(gain.gains, 8)}", "warn" if gain.gains.startswith("-") else "good"),
        Span(f"  costs {right(gain.costs, 7)}"),
    )
    fits = width_of((*which, *worth)) <= paper.width
    head = ((*which, *worth),) if fits else (which, (Span(" " * _BELOW_A_GAIN), *worth))
    return (*head, *(fact("", paper.text(gain.why), paper.width, _BELOW_A_GAIN, "dim") if gain.why else ()))


def _room(room: RoomWords, paper: Paper) -> tuple[Line, ...]:
    short = f", {room.short}" if room.short else ""
    device = Span(f" {_device(room.device)}", "strong")
    figures = (device, Span(f"{right(room.free, _SIZE)} {room.of}"), Span(short, "bad"))
    return (figures, *(fact("", paper.text(room.note), paper.width, _BELOW_A_ROOM, "dim") if room.note else ()))


def _device(device: str) -> str:
    size = _DEVICE_OF_BOX if box_of(device) else _DEVICE
    return left(place_text(device, size - 1), size)


def _blocker(blocker: BlockerWords, paper: Paper) -> Line:
    name = named(paper.text(blocker.model), min(24, max(paper.width - 40, 10)), paper.glyphs.ellipsis)
    facts = f" {_device(blocker.device)}{right(blocker.size, _SIZE)}  "
    return (Span(f" {name}", "strong"), Span(facts), Span(blocker.why, "warn"))


def _longest(models: Iterable[str], glyphs: Glyphs) -> int:
    return max((cell_len(glyphs.text(model)) for model in models), default=0)
