"""The worker processes: each is started, asked, told and killed here, and watched from its birth to its death."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from msgspec import Struct

from engine.clock import Clock
from engine.core.names import DeviceId, ModelName
from engine.core.tasks import Task, TaskPart
from engine.devices.readings import OwnUse
from engine.runtime.heartbeat import listening
from engine.runtime.ports import WorkerHandle, WorkerSpawner
from engine.scheduler.messages import Message, SignOfLife, WorkerDown, WorkerUp
from engine.worker.client import WorkerDied
from engine.worker.protocol import Bound, LeaveRun, Released, Reply, Request, Run, RunEnded, WorkerConfig, WorkerNews

START_DEADLINE_S: Final = 180.0
"""For a worker's birth, most of which is importing torch: one that hangs before its first word has no heartbeat yet."""


class Running(Struct, frozen=True, eq=False):
    """A run on a device."""

    reply: asyncio.Future[Reply]
    """How it ends; raises WorkerDied."""
    leave: Callable[[], None]
    """Say that nobody waits for it any more; its reply still comes."""


class Workers:
    """At most one for each device."""

    def __init__(
        self,
        configs: Mapping[DeviceId, WorkerConfig],
        spawner: WorkerSpawner,
        clock: Clock,
        post: Callable[[Message], None],
    ) -> None:
        self._configs = configs
        self._spawner = spawner
        self._clock = clock
        self._post = post
        self._up: dict[DeviceId, WorkerHandle] = {}
        self._numbers = itertools.count(1)
        self._under_way: dict[DeviceId, int] = dict.fromkeys(configs, 0)
        self._asked: dict[DeviceId, int] = dict.fromkeys(configs, 0)
        self._gone: dict[DeviceId, asyncio.Event] = {}
        """Of the newest worker of each device: set once its death is reported."""
        self.used_bytes: dict[DeviceId, int] = dict.fromkeys(configs, 0)
        """What each device last said that it holds."""

    async def keep(self, device: DeviceId, after_s: float) -> None:
        """From a worker's birth, so long from now, to its death.

        Nobody else reports its death. It is reported once there is no worker to be asked any more, so that nothing that follows
        from the report can reach the dead one; whoever waits for an answer hears WorkerDied after that, so that what it asks for
        next does not go to the dead one either.
        """
        if after_s > 0:
            await self._clock.sleep(after_s)
        try:
            worker = await self._spawned(device)
        except (WorkerDied, OSError) as error:
            self._post(WorkerDown(device, f"did not start: {error}"))
            return
        self._up[device] = worker
        gone = self._gone[device] = asyncio.Event()
        self.used_bytes[device] = 0
        self._post(WorkerUp(device, worker.pid))
        try:
            reason = await self._end_of(device, worker)
        finally:
            gone.set()  # who waits for it goes on after this turn of the loop, in which the death is reported
        del self._up[device]
        self.used_bytes[device] = 0
        self._asked[device] += 1  # what it held is given back without an answer
        self._post(WorkerDown(device, f"was {reason}" if reason.startswith("killed") else reason))

    async def _spawned(self, device: DeviceId) -> WorkerHandle:
        """The device's new worker. Raises WorkerDied, also where it takes too long to be ready, and OSError."""
        spawning = asyncio.ensure_future(self._spawner.spawn(self._configs[device]))
        late = asyncio.ensure_future(self._clock.sleep(START_DEADLINE_S))
        try:
            await asyncio.wait({spawning, late}, return_when=asyncio.FIRST_COMPLETED)
            if spawning.done():
                return spawning.result()
        finally:
            late.cancel()
            spawning.cancel()
        raise WorkerDied(f"it was not ready within {START_DEADLINE_S:g} s")

    async def _end_of(self, device: DeviceId, worker: WorkerHandle) -> str:
        """How it ended, in words; until then its signs of life are posted."""

        def hear(silent_s: float, steps: Mapping[ModelName, float]) -> None:
            self._post(SignOfLife(device, silent_s, dict(steps)))

        async with listening(worker, self._numbers, self._clock, hear):
            return await worker.died()

    async def ask(self, device: DeviceId, make: Callable[[int], Request]) -> Reply:
        """The answer to the request that is made with the given number. Raises WorkerDied."""
        return await self._counted(device, lambda worker: worker.request(make(next(self._numbers))))

    def run(self, device: DeviceId, model: ModelName, task: Task, on_part: Callable[[TaskPart], None]) -> Running:
        """Have a task run; its parts come before its end."""
        number = next(self._numbers)
        request = Run(number, model, task)
        reply = asyncio.ensure_future(self._counted(device, lambda worker: worker.request(request, on_part=on_part)))
        return Running(reply, lambda: self.tell(device, LeaveRun(number)))

    async def _counted(self, device: DeviceId, ask: Callable[[WorkerHandle], Awaitable[Reply]]) -> Reply:
        worker, gone = self._worker(device), self._gone[device]
        self._asked[device] += 1
        self._under_way[device] += 1
        try:
            reply = await ask(worker)
        except WorkerDied:
            await gone.wait()
            raise
        finally:
            self._under_way[device] -= 1
        # In the same turn of the loop: nobody sees that nothing is under way any more beside figures of before.
        match reply:
            case Bound(used_bytes=used_bytes) | Released(used_bytes=used_bytes) | RunEnded(used_bytes=int(used_bytes)):
                self.used_bytes[device] = used_bytes
            case _:
                pass
        return reply

    def own_use(self) -> dict[DeviceId, OwnUse]:
        """What each worker holds by its own account, and whether that is moving."""
        return {
            device: OwnUse(
                self._up[device].pid if device in self._up else None,
                self.used_bytes[device],
                self._under_way[device],
                self._asked[device],
            )
            for device in self._configs
        }

    def tell(self, device: DeviceId, news: WorkerNews) -> None:
        """Say something that has no answer; nothing happens when there is no worker."""
        if worker := self._up.get(device):
            worker.tell(news)

    def kill(self, device: DeviceId) -> None:
        """End the device's worker at once, if it is up."""
        if worker := self._up.get(device):
            worker.kill()

    async def close(self) -> None:
        """End all workers in order, and the server that they come from."""
        await asyncio.gather(*(worker.close() for worker in self._up.values()), return_exceptions=True)
        await self._spawner.close()

    def _worker(self, device: DeviceId) -> WorkerHandle:
        if worker := self._up.get(device):
            return worker
        raise WorkerDied("is not running")
