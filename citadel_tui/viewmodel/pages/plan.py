"""The preview: what a plan would do, in one glance, and what was weighed instead."""

from __future__ import annotations

from typing import Final, assert_never

from rich.cells import cell_len

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.spans import Line, Span, left, right, width_of
from citadel_tui.words.figures import count_text, range_text, seconds_text
from citadel_tui.words.labels import FROM
from engine.core.plans import Alternative, Blocker, EvictStep, LoadStep, PinStep, Plan, Refusal, Room, Step, UnpinStep
from engine.core.proposals import Gain, Proposal
from engine.core.sizes import format_size

_WHAT: Final = 8
_WHERE: Final = 11
_SIZE: Final = 9


def plan_lines(plan: Plan, width: int, glyphs: Glyphs, *, changed: bool) -> tuple[Line, ...]:
    """The steps, the time they should take, why, and the alternatives."""
    warning: tuple[Line, ...] = ()
    if changed:
        words = "The plan has changed since you agreed; nothing was done yet."
        warning = (*sentences((words,), width, glyphs, "warn"), ())
    return (
        *warning,
        *step_lines(plan, width, glyphs),
        *predicted_lines(plan, width),
        *section("Why", sentences(dict.fromkeys(plan.reasons), width, glyphs)),
        *section("Instead", alternative_lines(plan, width, glyphs)),
    )


def step_lines(plan: Plan, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """A step's facts in columns, how it is done behind them or, where that is too narrow, below."""
    longest = max((cell_len(glyphs.text(step.model)) for step in plan.steps), default=0)
    names = min(longest, max(width - _WHAT - _WHERE - _SIZE, 10))
    return tuple(line for step in plan.steps for line in _step_lines(step, names, width, glyphs))


def alternative_lines(plan: Plan, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """What else was weighed and why it lost."""
    return sentences((_alternative_text(a) for a in plan.alternatives), width, glyphs)


def _step_lines(step: Step, names: int, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    match step:
        case EvictStep():
            what = Span(left(" LEAVES" if step.victim else " leaves", _WHAT), "leaving")
            running = count_text(step.leases, "running request", "running requests")
            wait = f"after {running}" if step.leases else ""
            back = "back to the RAM tier" if step.written_back else ""
            how = ", ".join(filter(None, (wait, back)))
            return _columns(what, step.model, f"from {step.device}", step.size_bytes, how, names, width, glyphs)
        case LoadStep():
            what = Span(left(" loads", _WHAT), "good")
            how = FROM[step.tier]
            return _columns(what, step.model, f"on {step.device}", step.size_bytes, how, names, width, glyphs)
        case PinStep():
            where = f"on {step.device}" if step.device else ""
            return _columns(Span(left(" pins", _WHAT), "strong"), step.model, where, None, "", names, width, glyphs)
        case UnpinStep():
            return _columns(Span(left(" UNPINS", _WHAT), "leaving"), step.model, "", None, "", names, width, glyphs)
        case _:
            assert_never(step)


def _columns(
    what: Span, model: str, where: str, size_bytes: int | None, how: str, names: int, width: int, glyphs: Glyphs
) -> tuple[Line, ...]:
    size = "" if size_bytes is None else format_size(size_bytes)
    name = Span(left(glyphs.text(model), names, glyphs.ellipsis), "strong")
    facts: Line = (what, name, Span(f" {left(where, _WHERE - 1)}{right(size, _SIZE)}"))
    if width_of(facts) + len(how) + 2 <= width:
        return ((*facts, Span(f"  {how}")),)
    return (facts, (Span(" " * _WHAT), Span(how, "dim")))


def predicted_lines(plan: Plan, width: int) -> tuple[Line, ...]:
    """A blank line and how long the plan should take; nothing when nothing moves."""
    if not any(isinstance(s, EvictStep | LoadStep) for s in plan.steps):
        return ()
    waits = any(isinstance(s, EvictStep) and s.leases for s in plan.steps)
    after = ", once the running requests have ended" if waits else ""
    return ((), *fact(" takes", range_text(plan.predicted.p50_s, plan.predicted.p90_s) + after, width, _WHAT - 1))


def _alternative_text(alternative: Alternative) -> str:
    victims = f", {', '.join(alternative.victims)} leaving" if alternative.victims else ""
    expected = range_text(alternative.predicted.p50_s, alternative.predicted.p90_s)
    return f"{alternative.device}{victims}: {expected}; {alternative.why_not}"


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


_REFUSAL_INDENT: Final = 7
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
    return (figures, *(fact("", glyphs.text(room.note), width, _REFUSAL_INDENT, "dim") if room.note else ()))


def _blocker_line(blocker: Blocker, width: int, glyphs: Glyphs) -> Line:
    name = left(glyphs.text(blocker.model), min(24, max(width - 40, 10)), glyphs.ellipsis)
    facts = f" {left(blocker.device, 6)}{right(format_size(blocker.size_bytes), 9)}  "
    return (Span(f" {name}", "strong"), Span(facts), Span(_WHY[blocker.why], "warn"))
