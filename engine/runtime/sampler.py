"""Reads the devices' memory at a steady interval and reports it."""

from __future__ import annotations

from collections.abc import Callable

from engine.devices.host import external_bytes, read_host_memory
from engine.runtime.executor import Executor
from engine.runtime.messages import DeviceRead, Message
from engine.runtime.ports import Clock
from engine.runtime.scheduler import Scheduler


async def sample_devices(
    executor: Executor, scheduler: Scheduler, post: Callable[[Message], None], clock: Clock, interval_s: float
) -> None:
    """Post one DeviceRead a device each `interval_s`, until cancelled."""
    while True:
        host = read_host_memory()
        for device, known in scheduler.state.devices.items():
            used_bytes = executor.used_bytes[device]
            total_bytes = known.spec.total_bytes
            post(DeviceRead(device, used_bytes, external_bytes(total_bytes, used_bytes, host)))
        await clock.sleep(interval_s)
