"""One question to NVML, through the engine's own probe: so the doctor is told what the engine would be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from engine.clock import SystemClock
from engine.devices.cards import GpuFacts, GpuSample
from engine.devices.nvml import NvmlProbe
from engine.devices.troubles import Library
from engine.devices.visible import visible
from engine.doctor.machine import CardFacts, Config, PcieLink


class NvmlAnswer(Struct, frozen=True):
    library: Library
    facts: tuple[GpuFacts, ...]
    samples: tuple[GpuSample, ...]


async def ask_nvml() -> NvmlAnswer:
    """The state of the library, its cards, and one sample of each. Never raises."""
    probe = NvmlProbe(SystemClock())
    await probe.open()
    samples = await probe.sample()
    await probe.close()
    return NvmlAnswer(probe.library, probe.facts, samples)


def visible_cards(facts: Sequence[GpuFacts], samples: Sequence[GpuSample], config: Config) -> tuple[CardFacts, ...]:
    """Those that the environment leaves visible, by CUDA ordinal, with what each said when it was read."""
    if not config.cuda_enabled:
        return ()
    by_uuid = {sample.uuid: sample for sample in samples}
    chosen = visible(tuple(facts), config.cuda_visible_devices)
    return tuple(_card(ordinal, fact, by_uuid) for ordinal, fact in enumerate(chosen))


def _card(ordinal: int, facts: GpuFacts, samples: Mapping[str, GpuSample]) -> CardFacts:
    sample = samples.get(facts.uuid)
    return CardFacts(
        ordinal=ordinal,
        name=facts.name,
        uuid=facts.uuid,
        total_bytes=facts.total_bytes,
        capability=facts.capability,
        health=sample.health if sample else "failed",
        reason=sample.reason if sample else "the driver gave no figures of it",
        pcie=PcieLink(facts.pcie_generation, facts.pcie_max_generation, facts.pcie_width, facts.pcie_max_width),
    )
