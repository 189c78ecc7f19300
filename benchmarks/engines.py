"""The engines that the benchmark measures, and what it asks of them."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from engine.api import Done, EngineAPI
from engine.core.commands import Evict, Load, Single, Submission
from engine.core.plans import Tier
from engine.core.records import Switch
from engine.runtime.engine import Engine
from engine.runtime.start import start_engine


async def started(home: Path, config: Path) -> Engine:
    """An engine in this process, its devices up."""
    engine = await start_engine(config, {**os.environ, "CITADEL_HOME": str(home)})
    async for _ in engine.events():
        devices = (await engine.snapshot()).state.devices.values()
        if all(device.reading.health == "ok" for device in devices):
            break
    return engine


async def carried_out(engine: EngineAPI, command: Single) -> Switch:
    """What the engine recorded. Raises SystemExit when it did not carry the command out: the run is worth nothing then."""
    answered = await engine.submit(Submission(str(uuid.uuid4()), command))
    if not isinstance(answered, Done) or answered.switch is None:
        raise SystemExit(f"the engine did not carry out {command}: {answered}")
    return answered.switch


async def take_off(engine: EngineAPI, model: str) -> None:
    """Nothing happens when it is nowhere."""
    if (await engine.snapshot()).state.of(model):
        await carried_out(engine, Evict(model))


async def load(engine: EngineAPI, model: str, tier: Tier) -> float:
    """Seconds from the command to ready, as the engine reports them. Raises SystemExit when it came from another tier."""
    switch = await carried_out(engine, Load(model, "gpu0"))
    if switch.tier != tier:
        raise SystemExit(f"{model} was loaded from {switch.tier}, not from {tier}; this run is worth nothing")
    return switch.total_s


async def worker_pid(engine: EngineAPI) -> int | None:
    """None while there is none."""
    return (await engine.snapshot()).state.devices["gpu0"].worker_pid
