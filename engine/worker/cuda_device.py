"""A CUDA device as the worker uses it: the few operations that CudaBacking is built on, and PyTorch's way of doing them.

Nothing here decides anything, so that what does is tested on a scripted device. The process sees one card only (`see_only`):
then no thread, library or default can make a context on another by accident.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import MutableMapping
from typing import Final, Protocol, SupportsInt

import torch
from msgspec import Struct

from engine.devices.visible import VISIBLE
from engine.worker.errors import DeviceUnsupported, DeviceUnusable, OutOfMemory, StaleLock, in_short
from engine.worker.running import is_shortage

PREFIX: Final = "cuda:"
ONLY_CARD: Final = "cuda:0"
"""The card's name once it is the only one that the process sees."""
NO_KERNELS: Final = "no kernel image is available"
"""CUDA's words where torch was built for other kinds of card: no other process will fare better."""
ALREADY_REGISTERED: Final = 712
"""cudaErrorHostMemoryAlreadyRegistered."""
_WARM_SIZE: Final = 64


class Figures(Struct, frozen=True):
    """A card's memory at one moment."""

    total_bytes: int
    free_bytes: int
    """On the whole card, whoever uses the rest."""
    reserved_bytes: int
    """Taken from the driver by this process for tensors, whether in use or kept for later."""
    allocated_bytes: int
    """Of that, in use."""

    @property
    def kept_bytes(self) -> int:
        """Not in use, and not given back either."""
        return self.reserved_bytes - self.allocated_bytes


class CudaDevice(Protocol):
    """What one card can be asked to do. Every call but `open` needs an open one."""

    def open(self) -> int | None:
        """Make the process's context. What it takes, or None when nobody can tell. May be tried again after OutOfMemory,
        which says that the card was full just then; DeviceUnusable says that this process can't use it,
        DeviceUnsupported that none can."""
        ...

    def cap(self, limit_bytes: int) -> None:
        """Let this process's tensors take no more than so much."""
        ...

    def allocate(self, length: int) -> torch.Tensor:
        """Bytes that share no segment with what running models take. Raises torch.OutOfMemoryError."""
        ...

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> float:
        """Copy bytes to the card or back from it, beside running models; the seconds until all had arrived."""
        ...

    def collect(self) -> None:
        """Wait for what runs, then give the driver back all that is not in use."""
        ...

    def figures(self) -> Figures: ...

    def restart_peak(self) -> int:
        """Begin to look for the peak of allocated bytes; what is allocated now."""
        ...

    def peak_bytes(self) -> int:
        """The most that was allocated at once since `restart_peak`."""
        ...

    def lock_pages(self, address: int, length: int) -> None:
        """Page-lock host memory for faster copies. Raises PagesNotLocked, and StaleLock when part of it is locked already."""
        ...

    def unlock_pages(self, address: int) -> None: ...


class PagesNotLocked(Exception):
    """The driver would not lock the pages; the text says why."""


class TorchCuda:
    """A card through PyTorch. CUDA is initialised by `open`, not before: the fork server never may."""

    def __init__(self, index: int) -> None:
        self._device: Final = torch.device("cuda", index)
        self._stream: torch.cuda.Stream | None = None
        self._before_bytes: int | None = None
        """In use on the card before this process first touched it."""

    def open(self) -> int | None:
        # A context that found too little memory half-way keeps what it has: a second try must count that as its own.
        if self._before_bytes is None:
            self._before_bytes = _card_used_bytes(self._device)
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            _load_kernels(self._device)
        except (AssertionError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and is_shortage(error):
                raise OutOfMemory(
                    "out of memory: the card had no room for a CUDA context just now. Others hold it; try again when they"
                    " have given memory back"
                ) from error
            reason = f"CUDA can't be used: {in_short(error)}. `citadel doctor` says what to do"
            raise (DeviceUnsupported if NO_KERNELS in str(error) else DeviceUnusable)(reason) from error
        after_bytes = _card_used_bytes(self._device)
        if self._before_bytes is None or after_bytes is None:
            return None
        taken_bytes = after_bytes - self._before_bytes - torch.cuda.memory_reserved(self._device)
        return taken_bytes if taken_bytes > 0 else None  # others came or went meanwhile

    def cap(self, limit_bytes: int) -> None:
        share = limit_bytes / self.figures().total_bytes
        torch.cuda.set_per_process_memory_fraction(min(max(share, 0.0), 1.0), self._device)

    def allocate(self, length: int) -> torch.Tensor:
        with torch.cuda.stream(self._stream):  # the allocator keeps apart what belongs to different streams
            return torch.empty(length, dtype=torch.uint8, device=self._device)

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            begin.record()
            target.copy_(source, non_blocking=True)
            end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000

    def collect(self) -> None:
        torch.cuda.synchronize(self._device)
        with torch.cuda.device(self._device):
            torch.cuda.empty_cache()

    def figures(self) -> Figures:
        free_bytes, total_bytes = torch.cuda.mem_get_info(self._device)
        reserved_bytes = torch.cuda.memory_reserved(self._device)
        return Figures(total_bytes, free_bytes, reserved_bytes, torch.cuda.memory_allocated(self._device))

    def restart_peak(self) -> int:
        torch.cuda.reset_peak_memory_stats(self._device)
        return torch.cuda.memory_allocated(self._device)

    def peak_bytes(self) -> int:
        return torch.cuda.max_memory_allocated(self._device)

    def lock_pages(self, address: int, length: int) -> None:
        with torch.cuda.device(self._device):
            self._check(torch.cuda.cudart().cudaHostRegister(address, length, 0))  # type: ignore[no-untyped-call]

    def unlock_pages(self, address: int) -> None:
        with torch.cuda.device(self._device):
            self._check(torch.cuda.cudart().cudaHostUnregister(address))  # type: ignore[no-untyped-call]

    def _check(self, status: SupportsInt) -> None:
        if code := int(status):
            with contextlib.suppress(RuntimeError):
                torch.ones(1, device=self._device)  # takes the error away, which the next kernel would be blamed for
            if code == ALREADY_REGISTERED:
                raise StaleLock(
                    "the driver still holds a page-lock on memory that was given up: what was copied from there may be wrong"
                )
            raise PagesNotLocked(str(torch.cuda.CudaError(code)))


def cuda_ordinal(backing: str) -> int | None:
    """N of `cuda:N`, or None for another backing."""
    number = backing.removeprefix(PREFIX)
    return int(number) if backing.startswith(PREFIX) and number.isdecimal() else None


def see_only(ordinal: int, environ: MutableMapping[str, str] = os.environ) -> None:
    """Hide every card but the Nth visible one, which then is `cuda:0`. To be called before CUDA is initialised."""
    visible = environ.get(VISIBLE)
    if visible is None:
        environ[VISIBLE] = str(ordinal)
    else:
        names = visible.split(",")
        environ[VISIBLE] = names[ordinal].strip() if ordinal < len(names) else ""


def _load_kernels(device: torch.device) -> None:
    """A first product, so that the context is measured with what every model needs: cuBLAS and the first kernels."""
    square = torch.zeros((_WARM_SIZE, _WARM_SIZE), device=device)
    torch.mm(square, square)
    torch.cuda.synchronize(device)


def _card_used_bytes(device: torch.device) -> int | None:
    """What NVML says, the only one who can be asked before there is a context."""
    try:
        return torch.cuda.device_memory_used(device)
    except Exception:  # pynvml may be missing, and its errors' class with it; then nobody can tell
        return None
