"""Which torch runs on which card: the architectures that a build carries, and the last build on PyPI for an old card.

Pure rules. A card runs machine code (`sm_XY`) of its own major capability and of no later minor one, and compiles
intermediate code (`compute_XY`) of any capability up to its own; both are from "Application Compatibility" in NVIDIA's CUDA
programming guide. So sm_60 runs on a GT 1030, which is 6.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from engine.doctor.machine import Capability

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
