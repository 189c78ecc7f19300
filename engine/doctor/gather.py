"""Brings the parts of a machine together: asks NVML, torch, the system, the disk and the configuration, and judges nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from engine.clock import SystemClock
from engine.devices.cards import GpuFacts, GpuSample
from engine.devices.nvml import NvmlProbe
from engine.devices.troubles import Library
from engine.devices.visible import VISIBLE, visible
from engine.doctor.gathering.config import ask_config
from engine.doctor.gathering.disk import ask_disk
from engine.doctor.gathering.host import ask_host, driver_cuda_version, look_for_driver
from engine.doctor.gathering.torch import ask_torch
from engine.doctor.machine import CardFacts, Config, DoctorFacts, DriverFacts, PcieLink


class Survey(Struct, frozen=True):
    """The part of a machine that is known without torch."""

    config: Config
    driver: DriverFacts
    cards: tuple[CardFacts, ...]
    hidden_cards: int


class _NvmlAnswer(Struct, frozen=True):
    """What the engine's own probe has: so the doctor is told what the engine would be told."""

    library: Library
    facts: tuple[GpuFacts, ...]
    samples: tuple[GpuSample, ...]


async def gather_facts(argument: Path | None, environment: Mapping[str, str], cwd: Path, cache: Path) -> DoctorFacts:
    """`argument` names the configuration's folder, `cache` the folder of prepared models."""
    found = await survey(argument, environment, cwd)
    torch = await ask_torch(environment_for_torch(environment, found.config))
    # after torch, whose import from the same disk would be measured as well
    disk = await asyncio.to_thread(ask_disk, cache)
    return DoctorFacts(ask_host(), torch, found.driver, disk, found.config, found.cards, found.hidden_cards)


async def survey(argument: Path | None, environment: Mapping[str, str], cwd: Path) -> Survey:
    answer = await _ask_nvml()
    config = ask_config(argument, environment, cwd, answer.facts)
    cards = _visible_cards(answer.facts, answer.samples, config)
    usable = sum(not facts.is_partitioned for facts in answer.facts)
    return Survey(config, _driver(answer), cards, usable - len(cards))


def _driver(answer: _NvmlAnswer) -> DriverFacts:
    library, traces = answer.library, look_for_driver()
    return DriverFacts(
        state=library.state,
        words=library.words,
        cards=sum(not facts.is_mig for facts in answer.facts),
        silent_cards=library.silent_cards,
        version=library.driver_version,
        kernel_version=traces.kernel_version,
        cuda=driver_cuda_version(),
        nouveau=traces.nouveau,
        pci_cards=traces.pci_cards,
        nodes=traces.nodes,
        forbidden_nodes=traces.forbidden_nodes,
    )


def environment_for_torch(environment: Mapping[str, str], config: Config) -> dict[str, str]:
    """With the word of `.env`, which a process that does not read it would miss."""
    if not config.cuda_enabled:
        return {**environment, VISIBLE: ""}
    if config.cuda_visible_devices is None:
        return dict(environment)
    return {**environment, VISIBLE: config.cuda_visible_devices}


async def _ask_nvml() -> _NvmlAnswer:
    """The state of the library, its cards, and one sample of each. Never raises."""
    probe = NvmlProbe(SystemClock())
    await probe.open()
    samples = await probe.sample()
    await probe.close()
    return _NvmlAnswer(probe.library, probe.facts, samples)


def _visible_cards(facts: Sequence[GpuFacts], samples: Sequence[GpuSample], config: Config) -> tuple[CardFacts, ...]:
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
