"""Advice as a page: what would help, the best first, with what it saves, costs and how one gets it; and what would not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.spans import Line, Role, Span, right, wrapped
from citadel_tui.words.advice import (
    INTERVAL_TEXT,
    NOTHING_HELPS,
    OF_NO_USE,
    advised_text,
    few_requests_text,
    suggestion_facts,
    trying_text,
)
from engine.simulation.advice import Advice, Suggestion, Trying

_RANK: Final = 4
_LABEL: Final = _RANK + 9
"""Under the title, not under its rank."""


def trying_lines(now: Trying | None, paper: Paper) -> tuple[Line, ...]:
    """How far the replays are, and that one need not wait for their end."""
    what = "reading the recorded demand" if now is None else paper.text(trying_text(now))
    how = "Requests that were recorded are replayed on boxes that you don't have. Closing this page ends that."
    return (*_wrapped(what, paper, "strong"), (), *_wrapped(how, paper, "dim"))


def failed_lines(why: str, paper: Paper) -> tuple[Line, ...]:
    """Why there is no advice."""
    return _wrapped(paper.text(why), paper, "warn")


def advice_lines(advice: Advice, paper: Paper) -> tuple[Line, ...]:
    few = few_requests_text(advice.served)
    helping = tuple(
        line for rank, s in enumerate(advice.suggestions, 1) for line in _suggestion_lines(rank, s, advice, paper)
    )
    know = (*((INTERVAL_TEXT,) if advice.suggestions else ()), *advice.remarks)
    return (
        *sentences(advised_text(advice), paper),
        *sentences((few,) if few else (), paper, "warn"),
        *section("Would help, the most saved first", helping or sentences((NOTHING_HELPS,), paper)),
        *section(
            f"{OF_NO_USE[:1].upper()}{OF_NO_USE[1:]}", sentences((s.title for s in advice.of_no_use), paper, "dim")
        ),
        *section("To know", sentences(know, paper)),
    )


def _suggestion_lines(rank: int, suggestion: Suggestion, advice: Advice, paper: Paper) -> Iterator[Line]:
    pieces = wrapped(paper.text(suggestion.title), max(paper.width - _RANK, 1))
    for number, piece in enumerate(pieces):
        yield (Span(right(f"{rank}. " if number == 0 else "", _RANK), "dim"), Span(piece, "strong"))
    for label, value in suggestion_facts(suggestion, advice):
        yield from fact(f"{' ' * _RANK}{label}", paper.text(value), paper.width, _LABEL)


def _wrapped(text: str, paper: Paper, role: Role) -> tuple[Line, ...]:
    return tuple((Span(piece, role),) for piece in wrapped(text, max(paper.width, 1)))
