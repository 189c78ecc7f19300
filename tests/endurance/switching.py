"""Switching one small model for the other, and what each switch must hold."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

import pytest

from engine.api import Done, EngineAPI, Snapshot, Updated
from engine.core.commands import Load, Single, Submission
from engine.core.names import ModelName
from engine.core.records import Switch
from engine.core.state import State

NAMES: Final = ("one", "two")
TEXTS: Final = ["a cat sits on the mat", "a stock market"]


async def switched(engine: EngineAPI, command: Single) -> Switch:
    """What the engine recorded of carrying it out."""
    answer = await engine.submit(Submission(str(uuid.uuid4()), command))
    assert isinstance(answer, Done), answer
    assert answer.switch is not None
    return answer.switch


async def alternate(engine: EngineAPI, switches: int) -> None:
    """Load one model, then the other, and so on: each makes room by evicting the one before. The phases of each sum up."""
    for number in range(switches):
        switch = await switched(engine, Load(NAMES[number % 2], "gpu0"))
        assert switch.phases.total_s == pytest.approx(switch.total_s, rel=0.01)
        assert switch.outcome == "done"


async def answers(engine: EngineAPI) -> dict[ModelName, list[list[float]]]:
    """What each model makes of the texts, loaded for it where it is not ready."""
    return {name: (await engine.embed(name, TEXTS)).vectors for name in NAMES}


async def until(engine: EngineAPI, met: Callable[[Snapshot], bool]) -> State:
    """The first state in which `met` holds."""
    async for event in engine.events():
        if isinstance(event, Updated) and met(event.snapshot):
            return event.snapshot.state
    raise AssertionError("the engine's events ended")


def all_devices_up(snapshot: Snapshot) -> bool:
    return all(device.reading.health == "ok" for device in snapshot.state.devices.values())
