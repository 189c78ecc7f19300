"""Admission control: whether a request is taken into its model's queue, or told when to ask again.

The queue is what waits for the model and what runs on it. Its length is bounded, so that its memory is, and so is the time
that a newcomer would have to wait. Nothing is refused by a guess: seconds count only where runs of the model have been measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, inf
from typing import Final, TypeAlias

from msgspec import Struct

from engine.core.forecast.run_costs import is_known, queue_s
from engine.core.names import DeviceId, ModelName
from engine.core.state import State
from engine.scheduler.board import QueueBounds

Ahead: TypeAlias = Mapping[int, int]
"""The requests of a queue: how many ask for so much."""


class Full(Struct, frozen=True):
    """Why a request is not taken now."""

    reason: str
    """How long the queue is and when to ask again, in words."""
    retry_after_s: float
    """When it will have room, as predicted; whole seconds."""


LONGEST_ADVICE_S: Final = 600
"""Nobody is sent away for longer: what a queue of hours is predicted to take is worth little."""


def full(state: State, bounds: QueueBounds, model: ModelName, work: int, ahead: Ahead) -> Full | None:
    """Why a request for so much work is not taken, behind those of the model that are `ahead`; None where it is.

    One that has nothing before it is always taken, however large.
    """
    if not ahead:
        return None
    writes = state.models[model].spec.task == "generation"
    too_long = _too_many_texts(bounds, ahead) if writes else _too_many_rows(bounds, work, ahead)
    if too_long:
        share, words = too_long
        return _full(model, words, share * _all_s(state, model, ahead))
    wait_s = _wait_s(state, model, work, ahead)
    if wait_s is None or wait_s <= bounds.wait_s:
        return None
    words = (
        f"{_requests(_count(ahead))} before this one would keep it waiting for about {wait_s:.0f} s, and no more than "
        f"{bounds.wait_s:g} s are taken"
    )
    return _full(model, words, wait_s - bounds.wait_s)


def _full(model: ModelName, words: str, room_s: float) -> Full:
    """There will be room in so many seconds, as predicted."""
    retry_s = min(max(1, ceil(room_s)), LONGEST_ADVICE_S)
    return Full(f"{model} is overloaded: {words}; ask again in about {retry_s} s", float(retry_s))


def _too_many_rows(bounds: QueueBounds, work: int, ahead: Ahead) -> tuple[float, str] | None:
    """The share of the queue that must have gone first, and how long it is in words; None while there is room."""
    rows = _work(ahead)
    if rows + work <= bounds.rows:
        return None
    words = f"{rows} rows of {_requests(_count(ahead))} wait or run, this one has {work}, and {bounds.rows} are taken at once"
    if work > bounds.rows:
        words += "; one that has more is taken only where nothing else waits, so send it in parts"
    return min(1.0, (rows + work - bounds.rows) / max(rows, 1)), words


def _too_many_texts(bounds: QueueBounds, ahead: Ahead) -> tuple[float, str] | None:
    """The same for texts to be written: how long one will be is not known, so they count as one each."""
    if _count(ahead) < bounds.generations:
        return None
    words = f"{_requests(_count(ahead))} wait or run, and {bounds.generations} are taken at once"
    return (_count(ahead) + 1 - bounds.generations) / _count(ahead), words


def _wait_s(state: State, model: ModelName, work: int, ahead: Ahead) -> float | None:
    """Seconds until a newcomer has been served as much as it asks for, without its own work; None where that is not known.

    Rows take turns between requests, so whoever asks for less waits for no more than that of each other one. Texts are written
    side by side; one that finds no place waits until so many have ended. Copies of the model share all of it.
    """
    device, copies = _measured(state, model), _copies(state, model)
    if device is None:
        return None
    if state.models[model].spec.task != "generation":
        return queue_s(state, model, device, _count(ahead), _work(ahead, most=work)).p50_s / copies
    waiting = max(0, _count(ahead) + 1 - state.models[model].spec.limits.max_batch * copies)
    return queue_s(state, model, device, _count(ahead), _work(ahead)).p50_s * waiting / _count(ahead) / copies


def _all_s(state: State, model: ModelName, ahead: Ahead) -> float:
    """Seconds for all of the queue, by a guess where nothing has been measured."""
    device = _measured(state, model) or next(iter(state.devices))
    return queue_s(state, model, device, _count(ahead), _work(ahead)).p50_s / _copies(state, model)


def _copies(state: State, model: ModelName) -> int:
    """How many devices answer at once; one, where the model is still to come."""
    return max(1, sum(r.stage == "ready" for r in state.of(model)))


def _measured(state: State, model: ModelName) -> DeviceId | None:
    """The device whose times count: where the model is or is about to be, else the fastest that it ever ran on."""
    here = [r.device for r in state.of(model) if is_known(state, model, r.device)]
    anywhere = [device for device in state.devices if is_known(state, model, device)]
    return min(here or anywhere, key=lambda d: queue_s(state, model, d, 1, 1).p50_s, default=None)


def _count(ahead: Ahead) -> int:
    return sum(ahead.values())


def _work(ahead: Ahead, most: float = inf) -> int:
    """All that they ask for, of each no more than `most`."""
    return sum(int(min(work, most)) * count for work, count in ahead.items())


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"
