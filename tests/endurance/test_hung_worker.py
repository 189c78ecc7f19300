"""A worker that hangs is noticed, shown, and replaced: its model is there again, and who waits for it is served."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from engine.client import RemoteEngine
from engine.core.commands import Load
from engine.core.records import Notice
from tests.endurance.switching import NAMES, TEXTS, all_devices_up, switched, until

ALLOWED_S = 3.0


@pytest.fixture
def config(config: Path) -> Path:
    """As the others', but with little patience: what a quiet worker gets is counted in looks, one each second."""
    settings = config / "gpu_allocation.yaml"
    settings.write_text(f"{settings.read_text()}monitoring: {{not_answering_s: {ALLOWED_S}}}\n")
    return config


async def test_a_stopped_worker_is_replaced_and_whoever_comes_then_is_served(engine: RemoteEngine) -> None:
    await switched(engine, Load(NAMES[0], "gpu0"))
    first = (await engine.embed(NAMES[0], TEXTS)).vectors
    pid = (await engine.snapshot()).state.devices["gpu0"].worker_pid
    assert pid is not None

    os.kill(pid, signal.SIGSTOP)
    silent = await until(engine, lambda now: now.state.devices["gpu0"].reading.health == "not answering")
    assert "its worker has not answered for" in silent.devices["gpu0"].reading.reason
    # Whoever asks meanwhile runs into the death, and is tried once more by itself.
    asked = asyncio.create_task(engine.embed(NAMES[0], TEXTS))
    after = await until(
        engine,
        lambda now: now.state.devices["gpu0"].worker_pid not in (pid, None) and all_devices_up(now) and not now.jobs,
    )

    assert after.find(NAMES[0], "gpu0") is not None
    texts = [record.entry.text for record in await engine.records() if isinstance(record.entry, Notice)]
    assert any(text.startswith("the worker of gpu0 gave no sign of life for 3 s and was ended") for text in texts)
    assert (await asked).vectors == first
    assert (await engine.embed(NAMES[0], TEXTS)).vectors == first
