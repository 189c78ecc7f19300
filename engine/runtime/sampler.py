"""Reads the devices' memory at a steady interval and reports it; seldom while somebody measures and nothing depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from engine.clock import Clock
from engine.core.devices import DeviceSpec, Reading
from engine.core.names import CPU, DeviceId
from engine.devices.host import SPARED_BYTES, HostMemory, external_bytes, read_host_memory
from engine.devices.readings import CardReader
from engine.runtime.workers import Workers
from engine.scheduler.messages import DeviceRead, HostRead, Message

QUIET_INTERVAL_S: Final = 10.0
"""Between two readings while nothing depends on them."""


class Sampler:
    """Reads cards through the driver, and slices of host RAM from what the host has left."""

    def __init__(
        self,
        specs: dict[DeviceId, DeviceSpec],
        cards: CardReader,
        clock: Clock,
        interval_s: float,
        read_host: Callable[[], HostMemory] = read_host_memory,
    ) -> None:
        self._specs: Final = specs
        self._cards: Final = cards
        self._clock: Final = clock
        self.interval_s: Final = interval_s
        self._read_host: Final = read_host

    @property
    def quiet_interval_s(self) -> float:
        """Seconds between two readings while the sampler rests."""
        return max(self.interval_s, QUIET_INTERVAL_S)

    async def run(self, workers: Workers, post: Callable[[Message], None], rest: Rest) -> None:
        """Post one DeviceRead a device and one HostRead each interval, or each quiet one while it may rest, until cancelled."""
        while True:
            host = self._read_host()
            cards = await self._cards.read(self._specs, workers.own_use)
            for device, spec in self._specs.items():
                reading = cards.get(device) or self._of_host(spec, workers.used_bytes[device], host)
                post(DeviceRead(device, reading))
            post(HostRead(_passed_through(host)))
            await self._pause(rest)

    async def _pause(self, rest: Rest) -> None:
        """A command that begins to wait for a reading ends the rest at once; that nobody measures any more is looked at each
        interval."""
        read_s = self._clock.monotonic()
        await self._clock.sleep(self.interval_s)
        while rest.is_allowed() and self._clock.monotonic() - read_s < self.quiet_interval_s:
            await rest.sleep(self._clock, self.interval_s)

    async def close(self) -> None:
        await self._cards.close()

    def _of_host(self, spec: DeviceSpec, used_bytes: int, host: HostMemory) -> Reading:
        counted_on = _usable(host) if spec.id == CPU else _passed_through(host)
        taken_bytes = external_bytes(spec.total_bytes, used_bytes, replace(host, available_bytes=max(0, counted_on)))
        now_s, mono_s = self._clock.now(), self._clock.monotonic()
        return Reading("ok", "", used_bytes + taken_bytes, taken_bytes, at_s=now_s, mono_s=mono_s)


def _usable(host: HostMemory) -> int:
    """Bytes that are left for models; less than none where what is to be spared is not there."""
    return host.available_bytes - SPARED_BYTES


def _passed_through(host: HostMemory) -> int:
    """Of these, for a virtual GPU or for the RAM tier: a slab that comes to the one lies in the other meanwhile."""
    return _usable(host) // 2


class Rest:
    """The sampler's rest: whether it may go on, and the word that it is over, which whoever sleeps through it hears at once.

    `is_allowed` says whether nothing depends on the next readings, at the moment when it is asked.
    """

    def __init__(self, is_allowed: Callable[[], bool]) -> None:
        self.is_allowed: Final = is_allowed
        self._over: Final = asyncio.Event()

    def look_again(self) -> None:
        """Something has happened that may have ended the rest, or made it possible."""
        if self.is_allowed():
            self._over.clear()
        else:
            self._over.set()

    async def sleep(self, clock: Clock, seconds: float) -> None:
        """So long, or until the rest is over."""
        waits = [asyncio.ensure_future(wait) for wait in (clock.sleep(seconds), self._wait())]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for wait in done:
            wait.result()  # asyncio.wait raises nothing by itself: a clock that broke would go unheard

    async def _wait(self) -> None:
        await self._over.wait()
