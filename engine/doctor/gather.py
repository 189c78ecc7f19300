"""Brings the parts of a machine together: asks NVML, torch, the system, the disk and the configuration, and judges nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from engine.devices.visible import VISIBLE
from engine.doctor.gathering.config import ask_config
from engine.doctor.gathering.disk import ask_disk
from engine.doctor.gathering.host import ask_host, driver_cuda_version, look_for_driver
from engine.doctor.gathering.nvml import NvmlAnswer, ask_nvml, visible_cards
from engine.doctor.gathering.torch import ask_torch
from engine.doctor.machine import CardFacts, Config, DoctorFacts, DriverFacts


class Survey(Struct, frozen=True):
    """The part of a machine that is known without torch."""

    config: Config
    driver: DriverFacts
    cards: tuple[CardFacts, ...]
    hidden_cards: int


async def gather_facts(argument: Path | None, environment: Mapping[str, str], cwd: Path, cache: Path) -> DoctorFacts:
    """`argument` names the configuration's folder, `cache` the folder of prepared models."""
    found = await survey(argument, environment, cwd)
    torch = await ask_torch(environment_for_torch(environment, found.config))
    # after torch, whose import from the same disk would be measured as well
    disk = await asyncio.to_thread(ask_disk, cache)
    return DoctorFacts(ask_host(), torch, found.driver, disk, found.config, found.cards, found.hidden_cards)


async def survey(argument: Path | None, environment: Mapping[str, str], cwd: Path) -> Survey:
    answer = await ask_nvml()
    config = ask_config(argument, environment, cwd, answer.facts)
    cards = visible_cards(answer.facts, answer.samples, config)
    usable = sum(not facts.is_partitioned for facts in answer.facts)
    return Survey(config, _driver(answer), cards, usable - len(cards))


def _driver(answer: NvmlAnswer) -> DriverFacts:
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
