"""Does what the scheduler wants done, each effect in a task of its own, and reports back. Decides nothing.

Effects of one message are begun in their order and end in any. What may not overtake something else waits for a report first, in
the scheduler; only stopping and killing happen at once, since whoever is to be stopped must not be waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Final, Literal, assert_never

from engine.clock import Clock
from engine.core.names import DeviceId, ModelName
from engine.core.state import ModelState
from engine.recording.footprints import FootprintStore
from engine.runtime.ports import WorkerSpawner
from engine.runtime.slab_store import SlabStore
from engine.runtime.slab_transfers import SlabChecks, SlabReads, SlabWriteBacks, watch_page_cache
from engine.runtime.workers import Workers
from engine.scheduler.effects import (
    BindModel,
    DropSlab,
    ForgetModel,
    InvalidateSlab,
    KeepPeaks,
    KillWorker,
    KnowModel,
    ReadSlab,
    ReleaseModel,
    StartWorker,
    StopReading,
    StopVerifying,
    VerifySlab,
    Work,
    WriteBackSlab,
)
from engine.scheduler.messages import (
    BindFailed,
    Message,
    ModelBound,
    ModelReleased,
    context_of,
)
from engine.weights.shared_memory import Region
from engine.weights.sources import Source
from engine.worker.client import WorkerDied
from engine.worker.protocol import Bind, Bound, Failure, Release, Released, Unlock, WorkerConfig

_log: Final = logging.getLogger(__name__)

_FAILURES: Final[dict[str, Literal["passing", "no room", "unusable", "unsupported", "not read", "replaced"]]] = {
    "internal": "passing",
    "not read": "not read",
    "out of memory": "no room",
    "device unusable": "unusable",
    "device unsupported": "unsupported",
    "replaced": "replaced",
}
"""What a worker's failure to bind means for trying again; of every other kind, that it can't help."""


class Executor:
    """Its work ends with `close`, and the workers with it."""

    def __init__(
        self,
        store: SlabStore,
        workers: Mapping[DeviceId, WorkerConfig],
        spawner: WorkerSpawner,
        footprints: FootprintStore,
        clock: Clock,
        post: Callable[[Message], None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._store = store
        self._clock = clock
        self._configs = workers
        self._footprints = footprints
        self._post = post
        self._tasks = tasks
        self._sources: dict[ModelName, Source] = {}
        """Of models that may come to be others than at the start."""
        self._running: set[asyncio.Task[None]] = set()
        self.workers: Final = Workers(workers, spawner, clock, post)
        self._reads = SlabReads(store, post, self.workers.tell, self._give_up)
        self._checks = SlabChecks(store, post)
        self._write_backs = SlabWriteBacks(store, post, self.workers.ask, self._give_up)

    def perform(self, effect: Work) -> None:
        """Set `effect` in motion."""
        match effect:
            case ReadSlab(model):
                self._start(self._reads.read(model))
            case StopReading(model):
                self._reads.stop(model)
            case WriteBackSlab():
                self._start(self._write_backs.write_back(effect))
            case VerifySlab(model):
                self._start(self._checks.verify(model))
            case StopVerifying(model):
                self._checks.stop(model)
            case InvalidateSlab(model):
                self._checks.invalidate(model)
            case DropSlab(model):
                self._checks.stop(model)
                # Taken at once, freed later: a reading that the next effect asks for must find another region, not this one.
                if region := self._store.take(model):
                    self._start(self._give_up(region))
            case BindModel():
                self._start(self._bind(effect))
            case ReleaseModel(model, device):
                self._start(self._release(model, device))
            case StartWorker(device, after_s):
                self._start(self.workers.keep(device, after_s))
            case KillWorker(device):
                self.workers.kill(device)
            case KnowModel(known):
                self._know(known)
            case ForgetModel(model):
                self._store.forget(model)
                self._footprints.forget(model)
            case KeepPeaks(model, kind, peaks):
                self._start(self._footprints.keep(model, kind, peaks))
            case _:
                assert_never(effect)

    def expect(self, model: ModelName, source: Source) -> None:
        """Should the model come to be what was found of it just now, this is where it is loaded from."""
        self._sources[model] = source

    def mend(self, known: ModelState, source: Source) -> None:
        """A model that could not be loaded can be, from there."""
        self.expect(known.spec.name, source)
        self._know(known)

    def _know(self, known: ModelState) -> None:
        model = known.spec.name
        self._footprints.know(known)
        if (source := self._sources.get(model)) and source.text == known.source:
            self._store.know(known.spec, source)

    async def keep_run_rates(self, models: Mapping[ModelName, ModelState]) -> None:
        """Keep how long runs took over restarts."""
        await self._footprints.keep_rates(models)

    async def watch_page_cache(self, may_look: Callable[[], bool]) -> None:
        """Tell what the host's page cache holds of slabs, as that changes, until cancelled; only while `may_look`."""
        await watch_page_cache(self._store, self._clock, self._post, may_look)

    async def close(self) -> None:
        """Stop what is in motion, then end the workers in order."""
        # All have ended before the arena goes: a thread may still read a file into it.
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.workers.close()
        self._store.close()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _bind(self, effect: BindModel) -> None:
        model, device = effect.model, effect.device
        # The slab may be gone since the scheduler decided: a reading that has just failed is still on its way to it as a message.
        spec, region, origin = self._store.spec(model), self._store.region(model), self._store.origin(model)
        if region is None or origin is None:
            self._post(BindFailed(model, device, "not read", f"{model} is not being read any more"))
            return
        if self._store.is_replaced(model):
            self._post(BindFailed(model, device, "replaced", f"{origin.folder} was prepared anew since it was read"))
            return

        def request(number: int) -> Bind:
            # As late as this: between the count of what has been read and the news of what comes after it no byte may be missed.
            read_bytes = self._reads.follow(model, device, number)
            place = (region.offset, region.length, effect.workspace_bytes)
            made = (str(origin.folder), origin.layout_id)
            return Bind(number, model, *made, *place, spec.task, spec.limits, read_bytes)

        try:
            reply = await self.workers.ask(device, request)
        except WorkerDied:
            return  # the task that keeps the worker says so, once for all that it was doing
        finally:
            self._reads.leave(model)
        match reply:
            case Bound():
                self._post(ModelBound(model, device, reply))
            case Failure(kind=kind, message=message):
                self._post(BindFailed(model, device, _FAILURES.get(kind, "broken"), message))
            case _:
                self._post(BindFailed(model, device, "broken", f"its worker answered {type(reply).__name__}"))

    async def _give_up(self, region: Region) -> None:
        """Free a slab's region once no card reads from it any more.

        A card's worker may have page-locked it. Freed under such a lock, the region would get new pages while the card went on
        reading the old ones: the next model there would be bound to the bytes of the last.
        """
        for device, config in self._configs.items():
            if config.page_locks:
                with suppress(WorkerDied):  # its locks have ended with it
                    await self.workers.ask(device, lambda number: Unlock(number, region.offset, region.length))
        self._store.give_up(region)

    async def _release(self, model: ModelName, device: DeviceId) -> None:
        try:
            reply = await self.workers.ask(device, lambda number: Release(number, model))
        except WorkerDied:
            return  # which has released everything
        if isinstance(reply, Released):
            context_bytes = context_of(reply.card)
            self._post(ModelReleased(model, device, reply.leaked_bytes, reply.used_bytes, context_bytes))
            if reply.leaked_bytes and self._configs[device].backing != "ram":
                # The CPU's slab may be overwritten at any time; a card's bytes come back with the end of the process.
                _log.error("%s did not show the bytes of %s free; its worker is replaced", device, model)
                self.workers.kill(device)
        else:
            # Nobody can tell what it still holds. Its death can: then all of it is free.
            why = reply.message if isinstance(reply, Failure) else reply
            _log.error("%s did not release %s: %s; its worker is replaced", device, model, why)
            self.workers.kill(device)
