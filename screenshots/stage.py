"""A real engine with real work behind it, in a Citadel home of its own: what the pictures are taken of."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

from engine.api import Declined, EngineAPI, Updated
from engine.client import connect
from engine.core.commands import Command, ForceCpu, Load, SetPin, Single, Submission
from engine.core.names import ModelName
from engine.paths import Paths, find_paths
from engine.process import ensure_engine, wait_until_gone

CONFIG: Final = Path(__file__).parent.parent / "config"
PATIENCE_S: Final = 60.0
"""For whatever is waited for: a picture, a command that may be carried out soon."""

STORY: Final[tuple[Single, ...]] = (
    Load("all-MiniLM-L6-v2", "gpu1"),
    Load("bge-base", "gpu0"),
    ForceCpu("e5-small"),
    Load("phi-3-mini", "gpu0"),
    SetPin("all-MiniLM-L6-v2"),
    Load("bge-base", "gpu0"),
    Load("phi-3-mini", "gpu0"),
)
"""Models on every device, a victim, a pin, a model on the CPU. The first loads prepare the models; the last two come from
the RAM tier, as switches do from then on."""
TEXTS: Final = ["a cat", "a kitten", "a stock market"]


@asynccontextmanager
async def own_engine() -> AsyncIterator[Paths]:
    """An engine of our own, which is gone with its folder afterwards."""
    home = tempfile.mkdtemp(prefix="citadel-")
    # So that files are told as they would be to anybody, and that nobody's own models are in the pictures.
    os.environ |= {"HOME": home, "CITADEL_HOME": f"{home}/citadel"}
    paths = find_paths(os.environ)
    try:
        await ensure_engine(paths, CONFIG)
        yield paths
        await (await connect(paths)).stop()
        await wait_until_gone(paths)
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def work(engine: EngineAPI, story: Sequence[Single] = STORY) -> None:
    """Something to see: `story` carried out, and each model of it asked for something."""
    async for event in engine.events():
        devices = event.snapshot.state.devices.values() if isinstance(event, Updated) else ()
        if devices and all(device.reading.health == "ok" for device in devices):
            break
    for number, command in enumerate(story):
        await carry_out(engine, command, f"picture-{number}")
        await use(engine, command.model)


async def carry_out(engine: EngineAPI, command: Command, id: str) -> None:
    """Submits the command until it is done: a model that came only just now may not leave yet."""
    async with asyncio.timeout(PATIENCE_S):
        for attempt in count():
            answer = await engine.submit(Submission(f"{id}-{attempt}", command))
            if not isinstance(answer, Declined):
                return
            await asyncio.sleep(0.5)


async def drive(demand: str) -> None:
    """Generated demand played against the engine, no faster than two cores answer all of it: some minutes."""
    program = (sys.executable, "-m", "citadel_tui", "drive", "--generated", demand, "--speed", "8")
    playing = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.DEVNULL)
    if status := await playing.wait():
        raise RuntimeError(f"`citadel drive` ended with {status}")


async def use(engine: EngineAPI, model: ModelName) -> None:
    if model == "phi-3-mini":
        await engine.generate(model, "The citadel", max_tokens=16)
        return
    for _ in range(4):
        await engine.embed(model, TEXTS)
