"""Slabs on their way back from a device into the RAM tier: the worker copies, and the scheduler hears how it went."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from engine.core.names import DeviceId
from engine.scheduler.effects import ReturnSlab
from engine.scheduler.messages import Message, SlabNotReturned, SlabReturned
from engine.runtime.slab_store import PassingFailure, SlabStore
from engine.weights.shared_memory import Region
from engine.worker.client import WorkerDied
from engine.worker.protocol import CopiedBack, CopyBack, Reply, Request

Ask: TypeAlias = Callable[[DeviceId, Callable[[int], Request]], Awaitable[Reply]]
GiveUp: TypeAlias = Callable[[Region], Awaitable[None]]

_log: Final = logging.getLogger(__name__)


class SlabReturns:
    """A slab that comes back has a region of its own, which nobody reads before all of it is there."""

    def __init__(self, store: SlabStore, post: Callable[[Message], None], ask: Ask, give_up: GiveUp) -> None:
        self._store: Final = store
        self._post: Final = post
        self._ask: Final = ask
        self._give_up: Final = give_up
        """Frees a region once no card reaches it."""

    async def bring(self, effect: ReturnSlab) -> None:
        """Have the slab copied back. Where that fails the disk still has it: it is logged, and no error."""
        try:
            region = self._store.allocate(effect.model, effect.size_bytes)
        except PassingFailure as failure:
            self._failed(effect, str(failure))
            return
        try:
            reply = await self._ask(
                effect.device, lambda number: CopyBack(number, effect.model, region.offset, region.length)
            )
        except WorkerDied as died:
            failure_text = f"its worker {died}"
        else:
            if isinstance(reply, CopiedBack):
                self._store.keep(effect.model, region)
                self._post(SlabReturned(effect.model, effect.device, region.length, reply.copy_s))
                return
            failure_text = str(reply)
        self._failed(effect, failure_text)
        await self._give_up(region)

    def _failed(self, effect: ReturnSlab, reason: str) -> None:
        _log.warning("%s was not copied back from %s: %s", effect.model, effect.device, reason)
        self._post(SlabNotReturned(effect.model))
