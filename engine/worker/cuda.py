"""A card's memory, or a slice of it: one allocation a model, copied beside running models, and proven to come back; what runs
take of it at their peak; which slabs of the RAM tier are page-locked for it.

The limit holds twice: loads are admitted by what they and their workspace are charged, and PyTorch refuses tensors beyond it.
"""

from __future__ import annotations

import logging
import mmap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from engine.core.sizes import MIB, format_room, format_size
from engine.weights.layout import aligned
from engine.weights.shared_memory import Region
from engine.worker.cuda_device import CudaDevice, PagesNotLocked
from engine.worker.errors import OutOfMemory
from engine.worker.memory import CopiedPlacement, Placement, over_the_limit
from engine.worker.protocol import CardMemory
from engine.worker.running import Measurement, once_more
from engine.worker.window import Window, WindowBlock

_log: Final = logging.getLogger(__name__)

SMALLEST_SEGMENT: Final = 10 * MIB
SEGMENT_ALIGNMENT: Final = 2 * MIB
"""Of PyTorch's allocator: anything smaller shares a segment with others, and a shared segment does not go back."""


class CudaBacking:
    """Device memory. The context is made by the first load and stays until the process ends."""

    def __init__(self, device: CudaDevice, arena: mmap.mmap, limit_bytes: int | None, page_locks: bool) -> None:
        self._device: Final = device
        self._arena: Final = arena
        self._slice_bytes: Final = limit_bytes
        """None: the card is all ours."""
        self._locks: Final = PageLocks(device) if page_locks else None
        self._charges: Final[dict[WindowBlock, int]] = {}
        self._quarantine: Final[list[WindowBlock]] = []
        self._context_bytes: int | None = None
        self._is_open = False
        self.runs: Final = CudaRuns(device, self._describe, self._held_bytes)

    @property
    def used_bytes(self) -> int:
        """The context, and what the driver has given this process for tensors: the card's own count of a slice."""
        if not self._is_open:
            return 0
        self._end_quarantines()
        return self._held_bytes()

    @property
    def card(self) -> CardMemory | None:
        if not self._is_open:
            return None
        figures = self._device.figures()
        return CardMemory(figures.total_bytes, figures.free_bytes, self._context_bytes)

    def place(self, source: Region, workspace_bytes: int) -> Placement:
        self._open_once()
        self._end_quarantines()
        charge_bytes = Region(source.offset, source.length + workspace_bytes).span_bytes
        limit_bytes = self._limit_bytes
        free_bytes = limit_bytes - (self._context_bytes or 0) - sum(self._charges.values())
        if charge_bytes > free_bytes:
            raise over_the_limit(charge_bytes, free_bytes, limit_bytes)
        self.runs.disturb()
        original = self.window(source)
        allocation = self._allocate(source.length)
        self._charges[allocation] = charge_bytes
        return CopiedPlacement(allocation, original, self._device.copy, lambda: self._give_back(allocation, source))

    def window(self, region: Region) -> Window:
        window = Window(self._arena, region.offset, region.length)
        if self._locks is not None:
            self._locks.lock(region, window.address)
        return window

    def unlock(self, region: Region) -> None:
        if self._locks is not None:
            self._locks.unlock(region)

    def _open_once(self) -> None:
        if not self._is_open:
            self._context_bytes = self._device.open()
            self._is_open = True
            if self._slice_bytes is not None:
                self._device.cap(self._slice_bytes - (self._context_bytes or 0))

    @property
    def _limit_bytes(self) -> int:
        return self._device.figures().total_bytes if self._slice_bytes is None else self._slice_bytes

    def _allocate(self, length: int) -> WindowBlock:
        # A whole segment of PyTorch's allocator: of a shared one nothing would go back to the driver with the model.
        segment_bytes = aligned(max(length, SMALLEST_SEGMENT), SEGMENT_ALIGNMENT)
        memory = once_more(lambda: self._device.allocate(segment_bytes), self.runs)
        if memory is None:
            raise OutOfMemory(
                f"out of memory: {format_size(length)} could not be allocated, also after all unused memory was given"
                f" back. {self._describe()}. What was loaded stays; evict a model, or load this one elsewhere"
            )
        return WindowBlock(memory)

    def _give_back(self, allocation: WindowBlock, source: Region) -> int:
        """The bytes that did not come back: the weights, since nothing else was allocated for the model."""
        self.runs.disturb()
        if allocation.is_held or not self._comes_back(allocation.length):
            # Somebody still has a view, or the card does not show the bytes free. They stay charged and are looked at again
            # before each load: to give them out twice would let one model answer with another's bytes, or run out of memory.
            self._quarantine.append(allocation)
            return source.span_bytes
        del self._charges[allocation]
        return 0

    def _comes_back(self, segment_bytes: int) -> bool:
        """Whether the card shows the segment free, or, where others may have taken it in that moment, nothing of its
        size is kept here any more."""
        # `collect` waits for the device: kernels of runs that have just ended may still read the segment.
        before = self._device.figures()
        self._device.collect()
        now = self._device.figures()
        if now.free_bytes - before.free_bytes >= segment_bytes:
            return True
        if now.kept_bytes < segment_bytes:
            _log.info("%s went back to the driver, but the card does not show them", format_size(segment_bytes))
            return True
        _log.error("%s did not go back to the driver. %s", format_size(segment_bytes), self._describe())
        return False

    def _end_quarantines(self) -> None:
        for allocation in [kept for kept in self._quarantine if not kept.is_held]:
            if self._comes_back(allocation.length):
                self._quarantine.remove(allocation)
                del self._charges[allocation]

    def _held_bytes(self) -> int:
        return (self._context_bytes or 0) + self._device.figures().reserved_bytes

    def _describe(self) -> str:
        figures = self._device.figures()
        return (
            f"{format_size(self._held_bytes())} of this device's {format_room(self._limit_bytes)} are in use;"
            f" the whole card shows {format_room(figures.free_bytes)} of {format_room(figures.total_bytes)} free"
        )


class CudaRuns:
    """The device's peak belongs to whoever used it meanwhile: a run is measured only when it was alone."""

    def __init__(self, device: CudaDevice, describe: Callable[[], str], used_bytes: Callable[[], int]) -> None:
        self._device: Final = device
        self._describe: Final = describe
        self._used_bytes: Final = used_bytes
        self._lock: Final = threading.Lock()
        self._running = 0
        self._events = 0
        """Counts all that spoils a measurement: another run that begins, a load, an eviction."""

    def collect(self) -> None:
        self._device.collect()

    def shortage(self, rows: int) -> OutOfMemory:
        return OutOfMemory(
            f"out of memory: a run of {rows} at once found too little, also after all unused memory was given back."
            f" {self._describe()}. The model stays loaded; lower its max_sequence, or evict another model"
        )

    def disturb(self) -> None:
        """Something else takes or gives back memory: runs under way can't be measured any more."""
        with self._lock:
            self._events += 1

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        took = Measurement()
        with self._lock:
            self._events += 1
            self._running += 1
            alone, begun = self._running == 1, self._events
            floor_bytes = self._device.restart_peak() if alone else 0
        try:
            yield took
        finally:
            took.used_bytes = self._used_bytes()
            with self._lock:
                self._running -= 1
                if alone and self._events == begun:
                    took.workspace_bytes = max(0, self._device.peak_bytes() - floor_bytes)


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
