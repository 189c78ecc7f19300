"""Brings the parts of a machine together: asks NVML, torch, the system, the disk and the configuration, and judges nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from msgspec import Struct

from engine.clock import SystemClock
from engine.devices.cards import GpuFacts, GpuSample
from engine.devices.inventory import Card, Inventory, take_inventory, unnamed_cards
from engine.devices.nvml import NvmlProbe
from engine.devices.troubles import Library
from engine.devices.visible import VISIBLE
from engine.doctor.gathering.config import ask_config
from engine.doctor.gathering.disk import ask_disk
from engine.doctor.gathering.host import ask_host, driver_cuda_version, look_for_driver
from engine.doctor.gathering.torch import ask_torch
from engine.doctor.machine import CardFacts, Config, DoctorFacts, DriverFacts, PcieLink
from engine.paths import Paths
from engine.settings.gpus import selected_cards


class Survey(Struct, frozen=True):
    """The part of a machine that is known without torch."""

    config: Config
    driver: DriverFacts
    cards: tuple[CardFacts, ...]
    hidden_cards: int
    unnamed_cards: tuple[str, ...] = ()
    """Cards that the driver counts, that do not answer and that were never seen before, and why."""
    names_trouble: str = ""
    """Why nobody knows which card had which name; empty when that is known, or there is nothing to know yet."""


class _NvmlAnswer(Struct, frozen=True):
    """What the engine's own probe has: so the doctor is told what the engine would be told."""

    library: Library
    facts: tuple[GpuFacts, ...]
    samples: tuple[GpuSample, ...]


async def gather_facts(argument: Path | None, environment: Mapping[str, str], cwd: Path, paths: Paths) -> DoctorFacts:
    """`argument` names the configuration's folder."""
    found = await survey(argument, environment, cwd, paths)
    torch = await ask_torch(environment_for_torch(environment, found))
    # after torch, whose import from the same disk would be measured as well
    disk = await asyncio.to_thread(ask_disk, paths.cache)
    return DoctorFacts(ask_host(), torch, found.driver, disk, found.config, found.cards, found.hidden_cards)


async def survey(argument: Path | None, environment: Mapping[str, str], cwd: Path, paths: Paths) -> Survey:
    answer = await _ask_nvml()
    inventory, trouble = await asyncio.to_thread(take_inventory, paths, answer.facts, SystemClock().now())
    config = ask_config(argument, environment, cwd, inventory)
    cards = _visible_cards(inventory, answer, config)
    usable = sum(not card.facts.is_partitioned for card in inventory.cards)
    unnamed = unnamed_cards(answer.library, inventory)
    return Survey(config, _driver(answer), cards, usable - len(cards), unnamed, trouble)


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


def environment_for_torch(environment: Mapping[str, str], found: Survey) -> dict[str, str]:
    """With the word of `.env`, which a process that does not read it would miss, and the cards by UUID: numbers would mean others
    where one is lost."""
    if not found.config.cuda_enabled:
        return {**environment, VISIBLE: ""}
    if uuids := [card.uuid for card in found.cards if card.ordinal is not None]:
        return {**environment, VISIBLE: ",".join(uuids)}
    chosen = found.config.cuda_visible_devices
    return dict(environment) if chosen is None else {**environment, VISIBLE: chosen}


async def _ask_nvml() -> _NvmlAnswer:
    """The state of the library, its cards, and one sample of each. Never raises."""
    probe = NvmlProbe(SystemClock())
    await probe.open()
    samples = await probe.sample()
    await probe.close()
    return _NvmlAnswer(probe.library, probe.facts, samples)


async def listed_cards() -> tuple[GpuFacts, ...]:
    """What the driver lists now."""
    return (await _ask_nvml()).facts


def _visible_cards(inventory: Inventory, answer: _NvmlAnswer, config: Config) -> tuple[CardFacts, ...]:
    """Those that the environment leaves visible, with what each said when it was read."""
    if not config.cuda_enabled:
        return ()
    by_uuid = {sample.uuid: sample for sample in answer.samples}
    lost = "the driver does not list it" if answer.library.state in ("ok", "no_devices") else answer.library.words
    chosen = selected_cards(inventory, config.cuda_visible_devices)
    ordinals = count()
    return tuple(
        _card(card, card.number, next(ordinals) if card.is_here else None, by_uuid.get(card.facts.uuid), lost)
        for card in inventory.cards
        if card.facts.uuid in chosen and card.number is not None
    )


def _card(card: Card, number: int, ordinal: int | None, sample: GpuSample | None, lost: str) -> CardFacts:
    """`lost`: why those are that are not here."""
    facts, silent = card.facts, "the driver gave no figures of it" if card.is_here else lost
    memory = sample.memory if sample else None
    return CardFacts(
        number=number,
        name=facts.name,
        uuid=facts.uuid,
        total_bytes=memory.total_bytes if memory else facts.total_bytes,
        capability=facts.capability,
        health=sample.health if sample else "failed" if card.is_here else "lost",
        reason=sample.reason if sample else silent,
        ordinal=ordinal,
        bus_id=facts.bus_id,
        lost_since_s=None if card.is_here else card.seen_s,
        pcie=PcieLink(facts.pcie_generation, facts.pcie_max_generation, facts.pcie_width, facts.pcie_max_width),
    )
