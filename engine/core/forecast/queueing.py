"""What one more copy of a model would save: how long its requests would have waited for one, two, … devices of their own.

Each request, with the seconds that it is expected to take of a device (`forecast.run_costs`), goes through a queue of one server,
one of two, and so on, to the server that is free first. Its wait in each is Lindley's recursion ("The theory of queues with a
single server", *Proc. Cambridge Phil. Soc.* 48, 1952; Kiefer and Wolfowitz, 1955, for several servers). So bursts count as they
came, with no law of arrivals assumed, and a queue says what two copies would have been worth before there are two.

The waits fade as demand does and are weighed by the same spans (`forecast.demand`), so that what a copy is worth stands in the
unit of a reload's loss: seconds within the next requests to any model.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from engine.core.forecast.demand import expected, faded
from engine.core.forecast.run_costs import is_known, queue_s
from engine.core.names import CPU, ModelName
from engine.core.state import Queueing, State

MOST_COPIES: Final = 4
"""Of one model: so many queues are followed, where there are as many GPUs."""


def queued(state: State, model: ModelName, work: int, mono_s: float) -> State:
    """`state` after a request for so much work, which has been counted as demand. Nothing is learned before a run of the model
    was measured on a GPU."""
    gpus = [device for device in state.devices if device != CPU]
    measured = [queue_s(state, model, device, 1, work).p50_s for device in gpus if is_known(state, model, device)]
    if not measured or len(gpus) == 1:
        return state
    known = state.models[model]
    before = known.queueing
    servers, waits = list[tuple[float, ...]](), list[tuple[float, ...]]()
    for number in range(min(len(gpus), MOST_COPIES)):
        free_s = before.free_s[number] if before.free_s else (mono_s,) * (number + 1)
        earliest_s = max(mono_s, free_s[0])
        servers.append(tuple(sorted((earliest_s + min(measured), *free_s[1:]))))
        past = faded(before.waits[number] if before.waits else (), before.at_request, state.request_count)
        waits.append(tuple([w + earliest_s - mono_s for w in past]))
    requests = tuple([r + 1.0 for r in faded(before.requests, before.at_request, state.request_count)])
    queueing = Queueing(tuple(servers), tuple(waits), requests, state.request_count)
    return replace(state, models={**state.models, model: replace(known, queueing=queueing)})


def saved_s(state: State, model: ModelName, copies: int) -> float:
    """Seconds of waiting that one copy more than `copies` is expected to save within the next requests (`HORIZON_REQUESTS`)."""
    before = state.models[model].queueing
    if not 0 < copies < len(before.waits):
        return 0.0
    fewer, more = (
        faded(waits, before.at_request, state.request_count) for waits in before.waits[copies - 1 : copies + 1]
    )
    return expected(state, [w - x for w, x in zip(fewer, more, strict=True)])


def mean_waits_s(state: State, model: ModelName) -> tuple[float, ...]:
    """Seconds that a request for the model would wait on average for one, two, … copies; empty before anything is known."""
    known = state.models[model].queueing
    requests = expected(state, known.requests) if known.requests else 0.0
    return tuple(expected(state, waits) / requests for waits in known.waits) if requests else ()
