"""The cards as NVML describes them, in the order in which CUDA will count them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.devices.cards import GpuFacts, GpuSample
from engine.devices.visible import visible
from engine.doctor.machine import Card, Config, PcieLink


def visible_cards(facts: Sequence[GpuFacts], samples: Sequence[GpuSample], config: Config) -> tuple[Card, ...]:
    """Those that the environment leaves visible, by CUDA ordinal, with what each said when it was read."""
    if not config.cuda_enabled:
        return ()
    by_uuid = {sample.uuid: sample for sample in samples}
    chosen = visible(tuple(facts), config.cuda_visible_devices)
    return tuple(_card(ordinal, fact, by_uuid) for ordinal, fact in enumerate(chosen))


def _card(ordinal: int, facts: GpuFacts, samples: Mapping[str, GpuSample]) -> Card:
    sample = samples.get(facts.uuid)
    return Card(
        ordinal=ordinal,
        name=facts.name,
        uuid=facts.uuid,
        total_bytes=facts.total_bytes,
        capability=facts.capability,
        health=sample.health if sample else "failed",
        reason=sample.reason if sample else "the driver gave no figures of it",
        pcie=PcieLink(facts.pcie_generation, facts.pcie_max_generation, facts.pcie_width, facts.pcie_max_width),
    )
