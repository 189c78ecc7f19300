"""Slabs of the RAM tier whose bytes are compared with their checksums, one task each, and how to stop that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from engine.core.names import ModelName
from engine.scheduler.messages import Message, SlabVerified
from engine.runtime.slab_store import SlabStore
from engine.weights.errors import ReadStopped
from engine.weights.layout import SLAB_FILE
from engine.weights.slab import disown

_log: Final = logging.getLogger(__name__)


class SlabChecks:
    """Reports every check that was begun."""

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

    def disown(self, model: ModelName) -> None:
        """Have the model's damaged slab never read again."""
        folder = self._store.folder(model)
        try:
            disown(folder)
        except OSError as error:
            _log.error("%s holds a damaged slab and can't be marked so: %s; remove it", folder, error.strerror)
