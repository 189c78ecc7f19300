"""One question to NVML, through the engine's own probe: so the doctor is told what the engine would be told."""

from __future__ import annotations

import time

from msgspec import Struct

from engine.devices.cards import GpuFacts, GpuSample
from engine.devices.library import Library
from engine.devices.nvml import NvmlProbe


class NvmlAnswer(Struct, frozen=True):
    library: Library
    facts: tuple[GpuFacts, ...]
    samples: tuple[GpuSample, ...]


class _SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


async def ask_nvml() -> NvmlAnswer:
    """The state of the library, its cards, and one sample of each. Never raises."""
    probe = NvmlProbe(_SystemClock())
    await probe.open()
    samples = await probe.sample()
    await probe.close()
    return NvmlAnswer(probe.library, probe.facts, samples)
