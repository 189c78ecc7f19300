"""The host's own memory, which the CPU device and the virtual GPUs are slices of."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

_MEMINFO: Final = Path("/proc/meminfo")


class HostMemory(Struct, frozen=True):
    total_bytes: int
    available_bytes: int
    """What could be taken without swapping, as the kernel estimates it."""


def read_host_memory(meminfo: Path = _MEMINFO) -> HostMemory:
    """The kernel's figures. Raises OSError or ValueError where there is no such file, or none that can be read."""
    figures = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    try:
        total_kib, available_kib = (int(figures[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    except (KeyError, IndexError) as error:
        raise ValueError(f"{meminfo} does not say {error}") from None
    return HostMemory(total_kib << 10, available_kib << 10)


def external_bytes(limit_bytes: int, used_bytes: int, host: HostMemory) -> int:
    """How much of a slice of host RAM of `limit_bytes`, of which we use `used_bytes`, others have taken already.

    The slice is not set aside: when the host has less available than the slice has left, the difference is somebody else's.
    """
    return max(0, limit_bytes - used_bytes - host.available_bytes)
