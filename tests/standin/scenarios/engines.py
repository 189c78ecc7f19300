"""A whole engine in processes of its own on two cards of the stand-in, as it ships, with small models."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from engine.api import Answer, EngineAPI
from engine.client import RemoteEngine, connect
from engine.core.commands import Command, Submission
from engine.core.names import DeviceId
from engine.core.state import DeviceState
from engine.paths import find_paths, make_folders
from engine.process import ensure_engine, wait_until_gone
from engine.worker.synthetic import make
from tests.endurance.switching import until
from tests.worker.small_recipes import SMALL_EMBEDDER

MODELS: Final = ("one", "two", "three")
TEXTS: Final = ["a cat sits on the mat", "a stock market"]
GPUS: Final = ("gpu0", "gpu1")


@asynccontextmanager
async def running_engine(folder: Path) -> AsyncIterator[RemoteEngine]:
    """An engine on the cards that the environment names; its devices are up. Ends with the block."""
    for seed, name in enumerate(MODELS):
        make(replace(SMALL_EMBEDDER, seed=seed), folder / name)
    catalog = [{"name": name, "source": f"path:{folder / name}", "task": "embedding"} for name in MODELS]
    (folder / "model_gpu_mapping.json").write_text(json.dumps({"models": catalog}))
    (folder / "gpu_allocation.yaml").write_text("policy: {min_residency_s: 0}\nmonitoring: {sample_s: 0.1}\n")
    paths = find_paths(os.environ)
    make_folders(paths)
    await ensure_engine(paths, folder)
    engine = await connect(paths)
    try:
        await until(engine, lambda now: all(d.reading.health == "ok" for d in now.state.devices.values()))
        yield engine
    finally:
        await engine.stop()
        await wait_until_gone(paths)


async def told(engine: EngineAPI, command: Command) -> Answer:
    """What the engine answers to a command, once it is over."""
    return await engine.submit(Submission(uuid.uuid4().hex, command))


async def device(engine: EngineAPI, name: DeviceId) -> DeviceState:
    return (await engine.snapshot()).state.devices[name]
