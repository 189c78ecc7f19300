"""A worker that is killed comes back with what it held, and nobody else notices."""

from __future__ import annotations

import os
import signal

import pytest

from engine.client import RemoteEngine
from engine.core.commands import Load
from engine.core.records import Switch
from engine.core.state import State
from tests.endurance.switching import NAMES, all_devices_up, answers, switched, until


@pytest.mark.parametrize("gpus", [2])
async def test_a_killed_worker_is_ready_again_with_its_resident_and_the_same_answers(engine: RemoteEngine) -> None:
    for name, device in zip(NAMES, ("gpu0", "gpu1"), strict=True):
        await switched(engine, Load(name, device))
    first = await answers(engine)
    before = (await engine.snapshot()).state
    pid = before.devices["gpu0"].worker_pid
    assert pid is not None
    last = (await engine.records(1))[0].seq

    os.kill(pid, signal.SIGKILL)
    after = await until(
        engine,
        lambda now: now.state.devices["gpu0"].worker_pid not in (pid, None) and all_devices_up(now) and not now.jobs,
    )

    assert homes(after) == homes(before)
    assert [after.devices[d].reading.used_bytes for d in ("gpu0", "gpu1")] == [
        before.devices[d].reading.used_bytes for d in ("gpu0", "gpu1")
    ]
    assert after.devices["gpu1"].worker_pid == before.devices["gpu1"].worker_pid
    assert await answers(engine) == first
    since = [record.entry for record in await engine.records() if record.seq > last]
    assert [switch.plan.command for switch in since if isinstance(switch, Switch)] == [Load(NAMES[0], "gpu0")]


def homes(state: State) -> dict[str, tuple[str, str]]:
    return {resident.model: (resident.device, resident.stage) for resident in state.residents}
