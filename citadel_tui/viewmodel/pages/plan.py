"""The preview: what a plan would do, in one glance, and what was weighed instead."""

from __future__ import annotations

from typing import Final, assert_never

from rich.cells import cell_len

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.spans import Line, Span, left, right, width_of
from citadel_tui.words.figures import count_text, range_text
from citadel_tui.words.origins import FROM
from engine.core.plans import Alternative, EvictStep, LoadStep, PinStep, Plan, Step, UnpinStep
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
            back = "back to the RAM tier" if step.copied_back else ""
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
