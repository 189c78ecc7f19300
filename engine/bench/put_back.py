"""Restoring who is resident and who is pinned, as a state remembered it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from engine.api import Done, EngineAPI
from engine.core.commands import Evict, Load, Move, SetPin, Single, Submission, Unpin, command_text
from engine.core.names import DeviceId, ModelName
from engine.core.state import State


async def put_back(api: EngineAPI, before: State) -> list[str]:
    """Undo, one command at a time, what differs from `before`; what could not be undone, in words."""
    left: list[str] = []
    for differences in (_pins_to_drop, _to_evict, _to_place, _pins_to_set):
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
        if now.of(name) and _home(before, name) is None:
            yield Evict(name)


def _to_place(before: State, now: State) -> Iterator[Single]:
    """Moves before loads: what moves makes room for what comes."""
    misplaced = [(name, home) for name in now.models if (home := _home(before, name)) and not now.find(name, home)]
    for name, home in sorted(misplaced, key=lambda pair: not now.of(pair[0])):
        yield Move(name, home) if now.of(name) else Load(name, home)


def _pins_to_set(before: State, now: State) -> Iterator[Single]:
    for name, model in before.models.items():
        if model.pin is not None and model.pin != now.models[name].pin:
            yield SetPin(name, model.pin.device)


def _home(state: State, name: ModelName) -> DeviceId | None:
    """Where the model was to stay."""
    staying = (r.device for r in state.of(name) if r.stage in ("pending", "loading", "ready"))
    return next(staying, None)
