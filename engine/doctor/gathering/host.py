"""The system's own files and limits, and what the kernel, the PCI bus, /dev and libcuda say of the driver, beside NVML. `root`
stands for `/`, so that tests can bring a system of their own."""

from __future__ import annotations

import ctypes
import getpass
import os
import re
import resource
import stat
import sys
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.devices.control_groups import memory_limits
from engine.doctor.machine import Host

_CONTAINER_FILES: Final = {".dockerenv": "docker", "run/.containerenv": "podman"}
_CONTAINER_GROUPS: Final = ("docker", "kubepods", "containerd", "libpod", "lxc")


def ask_host(root: Path = Path("/")) -> Host:
    limit_bytes, _hard_bytes = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    version = sys.version_info
    return Host(
        python=(version.major, version.minor, version.micro),
        executable=sys.executable,
        system=_system(root),
        user=_user(),
        container=_container(root),
        memory_limit=min(memory_limits(root), key=lambda limit: limit.limit_bytes, default=None),
        shm_bytes=_size(root / "dev/shm"),
        memlock_bytes=None if limit_bytes == resource.RLIM_INFINITY else limit_bytes,
    )


def read_text(path: Path) -> str:
    """The file's text; empty when it is not there or not ours to read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _system(root: Path) -> str:
    lines = read_text(root / "etc/os-release").splitlines()
    return next((line.partition("=")[2].strip("\"'") for line in lines if line.startswith("ID=")), "")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have them
        return ""


def _container(root: Path) -> str:
    """The hint that says that this is a container, or nothing."""
    marks = (name for file, name in _CONTAINER_FILES.items() if (root / file).exists())
    groups = read_text(root / "proc/self/cgroup")
    return next(marks, next((name for name in _CONTAINER_GROUPS if name in groups), ""))


def _size(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_frsize * found.f_blocks


_NVIDIA: Final = "0x10de"
_DISPLAY: Final = "0x03"
"""Class of VGA and 3D controllers; the cards' sound devices have another."""
_MODULE: Final = re.compile(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s")
_CUDA_LIBRARY: Final = "libcuda.so.1"


class DriverTraces(Struct, frozen=True):
    """What can be seen of a driver without asking it."""

    kernel_version: str | None
    nouveau: bool
    pci_cards: int
    nodes: tuple[str, ...]
    forbidden_nodes: tuple[str, ...]


def look_for_driver(root: Path = Path("/")) -> DriverTraces:
    module = _MODULE.search(read_text(root / "proc/driver/nvidia/version"))
    paths = [path for path in sorted((root / "dev").glob("nvidia*")) if _is_device(path)]
    return DriverTraces(
        kernel_version=module[1] if module else None,
        nouveau=(root / "sys/module/nouveau").is_dir(),
        pci_cards=sum(_is_card(device) for device in (root / "sys/bus/pci/devices").glob("*")),
        nodes=tuple(f"/dev/{path.name}" for path in paths),
        forbidden_nodes=tuple(f"/dev/{path.name}" for path in paths if not os.access(path, os.R_OK | os.W_OK)),
    )


def driver_cuda_version() -> tuple[int, int] | None:
    """The newest CUDA version that the driver runs, as its own library tells it; None when that can't be loaded.

    Asking for the version starts no CUDA in this process.
    """
    number = ctypes.c_int()
    try:
        failed = ctypes.CDLL(_CUDA_LIBRARY).cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return None if failed else (number.value // 1000, number.value % 1000 // 10)


def _is_card(device: Path) -> bool:
    return read_text(device / "vendor").strip() == _NVIDIA and read_text(device / "class").startswith(_DISPLAY)


def _is_device(path: Path) -> bool:
    return stat.S_ISCHR(path.stat().st_mode)
