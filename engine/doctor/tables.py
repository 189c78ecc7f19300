"""Which driver a CUDA version needs and how a distribution installs one; what a card computes fast, and which torch runs on it.
Pure tables and rules.

Which formats a card computes fast: from NVIDIA's CUDA C++ programming guide, "Throughput of Native Arithmetic Instructions" and
the data types of tensor cores under "Compute Capabilities". Half precision runs at twice the single-precision rate on 5.3, 6.0
and 6.2, at 1/64 of it on 6.1 (2 against 128 results a clock), and in tensor cores from 7.0; bfloat16 and TF32 in tensor cores
from 8.0; 8-bit integers by a four-way dot product (dp4a) from 6.1 and in tensor cores from 7.2; 8-bit floats from 8.9, 4-bit
floats from 10.0.

Which torch runs on which card: a card runs machine code (`sm_XY`) of its own major capability and of no later minor one, and
compiles intermediate code (`compute_XY`) of any capability up to its own; both are from "Application Compatibility" in the same
guide. So sm_60 runs on a GT 1030, which is 6.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from engine.doctor.machine import Capability

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


_HALF_BEFORE_TENSOR_CORES: Final = ((5, 3), (6, 0), (6, 2))


def fast_dtypes(card: Capability) -> tuple[str, ...]:
    """Formats in which computing is at least as fast as in float32; one that is left out may still work, slowly."""
    fast = {
        "float32": True,
        "tf32": card >= (8, 0),
        "float16": card >= (7, 0) or card in _HALF_BEFORE_TENSOR_CORES,
        "bfloat16": card >= (8, 0),
        "int8": card >= (6, 1),
        "float8": card >= (8, 9),
        "float4": card >= (10, 0),
    }
    return tuple(dtype for dtype, is_fast in fast.items() if is_fast)


_ARCHITECTURE: Final = re.compile(r"(?P<kind>sm|compute)_(?P<major>\d+)(?P<minor>\d)(?P<family>[af]?)")


class TorchBuild(Struct, frozen=True):
    """A torch on PyPI, for Linux on x86-64."""

    requirement: str
    cuda: str
    oldest: Capability
    newest: Capability
    newest_python: tuple[int, int]
    """The last Python that it has wheels for."""

    @property
    def cuda_major(self) -> int:
        return int(self.cuda.split(".")[0])


BUILDS: Final = (
    TorchBuild("torch>=2.11", "13", (7, 5), (12, 1), (3, 14)),
    TorchBuild("torch==2.10.0", "12.8", (7, 0), (12, 1), (3, 14)),
    TorchBuild("torch==2.7.1", "12.6", (5, 0), (9, 0), (3, 13)),
)
"""Newest first. 2.11 came with CUDA 13, which ends before Turing (7.5); 2.8 with CUDA 12.8, built without Maxwell and
Pascal; 2.7.1 is the last with sm_50 and sm_60."""

LAST_PASCAL_DRIVER: Final = 580
"""Branch 580 is the last that drives Maxwell, Pascal and Volta; 590 and later see none of them."""


def runs_on(architectures: Iterable[str], card: Capability) -> bool:
    """Whether a build with these architectures has code that `card` can execute."""
    return any(_carries(architecture, card) for architecture in architectures)


def build_for(cards: Iterable[Capability], newest_cuda: int | None = None) -> TorchBuild | None:
    """The newest build that runs on all of `cards` with at most this major CUDA version, or None when no single one does."""
    wanted = list(cards)
    fitting = (b for b in BUILDS if all(b.oldest <= card <= b.newest for card in wanted))
    return next((b for b in fitting if newest_cuda is None or b.cuda_major <= newest_cuda), None)


def _carries(architecture: str, card: Capability) -> bool:
    match = _ARCHITECTURE.fullmatch(architecture)
    if match is None:
        return False
    built = (int(match["major"]), int(match["minor"]))
    if match["family"] == "a":  # code for one capability only
        return built == card
    if match["kind"] == "compute" and not match["family"]:
        return built <= card
    return built[0] == card[0] and built <= card
