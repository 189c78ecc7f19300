"""Figures of a busy box: all that a monitor shows of its cards and their models moves once a second."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from engine.core.insight.request_figures import RequestFigures
from engine.core.names import DeviceId, ModelName
from engine.core.sizes import MIB
from engine.core.state import State
from tests.tui.busy_engines import with_requests


def cards_of(state: State) -> tuple[DeviceId, ...]:
    return tuple(name for name, known in state.devices.items() if known.spec.kind == "gpu")


def moved(state: State, number: int) -> State:
    """`state` at the second `number`: every model's requests, every card's load, temperature and other programs' memory."""
    devices = dict(state.devices)
    for at, card in enumerate(cards_of(state)):
        known = devices[card]
        external_bytes = 16 * MIB * ((number + 3 * at) % 4)
        ours_bytes = sum(resident.footprint.total_bytes for resident in state.on(card))
        reading = replace(
            known.reading,
            external_bytes=external_bytes,
            used_bytes=ours_bytes + external_bytes,
            temperature_c=45 + (number + at) % 9,
            utilization_percent=(37 * number + 11 * at) % 100,
            power_w=9.5 + (5 * number + at) % 20,
            power_limit_w=30.0,
            at_s=known.reading.at_s + 1,
        )
        devices[card] = replace(known, reading=reading)
    return replace(with_requests(state, number), devices=devices)


def requests_moved(requests: Mapping[ModelName, RequestFigures], number: int) -> dict[ModelName, RequestFigures]:
    """`requests` at the second `number`: every rate and every time."""
    return {
        model: replace(
            known,
            waiting=(number + at) % 5,
            per_s=round(known.per_s + (7 * number + 3 * at) % 40, 1),
            first_part_s=0.05 + 0.001 * ((11 * number + at) % 90),
            p95_s=0.2 + 0.01 * ((13 * number + at) % 70),
        )
        for at, (model, known) in enumerate(requests.items())
    }
