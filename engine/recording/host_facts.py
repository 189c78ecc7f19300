"""The facts of this machine that figures depend on, asked of the system and of the packages' metadata. Never imports
torch: how it is built is not worth half a second."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from engine.bench.records import BenchedDevice, HostFacts
from engine.core.state import DeviceState

_PACKAGES: Final = ("torch", "transformers", "safetensors")


def this_machine(devices: Iterable[DeviceState]) -> HostFacts:
    return HostFacts(
        host=platform.node(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=platform.release(),
        python=platform.python_version(),
        versions={name: found for name in _PACKAGES if (found := _version(name))},
        devices=tuple(_benched(device) for device in devices),
    )


def _benched(device: DeviceState) -> BenchedDevice:
    spec = device.spec
    return BenchedDevice(spec.id, spec.title, spec.total_bytes, device.copy_bytes_per_s)


def _cpu() -> str:
    """What the kernel calls the processor; not every architecture gives it a name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
