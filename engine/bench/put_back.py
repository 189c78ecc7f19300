"""Restoring who is resident and who is pinned, as a state remembered it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from engine.api import Done, EngineAPI
from engine.core.commands import Load, Move, SetPin, Single, Submission, Unpin, command_text, to_stand_on
from engine.core.names import DeviceId, ModelName
from engine.core.state import State


async def put_back(api: EngineAPI, before: State) -> list[str]:
    """Undo, one command at a time, what differs from `before`; what could not be undone, in words."""
    left: list[str] = []
    for differences in (_pins_to_drop, _to_evict, _to_move, _to_load, _pins_to_set):
        now = (await api.snapshot()).state
        for command in differences(before, now):
            answer = await api.submit(Submission(f"put-back-{uuid.uuid4()}", command, "trial"))
            if not isinstance(answer, Done):
                left.append(f"{command_text(command)} did not succeed")
    return left


def _pins_to_drop(before: State, now: State) -> Iterator[Single]:
    for name, model in now.models.items():
        if model.pin is not None and model.pin != before.models[name].pin:
            yield Unpin(name)


def _to_evict(before: State, now: State) -> Iterator[Single]:
    for name in now.models:
        yield from to_stand_on(name, _here(now, name), before.places(name))[0]


def _to_move(before: State, now: State) -> Iterator[Single]:
    """Before loads: what moves makes room for what comes."""
    yield from (command for command in _placements(before, now) if isinstance(command, Move))


def _to_load(before: State, now: State) -> Iterator[Single]:
    yield from (command for command in _placements(before, now) if isinstance(command, Load))


def _placements(before: State, now: State) -> Iterator[Single]:
    for name in now.models:
        yield from to_stand_on(name, _here(now, name), before.places(name))[1]


def _pins_to_set(before: State, now: State) -> Iterator[Single]:
    for name, model in before.models.items():
        if model.pin is not None and model.pin != now.models[name].pin:
            yield SetPin(name, model.pin.device)


def _here(state: State, name: ModelName) -> tuple[DeviceId, ...]:
    return tuple(resident.device for resident in state.of(name))
