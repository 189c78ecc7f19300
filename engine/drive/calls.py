"""Requests of a trace made into requests to the engine: when each is due, for which model, and how much it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.drive.casting import Cast
from engine.replay.trace import Request

MOST_TOKENS: Final = 16
"""However long the trace's answers are: a demonstration measures who is in memory, not how fast a model writes."""
_WORDS: Final = (
    "river",
    "engine",
    "window",
    "copper",
    "garden",
    "signal",
    "harbour",
    "ledger",
    "meadow",
    "circuit",
    "stone",
)


class Call(Struct, frozen=True):
    """One request to the engine."""

    due_s: float
    """Seconds after the start."""
    model: ModelName
    texts: tuple[str, ...] = ()
    """To embed; empty when the model writes."""
    tokens: int = 0
    """To write, after the prompt."""
    prompt: str = ""


def calls(
    requests: Sequence[Request], cast: Cast, specs: Mapping[ModelName, ModelSpec], speed: float, limit: int | None
) -> tuple[Call, ...]:
    """The first `limit` requests that somebody plays, `speed` times as fast; the first is due at once."""
    played = list(islice((r for r in requests if r.model in cast.parts), limit))
    if not played:
        return ()
    began_s = played[0].at_s
    return tuple(
        _call(number, (request.at_s - began_s) / speed, specs[cast.parts[request.model]], request.work)
        for number, request in enumerate(played)
    )


def _call(number: int, due_s: float, spec: ModelSpec, work: float) -> Call:
    """The trace's work as texts or tokens, at least one and at most what the model takes at a time."""
    amount = max(1, round(work))
    if spec.task == "embedding":
        texts = tuple(_text(number + row) for row in range(min(amount, spec.limits.max_batch)))
        return Call(due_s, spec.name, texts)
    return Call(due_s, spec.name, tokens=min(amount, MOST_TOKENS, spec.limits.max_sequence // 2), prompt=_text(number))


def _text(number: int) -> str:
    """Some words: always the same for the same number, mostly others for another."""
    return " ".join(_WORDS[(number * step + step) % len(_WORDS)] for step in range(1, 9))
