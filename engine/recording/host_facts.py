"""The facts of this machine that recorded figures depend on, asked of the system and of the packages' metadata. Never imports
torch: how it is built is not worth half a second."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.core.names import DeviceId
from engine.core.state import DeviceState

_PACKAGES: Final = ("torch", "transformers", "safetensors")


class DeviceFacts(Struct, frozen=True):
    """A device as it was at that moment."""

    id: DeviceId
    title: str
    total_bytes: int
    copy_bytes_per_s: float | None
    """The fastest copy from the RAM tier that the engine has seen there."""


class HostFacts(Struct, frozen=True):
    """What figures depend on."""

    host: str
    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    versions: dict[str, str]
    """Of torch and its company, as they are installed."""
    devices: tuple[DeviceFacts, ...]
    sample_s: float | None = None
    """Seconds between two readings of a device by the engine meanwhile; None where it was not asked to keep quiet."""


def this_machine(devices: Iterable[DeviceState]) -> HostFacts:
    return HostFacts(
        host=platform.node(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=platform.release(),
        python=platform.python_version(),
        versions={name: found for name in _PACKAGES if (found := _version(name))},
        devices=tuple(_device_facts(device) for device in devices),
    )


def _device_facts(device: DeviceState) -> DeviceFacts:
    spec = device.spec
    return DeviceFacts(spec.id, spec.title, spec.total_bytes, device.copy_bytes_per_s)


def _cpu() -> str:
    """What the kernel calls the processor; not every architecture gives it a name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _version(package: str) -> str:
    # Late: the facts' types are read by every command, and this import takes as long as all of theirs.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""
