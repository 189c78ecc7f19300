"""What the kernel, the PCI bus, /dev and libcuda say of the driver, beside NVML. `root` stands for `/`."""

from __future__ import annotations

import ctypes
import os
import re
import stat
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.doctor.gathering.host import read_text

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
