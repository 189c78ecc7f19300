"""Which slabs of the RAM tier are page-locked for a CUDA device, so that copies from them need no detour."""

from __future__ import annotations

import logging
from typing import Final

from engine.core.sizes import format_size
from engine.weights.shared_memory import Region
from engine.worker.cuda_device import CudaDevice, PagesNotLocked

_log: Final = logging.getLogger(__name__)


class PageLocks:
    """Locked regions. Locking takes longer than one copy gains, so a region stays locked until `unlock`, which must come
    before its pages are given up: the device would go on reading the old ones."""

    def __init__(self, device: CudaDevice) -> None:
        self._device: Final = device
        self._addresses: Final[dict[Region, int]] = {}
        self._refused = False

    def lock(self, region: Region, address: int) -> None:
        """Lock the region's pages. Where that can't be done, it is said once and no longer tried."""
        if self._refused or region in self._addresses:
            return
        try:
            self._device.lock_pages(address, region.span_bytes)
        except PagesNotLocked as error:
            self._refused = True
            _log.warning(
                "the driver would not page-lock %s of the RAM tier: %s; copies go on from pageable memory, which is slower",
                format_size(region.span_bytes),
                error,
            )
        else:
            self._addresses[region] = address

    def unlock(self, region: Region) -> None:
        """Nothing happens when the region is not locked."""
        if region in self._addresses:
            self._device.unlock_pages(self._addresses[region])
            del self._addresses[region]
