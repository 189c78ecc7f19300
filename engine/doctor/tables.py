"""Which driver a CUDA version needs, and how a distribution installs one. Pure tables."""

from __future__ import annotations

from typing import Final

OLDEST_DRIVER: Final = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
"""By major CUDA version, the first Linux driver that runs programs built for any of its minor versions ("CUDA Compatibility",
NVIDIA: minor version compatibility)."""

_INSTALL: Final = {
    "ubuntu": "`sudo ubuntu-drivers install nvidia:580`",
    "debian": "`sudo apt install nvidia-driver` (from the non-free section)",
    "fedora": "`sudo dnf install akmod-nvidia` (from RPM Fusion)",
    "arch": "`sudo pacman -S nvidia`",
}


def install_driver(system: str) -> str:
    """How the distribution `system` installs a driver, in words with a command."""
    command = _INSTALL.get(system, "the way your distribution does it")
    return (
        f"Install the NVIDIA driver, branch 580 or newer (580 exactly for cards before Turing): {command}, then reboot"
    )


def driver_for(cuda_major: int) -> str:
    """The oldest driver version for `cuda_major`, or words for one that the table does not know."""
    return OLDEST_DRIVER.get(cuda_major, f"a version that runs CUDA {cuda_major}")
