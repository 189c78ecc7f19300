"""The RAM tier's bytes: which region of the arena holds which model, how a slab gets there, and whether it is still whole.

Files are read and bytes compared in threads; whoever waits for one goes on only when it has ended, cancelled or not.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeVar

from msgspec import Struct

from engine.clock import Clock
from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.core.plans import Tier
from engine.core.sizes import format_room, format_size
from engine.devices.host import HostMemory, read_host_memory
from engine.runtime.heartbeat import listening
from engine.runtime.ports import WorkerHandle, WorkerSpawner
from engine.weights.arena import Arena
from engine.weights.errors import BadCheckpoint, DamagedSlab, ReadStopped, WeightsError
from engine.weights.estimates import preparing_bytes
from engine.weights.integrity import SlabCondition, disown, find_damage
from engine.weights.layout import SLAB_FILE
from engine.weights.page_cache import MOSTLY, cached_share
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared, is_current, open_prepared
from engine.weights.sources import Source, prepared_folder
from engine.worker.client import WorkerDied
from engine.worker.prepare_request import preparation_of
from engine.worker.protocol import ArenaSize, Failure, WorkerConfig

_T = TypeVar("_T")


class Fetched(Struct, frozen=True):
    """A slab that came into the RAM tier."""

    tier: Tier
    size_bytes: int
    from_page_cache: bool = False
    """Whether the host's page cache held it before."""


class FetchReports(Protocol):
    """Who hears, on the loop, how a fetch goes."""

    def prepared(self, done: float) -> None:
        """The share of the slab that has been prepared, 0 to 1."""
        ...

    def opened(self, tier: Tier, region: Region) -> None:
        """The slab has its region, which is the listener's to give up should the fetch fail."""
        ...

    def grew(self, read_bytes: int) -> None:
        """So many bytes are there, from the beginning."""
        ...


class PassingFailure(Exception):
    """Trying again may help."""


class SlabStore:
    """Reads prepared slabs into the arena; a model without one is prepared first, by a worker of its own."""

    def __init__(
        self,
        specs: Mapping[ModelName, ModelSpec],
        sources: Mapping[ModelName, Source],
        cache: Path,
        arena: Arena,
        spawner: WorkerSpawner,
        clock: Clock,
        not_answering_s: float,
        read_host: Callable[[], HostMemory] = read_host_memory,
    ) -> None:
        self._read_host: Final = read_host
        self._specs = dict(specs)
        self._sources = dict(sources)
        self._cache = cache
        self._arena = arena
        self._spawner = spawner
        self._clock = clock
        self._not_answering_s = not_answering_s
        self._regions: dict[ModelName, Region] = {}
        self._origins: dict[ModelName, Prepared] = {}
        """What each slab was last read from, or is being read from."""
        self._fetches: dict[ModelName, _Fetch] = {}
        self._numbers = itertools.count(1)

    def know(self, spec: ModelSpec, source: Source) -> None:
        """From now on the model is loaded as `spec` says, from there."""
        self._specs[spec.name] = spec
        self._sources[spec.name] = source
        self._origins.pop(spec.name, None)

    def forget(self, model: ModelName) -> None:
        """There is no such model any more; its slab has gone."""
        for known in (self._specs, self._sources, self._origins):
            known.pop(model, None)

    def spec(self, model: ModelName) -> ModelSpec:
        """The catalog's word on the model."""
        return self._specs[model]

    def folder(self, model: ModelName) -> Path:
        """The prepared folder that the model's slab was read from last, or would be read from now, whether it is there or
        not. Raises BadCheckpoint."""
        origin = self._origins.get(model)
        return self._folder_now(model) if origin is None else origin.folder

    def region(self, model: ModelName) -> Region | None:
        """Where its slab lies in the arena, or comes to lie; None where it has no place there."""
        fetch = self._fetches.get(model)
        return self._regions.get(model) if fetch is None else fetch.region

    def origin(self, model: ModelName) -> Prepared | None:
        """What its slab in the arena, or on its way there, is read from; None before the first one."""
        return self._origins.get(model)

    def is_replaced(self, model: ModelName) -> bool:
        """Whether its slab rests in the arena, and the file that it was read from has been prepared anew since, or its
        checkpoint or a companion of it, such as its tokenizer, is another one."""
        origin = self._origins.get(model)
        if model not in self._regions or origin is None:
            return False
        try:
            return not is_current(origin) or self._folder_now(model) != origin.folder
        except BadCheckpoint:  # the checkpoint has gone: what was made of it is still what the model was
            return False

    def read_bytes(self, model: ModelName) -> int | None:
        """How many bytes of a slab that is being fetched are there; None of one that is there."""
        fetch = self._fetches.get(model)
        return None if fetch is None else fetch.read_bytes

    def allocate(self, model: ModelName, length: int) -> Region:
        """A region for a slab of the model, the caller's to keep or to give up. Raises PassingFailure where none is free."""
        region = self._arena.allocate(length)
        if region is None:
            room = format_room(self._arena.free_bytes)
            raise PassingFailure(f"the RAM tier has no room in one piece for {model}; {room} are free in all")
        return region

    def keep(self, model: ModelName, region: Region) -> None:
        """All of the model's slab is in the region."""
        self._regions[model] = region

    def take(self, model: ModelName) -> Region | None:
        """The region of a slab that is to go: from now on the model has none, and a fetch makes another."""
        return self._regions.pop(model, None)

    def give_up(self, region: Region) -> None:
        """Free a taken region; nobody may read from it any more."""
        self._arena.free(region)

    def stop(self, model: ModelName) -> None:
        """Give up a fetch under way; it raises ReadStopped, unless it was too late."""
        if fetch := self._fetches.get(model):
            fetch.stop()

    def close(self) -> None:
        """Give the arena back; no fetch may be under way."""
        self._arena.close()

    async def fetch(self, model: ModelName, reports: FetchReports) -> Fetched:
        """Have the model's slab in the arena. Raises WeightsError, and PassingFailure where trying again may help."""
        fetch = self._fetches[model] = _Fetch()
        try:
            prepared, tier = await self._prepared(model, fetch, reports.prepared)
            self._origins[model] = prepared
            fetch.region = self.allocate(model, prepared.length)
            reports.opened(tier, fetch.region)
            cached = await self._read_whole(prepared, fetch.region, fetch, reports)
            self.keep(model, fetch.region)
            return Fetched(tier, prepared.length, cached)
        finally:
            del self._fetches[model]

    async def verify(self, model: ModelName, stop: threading.Event) -> SlabCondition:
        """Whether the model's slab has the bytes that were prepared. Raises ReadStopped, also when it has left the arena."""
        region, origin = self._regions.get(model), self._origins.get(model)
        if region is None or origin is None:
            raise ReadStopped(f"the slab of {model} is not in the RAM tier any more")
        return await in_thread(lambda: find_damage(self._arena, region, origin, stop), stop)

    def in_page_cache(self) -> frozenset[ModelName]:
        """The models whose prepared slabs the host's page cache holds. To be called in a thread."""
        return frozenset(
            model
            for model in tuple(self._sources)
            if _is_cached(lambda model=model: self._folder_now(model) / SLAB_FILE)  # type: ignore[misc]
        )

    async def _read_whole(self, prepared: Prepared, region: Region, fetch: _Fetch, reports: FetchReports) -> bool:
        """As `_read`. A slab that is found to be damaged is disowned, so that the next fetch prepares it anew."""
        damage: DamagedSlab | None = None
        try:
            cached = await self._read(prepared, region, fetch, reports)
        except DamagedSlab as error:
            damage, cached = error, False
        # Asked once all is read: a file that was replaced before this line may have given bytes of both.
        if not is_current(prepared):
            raise PassingFailure(f"{prepared.folder} was prepared anew while it was read")
        if damage is not None:
            await asyncio.to_thread(disown, prepared.folder)
            raise damage
        return cached

    async def _read(self, prepared: Prepared, region: Region, fetch: _Fetch, reports: FetchReports) -> bool:
        """Whether the page cache held it before."""
        loop = asyncio.get_running_loop()

        def grew(read_bytes: int) -> None:
            fetch.read_bytes = read_bytes
            reports.grew(read_bytes)

        def report(read_bytes: int) -> None:
            loop.call_soon_threadsafe(grew, read_bytes)

        def read() -> bool:
            cached, sums = _is_cached(lambda: prepared.slab_path), prepared.layout.block_sums
            self._arena.read_file(prepared.slab_path, prepared.data_offset, region, report, fetch.stopped, sums)
            return cached

        return await in_thread(read, fetch.stopped)

    async def _prepared(
        self, model: ModelName, fetch: _Fetch, on_progress: Callable[[float], None]
    ) -> tuple[Prepared, Tier]:
        folder = self._folder_now(model)
        try:
            return open_prepared(folder), "disk"
        except BadCheckpoint:
            on_progress(0.0)
            await self._prepare(model, folder, fetch, on_progress)
            return open_prepared(folder), "source"

    def _folder_now(self, model: ModelName) -> Path:
        """Another one whenever the checkpoint or a companion of it has changed."""
        return prepared_folder(self._specs[model], self._sources[model], self._cache)

    async def _prepare(
        self, model: ModelName, folder: Path, fetch: _Fetch, on_progress: Callable[[float], None]
    ) -> None:
        await asyncio.to_thread(self._check_memory, model)
        config = WorkerConfig(None, "none", 0, ArenaSize(self._arena.size_bytes))
        try:
            fetch.preparer = await self._spawner.spawn(config)
            if not fetch.stopped.is_set():  # it may have been, while there was no worker yet that could be killed
                await self._ask_to_prepare(fetch.preparer, model, folder, on_progress)
        except WorkerDied as died:
            if not fetch.stopped.is_set():
                raise PassingFailure(f"the worker that prepared {model} {died}") from died
        finally:
            if fetch.preparer is not None:
                await fetch.preparer.close()
        if fetch.stopped.is_set():
            raise ReadStopped(f"preparing {model} was taken back")

    def _check_memory(self, model: ModelName) -> None:
        """Raises WeightsError where the host has too little for preparing the model: better said than ended by the kernel."""
        needs_bytes, host = preparing_bytes(self._specs[model], self._sources[model]), self._read_host()
        if needs_bytes > host.available_bytes:
            needs, left, all_there_is = (
                format_size(needs_bytes),
                format_room(host.available_bytes),
                format_room(host.total_bytes),
            )
            raise WeightsError(
                f"{model} is not prepared: that takes about {needs} of memory for a while, and {left} are left of {all_there_is},"
                f" {host.all_of_it}; take other models off, end other programs, or allow it more"
            )

    async def _ask_to_prepare(
        self, worker: WorkerHandle, model: ModelName, folder: Path, on_progress: Callable[[float], None]
    ) -> None:
        request = preparation_of(self._specs[model], self._sources[model], folder, next(self._numbers))
        hung = ""

        def hear(silent_s: float, _steps: Mapping[ModelName, float]) -> None:
            nonlocal hung
            if silent_s >= self._not_answering_s:
                hung = f"gave no sign of life for {silent_s:.0f} s and was ended"
                worker.kill()

        try:
            async with listening(worker, self._numbers, self._clock, hear):
                reply = await worker.request(request, on_progress)
        except WorkerDied as died:
            raise WorkerDied(hung or str(died)) from died
        if isinstance(reply, Failure):
            kind = WeightsError if reply.kind == "bad checkpoint" else PassingFailure
            raise kind(f"{model} is not prepared: {reply.message}")


def _is_cached(find: Callable[[], Path]) -> bool:
    """Whether the host's page cache holds the file that `find` gives."""
    try:
        return cached_share(find()) >= MOSTLY
    except (OSError, ValueError, WeightsError):
        return False  # it is not there, or its checkpoint has gone: whoever reads it says so


class _Fetch:
    """One fetch under way, and how to stop it."""

    def __init__(self) -> None:
        self.stopped: Final = threading.Event()
        self.preparer: WorkerHandle | None = None
        self.region: Region | None = None
        self.read_bytes = 0

    def stop(self) -> None:
        self.stopped.set()
        if self.preparer is not None:
            self.preparer.kill()


async def in_thread(work: Callable[[], _T], stop: threading.Event) -> _T:
    """What `work` returns or raises. A caller that is cancelled sets `stop`, which `work` heeds, and waits for its end."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except BaseException:
        stop.set()
        # A thread can't be cancelled, only asked. Until it has ended it may touch the memory that our caller is about to free.
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # or asyncio would complain that nobody asked for it
        raise
