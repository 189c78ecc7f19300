"""Requests of a trace made into requests to the engine: which model of the catalog plays which of the trace's, when each is due,
and how much it asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.core.tasks import Task, sample_task
from engine.recording.trace import TraceError, TraceRequest

CAST_HEADING: Final = "trace,model"


class Cast(Struct, frozen=True):
    """Who plays whom."""

    parts: dict[ModelName, ModelName]
    """The catalog's model for each of the trace's, the most wanted first."""
    left_out: tuple[ModelName, ...] = ()
    """The trace's models that nobody plays."""


def in_turn(requests: Sequence[TraceRequest], catalog: Sequence[ModelName]) -> Cast:
    """The catalog's models in turn, over and over. Raises TraceError when there is none."""
    _require(catalog)
    return Cast({model: catalog[rank % len(catalog)] for rank, model in enumerate(_ranked(requests))})


def by_rank(requests: Sequence[TraceRequest], catalog: Sequence[ModelName]) -> Cast:
    """Each of the catalog's models once; less wanted ones of the trace are left out. Raises TraceError without a catalog."""
    _require(catalog)
    ranked = _ranked(requests)
    return Cast(dict(zip(ranked, catalog, strict=False)), tuple(ranked[len(catalog) :]))


def read_cast(lines: Iterable[str], requests: Sequence[TraceRequest], catalog: Sequence[ModelName]) -> Cast:
    """As lines of `trace,model` say; models without a line are left out. Raises TraceError for a bad line."""
    parts: dict[ModelName, ModelName] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == 1 and line.strip() == CAST_HEADING):
            continue
        part, comma, player = (text.strip() for text in line.partition(","))
        if not comma or not part:
            raise TraceError(
                f"line {number}: {line.strip()!r} is not a trace's model and the catalog's: {CAST_HEADING}"
            )
        if player not in catalog:
            raise TraceError(f"line {number}: {player!r} can't be loaded here; there are {', '.join(catalog)}")
        parts[part] = player
    ranked = _ranked(requests)
    played = {part: parts[part] for part in ranked if part in parts}
    if not played:
        raise TraceError("no model of the trace has a line; nothing would be played")
    return Cast(played, tuple(part for part in ranked if part not in parts))


def _ranked(requests: Sequence[TraceRequest]) -> list[ModelName]:
    counts = Counter(request.model for request in requests)
    return sorted(counts, key=lambda model: (-counts[model], model))


def _require(catalog: Sequence[ModelName]) -> None:
    if not catalog:
        raise TraceError("no model of the catalog can be loaded; `citadel models list` says why")


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
    task: Task


def calls(
    requests: Sequence[TraceRequest], cast: Cast, specs: Mapping[ModelName, ModelSpec], speed: float, limit: int | None
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
    limits = spec.limits
    most_tokens = max(1, min(MOST_TOKENS, limits.max_sequence // 2))
    task = sample_task(spec.task, lambda row: _text(number + row), max(1, round(work)), limits.max_batch, most_tokens)
    return Call(due_s, spec.name, task)


def _text(number: int) -> str:
    """Some words: always the same for the same number, mostly others for another."""
    return " ".join(_WORDS[(number * step + step) % len(_WORDS)] for step in range(1, 9))
