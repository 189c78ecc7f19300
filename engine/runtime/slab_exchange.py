"""The engine's side of carrying prepared slabs between machines. It says what it offers, and has its threads fetch what others
offer: neither the loop nor the scheduler waits for a byte of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from engine.api import BadRequest, CannotServe, UnknownModel
from engine.clock import Clock
from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.core.sizes import format_size
from engine.runtime.initial_state import ModelLook
from engine.runtime.listed_models import Note
from engine.runtime.slab_store import in_thread
from engine.scheduler.messages import Message, SlabCame
from engine.slab_peer import OfferedFile, SlabFetched, SlabOffer, SlabPeer, fault_of_address
from engine.weights.errors import WeightsError
from engine.weights.slab import open_prepared
from engine.weights.slab_fetch import fetch_slab
from engine.weights.slab_server import SlabServer
from engine.weights.sources import Source, prepared_folder

OFFERED_S: Final = 60.0
"""So long after it was last read of, an offer ends."""


class KnowsFiles(Protocol):
    """The catalog's reader."""

    def look(self, model: ModelName) -> ModelLook | None: ...


class _Place(NamedTuple):
    """Where a model's slab is, or belongs."""

    spec: ModelSpec
    source: Source
    folder: Path


class _Fetch:
    """One under way."""

    def __init__(self, task: asyncio.Task[SlabFetched]) -> None:
        self.task: Final = task
        self.waiting = 0


class SlabExchange(SlabPeer):
    """One engine's."""

    def __init__(
        self, files: KnowsFiles, cache: Path, post: Callable[[Message], None], note: Note, clock: Clock
    ) -> None:
        self._files: Final = files
        self._cache: Final = cache
        self._post: Final = post
        self._note: Final = note
        self._clock: Final = clock
        self._servers: Final[dict[str, SlabServer]] = {}
        """By the address at which they listen."""
        self._listening: Final = asyncio.Lock()
        """Held while one is opened, closed or given something to offer."""
        self._watching: asyncio.Task[None] | None = None
        self._fetches: Final[dict[ModelName, _Fetch]] = {}

    async def offer_slab(self, model: ModelName, host: str, ports: tuple[int, ...]) -> SlabOffer:
        try:
            async with self._listening:
                offer = await asyncio.to_thread(self._offered, model, host, ports)
        except WeightsError as error:
            raise CannotServe(f"{model} is not offered: {error}") from error
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="offers of slabs")
        return offer

    async def fetch_slab(self, model: ModelName, offer: SlabOffer) -> SlabFetched:
        """Whoever asks for the same model meanwhile waits for the same fetch; it ends when all have left."""
        while (fetch := self._fetches.get(model)) is not None and not fetch.waiting:  # all have left it, and it ends
            await asyncio.wait({fetch.task})
            await asyncio.sleep(0)
        if fetch is None:
            fetch = self._fetches[model] = _Fetch(
                asyncio.create_task(self._fetch(model, offer), name=f"fetching {model}")
            )
            fetch.task.add_done_callback(lambda _ended: self._fetches.pop(model, None))
        fetch.waiting += 1
        try:
            return await asyncio.shield(fetch.task)
        finally:
            fetch.waiting -= 1
            if not fetch.waiting:
                fetch.task.cancel()  # nothing happens to one that has ended

    async def close(self) -> None:
        """What is under way ends; what has come of it is kept."""
        tasks = [*(fetch.task for fetch in self._fetches.values()), *filter(None, [self._watching])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._close_servers, list(self._servers))

    # ── offering ─────────────────────────────────────────────────────────────────────────────────

    def _offered(self, model: ModelName, host: str, ports: tuple[int, ...]) -> SlabOffer:
        if fault := fault_of_address(host):
            raise BadRequest(f"{model} is not offered there: {fault}")
        place = self._place(model)
        prepared = open_prepared(place.folder)
        paths = sorted(path for path in place.folder.rglob("*") if path.is_file())
        files = tuple(OfferedFile(str(path.relative_to(place.folder)), path.stat().st_size) for path in paths)
        server = self._server(host, ports)
        recipe = place.source.folder.name if place.source.synthetic_kind is not None else ""
        return SlabOffer(host, server.port, server.offer(paths), files, prepared.layout_id, place.spec.dtype, recipe)

    def _server(self, host: str, ports: tuple[int, ...]) -> SlabServer:
        """The one that listens there. Raises CannotServe."""
        if (known := self._servers.get(host)) is not None:
            return known
        why = "no port was given"
        for port in ports:
            try:
                server = self._servers[host] = SlabServer(host, port, OFFERED_S, self._clock.monotonic)
            except (OSError, OverflowError) as error:
                why = f"port {port}: {getattr(error, 'strerror', None) or error}"
            else:
                return server
        raise CannotServe(f"nothing can listen at {host} to give slabs away ({why}); end what has its ports")

    async def _watch(self) -> None:
        while self._servers:
            await self._clock.sleep(OFFERED_S / 4)
            async with self._listening:
                idle = [host for host, server in self._servers.items() if server.is_idle()]
                await asyncio.to_thread(self._close_servers, idle)

    def _close_servers(self, hosts: list[str]) -> None:
        for host in hosts:
            self._servers.pop(host).close()

    # ── fetching ─────────────────────────────────────────────────────────────────────────────────

    async def _fetch(self, model: ModelName, offer: SlabOffer) -> SlabFetched:
        stop = threading.Event()

        def fetch() -> SlabFetched:
            place = self._place(model)
            return fetch_slab(place.spec, place.source, place.folder, offer, stop)

        try:
            fetched = await in_thread(fetch, stop)
        except WeightsError as error:
            raise CannotServe(f"{model} is not fetched: {error}") from error
        self._post(SlabCame(model))
        if fetched.came_bytes:
            came, took = format_size(fetched.came_bytes), f"{fetched.seconds:.1f} s"
            self._note("info", f"the slab of {model} was fetched from {offer.host}: {came} in {took}")
        return fetched

    def _place(self, model: ModelName) -> _Place:
        """Raises UnknownModel, CannotServe, WeightsError."""
        look = self._files.look(model)
        if look is None:
            raise UnknownModel(f"the catalog has no {model}")
        if look.source is None:
            raise CannotServe(f"{model} can't be loaded here: {look.state.trouble}")
        spec = look.state.spec
        return _Place(spec, look.source, prepared_folder(spec, look.source, self._cache))
