"""The worker processes: each is started, asked, told and killed here, and watched from its birth to its death."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping

from engine.clock import Clock
from engine.core.names import DeviceId, ModelName
from engine.core.tasks import Task, TaskPart
from engine.runtime.ports import WorkerHandle, WorkerSpawner
from engine.scheduler.messages import Message, WorkerDown, WorkerUp
from engine.worker.client import WorkerDied
from engine.worker.protocol import Reply, Request, Run, WorkerConfig, WorkerNews


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
        self.pids: dict[DeviceId, int] = {}
        """Of the workers that are up."""
        self.used_bytes: dict[DeviceId, int] = dict.fromkeys(configs, 0)
        """What each device last said that it holds."""

    async def keep(self, device: DeviceId, after_s: float) -> None:
        """From a worker's birth, so long from now, to its death.

        Nobody else reports its death. It is reported once there is no worker to be asked any more, so that nothing that follows
        from the report can reach the dead one; whoever waits for an answer hears WorkerDied, before or after that.
        """
        if after_s > 0:
            await self._clock.sleep(after_s)
        try:
            worker = await self._spawner.spawn(self._configs[device])
        except (WorkerDied, OSError) as error:
            self._post(WorkerDown(device, f"did not start: {error}"))
            return
        self._up[device] = worker
        self.pids[device] = worker.pid
        self.used_bytes[device] = 0
        self._post(WorkerUp(device, worker.pid))
        reason = await worker.died()
        del self._up[device], self.pids[device]
        self.used_bytes[device] = 0
        self._post(WorkerDown(device, f"was {reason}" if reason.startswith("killed") else reason))

    async def ask(self, device: DeviceId, make: Callable[[int], Request]) -> Reply:
        """The answer to the request that is made with the given number. Raises WorkerDied."""
        return await self._worker(device).request(make(next(self._numbers)))

    async def run(self, device: DeviceId, model: ModelName, task: Task, on_part: Callable[[TaskPart], None]) -> Reply:
        """How a run of a task ended, and its parts before that. Raises WorkerDied."""
        return await self._worker(device).request(Run(next(self._numbers), model, task), on_part=on_part)

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
