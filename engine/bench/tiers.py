"""Bringing a model's slab to where a measured load is to start from."""

from __future__ import annotations

import asyncio
from typing import Protocol, assert_never

from engine.bench.records import FromTier, Subject
from engine.bench.switching import Switching
from engine.core.names import ModelName
from engine.core.plans import Tier


class SlabFiles(Protocol):
    """The engine's prepared slabs, as files of this machine. Both raise NotMeasured."""

    def warm(self, model: ModelName) -> None:
        """Have the whole slab in the kernel's page cache."""
        ...

    def drop(self, model: ModelName) -> None:
        """Have nothing of it there."""
        ...


async def bring_to_tier(subject: Subject, switching: Switching, files: SlabFiles) -> None:
    """Have the subject's slab at its tier and no higher; the model is off its device. Raises NotMeasured."""
    match subject.tier:
        case "resident" | "ram":
            return
        case "page-cache":
            await _crowd_out(subject, switching)
            await asyncio.to_thread(files.warm, subject.model)
        case "disk":
            await _crowd_out(subject, switching)
            await asyncio.to_thread(files.drop, subject.model)
        case _:
            assert_never(subject.tier)


def as_the_engine_says(tier: FromTier) -> Tier:
    """The engine does not know what the page cache holds."""
    return "ram" if tier in ("resident", "ram") else "disk"


def advice(tier: FromTier) -> str:
    """What to change when loads start elsewhere."""
    if as_the_engine_says(tier) == "ram":
        return "the RAM tier has no room to keep it: raise ram_tier.budget"
    return "other models did not crowd it out of the RAM tier: lower ram_tier.budget below its size for this"


async def _crowd_out(subject: Subject, switching: Switching) -> None:
    """Have the RAM tier let go of the subject's slab, by loading and evicting others in its place."""
    for name, model in (await switching.state()).models.items():
        state = await switching.state()
        if all(slab.model != subject.model for slab in state.ram.slabs):
            return
        if name == subject.model or state.of(name) or model.trouble:
            continue
        if await switching.victims(name, subject.device) == ():
            await switching.load(name, subject.device)
            await switching.take_off(name)
