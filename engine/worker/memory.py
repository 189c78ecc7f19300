"""A device's memory as its worker sees it: where a slab comes to lie, what that costs, and whether it was given back.

Each kind of memory is a Backing: host RAM that plays a GPU, the RAM tier itself for the CPU device, or a card (`worker.cuda`).
"""

from __future__ import annotations

import mmap
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeAlias

import torch

from engine.core.sizes import format_room, format_size
from engine.weights.layout import SlabEntry
from engine.weights.shared_memory import Region, SparseMemory, Touching
from engine.worker.errors import BadRequest, OutOfMemory
from engine.worker.protocol import CardMemory
from engine.worker.running import HOST_RUNS, RunMemory
from engine.worker.slab_stream import NOTHING_MOVED, CopyTimes, SlabStream, follow
from engine.worker.window import Views, Window

Copy: TypeAlias = Callable[[torch.Tensor, torch.Tensor], float]
"""Copies all bytes to the first from the second; the seconds until they were there."""


class Placement(Protocol):
    """Room for a slab on the device, and the slab in it once it is filled."""

    def fill(self, reading: SlabStream) -> CopyTimes:
        """Have the slab's bytes there, as they are read. Waits without holding anything; raises SlabNotRead."""
        ...

    def tensor(self, entry: SlabEntry) -> torch.Tensor:
        """The entry's tensor, once the slab is there: a view of it, or a copy where the slab is shared and the tensor may be
        written to."""
        ...

    def write_back(self, target: Window) -> None:
        """Write the slab as it lies here to `target`, a part of the RAM tier."""
        ...

    def vacate(self) -> int:
        """Give the memory back; the bytes that could not be, because somebody still holds a view of them."""
        ...


class Backing(Protocol):
    """The memory of a device, with its limit."""

    @property
    def used_bytes(self) -> int: ...

    @property
    def card(self) -> CardMemory | None:
        """What the card says of itself; None where there is none, or no context on it yet."""
        ...

    @property
    def runs(self) -> RunMemory:
        """The same memory, as runs of bound models use it."""
        ...

    def place(self, source: Region, workspace_bytes: int) -> Placement:
        """Make room for the slab at `source` of the RAM tier. Raises OutOfMemory."""
        ...

    def window(self, region: Region) -> Window:
        """A region of the RAM tier, ready to be copied from or to."""
        ...

    def unlock(self, region: Region) -> None:
        """The pages of this region of the RAM tier are about to be given up."""
        ...


class _InHostRam:
    """What is the same wherever a device's memory is the host's."""

    card: Final = None
    runs: Final = HOST_RUNS

    def __init__(self, arena: mmap.mmap) -> None:
        self._arena: Final = arena

    def window(self, region: Region) -> Window:
        return Window(self._arena, region.offset, region.length)

    def unlock(self, region: Region) -> None:
        return  # nothing is page-locked


class RamBacking(_InHostRam):
    """Host RAM that plays a GPU of `limit_bytes`: real copies, and a limit that is kept. Its first `touched_bytes` are touched
    before their first use, as a card's memory needs no touching."""

    def __init__(self, arena: mmap.mmap, limit_bytes: int, touched_bytes: int = 0, keeps_pages: bool = True) -> None:
        super().__init__(arena)
        self._memory: Final = SparseMemory("citadel-virtual-gpu", limit_bytes, keeps_pages)
        self._touching: Final = Touching(self._memory, touched_bytes)
        self._touching.start()
        self._quarantine: Final[list[tuple[Region, Window]]] = []

    @property
    def used_bytes(self) -> int:
        self._end_quarantines()
        return self._memory.taken_bytes

    def place(self, source: Region, workspace_bytes: int) -> Placement:
        self._end_quarantines()
        needed_bytes = source.length + workspace_bytes
        region = self._memory.allocate(needed_bytes)
        if region is None:
            raise over_the_limit(needed_bytes, self._memory.free_bytes, self._memory.limit_bytes)
        window = Window(self._memory.mapping, region.offset, source.length)
        return CopiedPlacement(window, self.window(source), self._copy, lambda: self._give_back(region, window))

    def _copy(self, target: torch.Tensor, source: torch.Tensor) -> float:
        started_s = time.perf_counter()
        with self._touching.paused():
            target.copy_(source)
        return time.perf_counter() - started_s

    def _give_back(self, region: Region, window: Window) -> int:
        if not window.is_held:
            self._memory.free(region)
            return 0
        # Its pages are not given up while somebody has a view: they would read zeros, or the next model's bytes.
        self._quarantine.append((region, window))
        return region.span_bytes

    def _end_quarantines(self) -> None:
        over = [kept for kept in self._quarantine if not kept[1].is_held]
        for kept in over:
            self._quarantine.remove(kept)
            self._memory.free(kept[0])


class CopiedPlacement:
    """A slab in memory of its own, copied from the RAM tier."""

    def __init__(self, views: Views, original: Window, copy: Copy, give_back: Callable[[], int]) -> None:
        self._views: Final = views
        self._original: Final = original
        self._copy: Final = copy
        self._give_back: Final = give_back

    def fill(self, reading: SlabStream) -> CopyTimes:
        def copy(begin: int, end: int) -> float:
            return self._copy(self._views.bytes[begin:end], self._original.bytes[begin:end])

        with _no_tensors_in_tracebacks():
            return follow(reading, self._original.length, copy)

    def tensor(self, entry: SlabEntry) -> torch.Tensor:
        return self._views.tensor(entry)

    def write_back(self, target: Window) -> None:
        with _no_tensors_in_tracebacks():
            self._copy(target.bytes, self._views.bytes[: target.length])

    def vacate(self) -> int:
        self._original.close()
        self._views.close()
        return self._give_back()


class HostBacking(_InHostRam):
    """The CPU device: models run from the RAM tier itself, no bytes move; only the charge is kept here."""

    def __init__(self, arena: mmap.mmap, limit_bytes: int) -> None:
        super().__init__(arena)
        self._limit_bytes: Final = limit_bytes
        self._charges: Final[dict[SharedPlacement, int]] = {}

    @property
    def used_bytes(self) -> int:
        return sum(self._charges.values())

    def place(self, source: Region, workspace_bytes: int) -> Placement:
        charge_bytes = Region(source.offset, source.length + workspace_bytes).span_bytes
        free_bytes = self._limit_bytes - self.used_bytes
        if charge_bytes > free_bytes:
            raise over_the_limit(charge_bytes, free_bytes, self._limit_bytes)
        window = self.window(source)
        placement = SharedPlacement(window, source.length, self._charges.pop)
        self._charges[placement] = charge_bytes
        return placement


class SharedPlacement:
    """A slab that others read too. Buffers are copied out of it, since some models write to theirs."""

    def __init__(self, window: Window, length: int, uncharge: Callable[[SharedPlacement], int]) -> None:
        self._window: Final = window
        self._length: Final = length
        self._uncharge: Final = uncharge

    def fill(self, reading: SlabStream) -> CopyTimes:
        reading.beyond(self._length - 1)
        return NOTHING_MOVED

    def tensor(self, entry: SlabEntry) -> torch.Tensor:
        view = self._window.tensor(entry)
        return view if entry.kind == "parameter" else view.clone()

    def write_back(self, target: Window) -> None:
        raise BadRequest("the CPU runs from the RAM tier itself; nothing is to be written back")

    def vacate(self) -> int:
        self._window.close()
        self._uncharge(self)
        return self._length if self._window.is_held else 0


@contextmanager
def _no_tensors_in_tracebacks() -> Iterator[None]:
    """An error holds its frames, and these our tensors on the slab: for as long as anybody keeps the error, the slab would look
    as if it were in use, and be quarantined."""
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise


def over_the_limit(needed_bytes: int, free_bytes: int, limit_bytes: int) -> OutOfMemory:
    """The refusal of a load that is more than what is left."""
    return OutOfMemory(
        f"out of memory: {format_size(needed_bytes)} needed, {format_room(free_bytes)} of {format_room(limit_bytes)} free"
    )
