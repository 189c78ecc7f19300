"""Slabs on their way: read from disk, with the load that copies behind the reading; checked against their checksums; written back
from a device. Each is begun and stopped here, and the scheduler hears how it went."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from msgspec import Struct

from engine.clock import Clock
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Tier
from engine.runtime.slab_store import PassingFailure, SlabStore
from engine.scheduler.effects import WriteBackSlab
from engine.scheduler.messages import (
    Message,
    PageCacheSeen,
    SlabAdvanced,
    SlabFailed,
    SlabNotWrittenBack,
    SlabOpened,
    SlabRead,
    SlabVerified,
    SlabWrittenBack,
)
from engine.weights.errors import DamagedSlab, ReadStopped, WeightsError
from engine.weights.integrity import disown
from engine.weights.layout import SLAB_FILE
from engine.weights.shared_memory import Region
from engine.worker.client import WorkerDied
from engine.worker.protocol import Failure, Reply, Request, SlabGrew, SlabStopped, WorkerNews, WriteBack, WrittenBack

Tell: TypeAlias = Callable[[DeviceId, WorkerNews], None]
AskWorker: TypeAlias = Callable[[DeviceId, Callable[[int], Request]], Awaitable[Reply]]
"""Sends the request that is made with the given number to a device's worker; its answer."""
GiveUp: TypeAlias = Callable[[Region], Awaitable[None]]
"""Frees a region once no card reaches it."""

_log: Final = logging.getLogger(__name__)

TOLD_BYTES: Final = 64 << 20
"""Read between two words to the scheduler, which only people look at; a load that follows hears of each piece."""


class _Follower(Struct, eq=False):
    """A load that copies what has been read."""

    device: DeviceId
    bind: int
    """Number of its Bind."""
    ended: asyncio.Event


class SlabReads:
    """Starts and stops readings, and says how they go: to the scheduler by messages, to a load that follows as news."""

    def __init__(self, store: SlabStore, post: Callable[[Message], None], tell: Tell, give_up: GiveUp) -> None:
        self._store: Final = store
        self._post: Final = post
        self._tell: Final = tell
        self._give_up: Final = give_up
        self._followers: Final[dict[ModelName, _Follower]] = {}

    async def read(self, model: ModelName) -> None:
        """Have the model's slab in the RAM tier."""
        reports = _Reports(model, self)
        try:
            fetched = await self._store.fetch(model, reports)
        except ReadStopped as stopped:
            await self._failed(SlabFailed(model, "stopped", str(stopped)), reports.region)
        except DamagedSlab as error:
            await self._failed(SlabFailed(model, "damaged", str(error)), reports.region)
        except WeightsError as error:
            await self._failed(SlabFailed(model, "broken", str(error)), reports.region)
        except (PassingFailure, WorkerDied) as error:
            await self._failed(SlabFailed(model, "passing", str(error)), reports.region)
        except OSError as error:
            await self._failed(SlabFailed(model, "passing", f"reading {model} failed: {error}"), reports.region)
        else:
            # In this order: the load can't report before the scheduler knows that the slab is there. A ModelBound ahead of its
            # SlabRead would make the model ready on a slab that is not whole yet.
            self._post(SlabRead(model, fetched.tier, fetched.size_bytes, fetched.from_page_cache))
            self.pass_on(model, fetched.size_bytes)

    def stop(self, model: ModelName) -> None:
        """Give up a reading; the load that follows it hears so at once, however long the disk takes, and once more when the
        reading has ended."""
        self._store.stop(model)
        self._disappoint(model, f"the reading of {model} was taken back")

    def follow(self, model: ModelName, device: DeviceId, bind: int) -> int | None:
        """A load begins: the bytes that have been read, of which it hears more; None when all have."""
        read_bytes = self._store.read_bytes(model)
        if read_bytes is not None:
            self._followers[model] = _Follower(device, bind, asyncio.Event())
        return read_bytes

    def leave(self, model: ModelName) -> None:
        """The load has ended, well or not."""
        if follower := self._followers.pop(model, None):
            follower.ended.set()

    def report(self, message: SlabOpened | SlabAdvanced) -> None:
        self._post(message)

    def pass_on(self, model: ModelName, read_bytes: int) -> None:
        """Tell the load that follows, if one does."""
        if follower := self._followers.get(model):
            self._tell(follower.device, SlabGrew(follower.bind, read_bytes))

    def _disappoint(self, model: ModelName, reason: str) -> None:
        if follower := self._followers.get(model):
            self._tell(follower.device, SlabStopped(follower.bind, reason))

    async def _failed(self, report: SlabFailed, region: Region | None) -> None:
        """Say so, and free what had been opened once the load that follows has let go of it.

        The order matters twice. The scheduler hears of the reading before it hears of the load, whose "not read" has no reason of
        its own. And the region is given up last: until the worker has answered it may copy from there.
        """
        follower = self._followers.get(report.model)
        self._post(report)
        self._disappoint(report.model, report.reason)
        if follower is not None:
            await follower.ended.wait()
        if region is not None:
            await self._give_up(region)


class _Reports:
    """What one fetch says of itself."""

    def __init__(self, model: ModelName, reads: SlabReads) -> None:
        self._model: Final = model
        self._reads: Final = reads
        self._told_bytes = 0
        self.region: Region | None = None
        """Once it is open."""

    def prepared(self, done: float) -> None:
        self._reads.report(SlabAdvanced(self._model, done))

    def opened(self, tier: Tier, region: Region) -> None:
        self.region = region
        self._reads.report(SlabOpened(self._model, tier, region.length))

    def grew(self, read_bytes: int) -> None:
        """The last bytes are passed on by the reading's end."""
        assert self.region is not None
        if read_bytes - self._told_bytes >= TOLD_BYTES:
            self._told_bytes = read_bytes
            self._reads.report(SlabAdvanced(self._model, read_bytes / self.region.length))
        if read_bytes < self.region.length:
            self._reads.pass_on(self._model, read_bytes)


PAGE_CACHE_LOOK_S: Final = 30.0
"""Between two looks at what the page cache holds: others' files push ours out slowly."""


async def watch_page_cache(
    store: SlabStore, clock: Clock, post: Callable[[Message], None], may_look: Callable[[], bool]
) -> None:
    """Tell the scheduler which slabs would be read from the page cache, as that changes, until cancelled. Nothing is looked at
    while somebody measures."""
    seen: frozenset[ModelName] | None = None
    while True:
        if may_look() and (now := await asyncio.to_thread(store.in_page_cache)) != seen:
            seen = now
            post(PageCacheSeen(now))
        await clock.sleep(PAGE_CACHE_LOOK_S)


class SlabChecks:
    """Checks of slabs under way. Every one that was begun is reported, so that the scheduler may wait for it."""

    def __init__(self, store: SlabStore, post: Callable[[Message], None]) -> None:
        self._store: Final = store
        self._post: Final = post
        self._under_way: Final[dict[ModelName, threading.Event]] = {}

    async def verify(self, model: ModelName) -> None:
        """Compare the model's slab with its checksum, and say what was found."""
        stop = self._under_way[model] = threading.Event()
        path = str(self._store.folder(model) / SLAB_FILE)
        try:
            finding = await self._store.verify(model, stop)
        except ReadStopped:
            self._post(SlabVerified(model, "stopped", path))
        else:
            self._post(SlabVerified(model, finding, path))
        finally:
            del self._under_way[model]

    def stop(self, model: ModelName) -> None:
        """Give up the check of the model's slab, if one is under way: its region may be freed then."""
        if stop := self._under_way.get(model):
            stop.set()

    def invalidate(self, model: ModelName) -> None:
        """Have the model's damaged slab never read again."""
        folder = self._store.folder(model)
        try:
            disown(folder)
        except OSError as error:
            _log.error("%s holds a damaged slab and can't be marked so: %s; remove it", folder, error.strerror)


class SlabWriteBacks:
    """A slab that is written back has a region of its own, which nobody reads before all of it is there: the store is told of it
    only then, so that a copy which breaks off leaves nothing that could be taken for a slab."""

    def __init__(self, store: SlabStore, post: Callable[[Message], None], ask: AskWorker, give_up: GiveUp) -> None:
        self._store: Final = store
        self._post: Final = post
        self._ask: Final = ask
        self._give_up: Final = give_up

    async def write_back(self, effect: WriteBackSlab) -> None:
        """Have the slab written back. Where that fails the disk still has it: it is logged, and no error."""
        try:
            region = self._store.allocate(effect.model, effect.size_bytes)
        except PassingFailure as failure:
            self._failed(effect, str(failure))
            return
        try:
            reply = await self._ask(
                effect.device, lambda number: WriteBack(number, effect.model, region.offset, region.length)
            )
        except WorkerDied as died:
            failure_text = f"its worker {died}"
        else:
            if isinstance(reply, WrittenBack):
                self._store.keep(effect.model, region)
                self._post(SlabWrittenBack(effect.model, effect.device, region.length, reply.copy_s))
                return
            failure_text = reply.message if isinstance(reply, Failure) else str(reply)
        self._failed(effect, failure_text)
        await self._give_up(region)

    def _failed(self, effect: WriteBackSlab, reason: str) -> None:
        _log.warning("%s was not written back from %s: %s", effect.model, effect.device, reason)
        self._post(SlabNotWrittenBack(effect.model))
