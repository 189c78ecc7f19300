"""What a benchmark is to measure, and who has to leave a device for it: asked before the minutes of measuring."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

from msgspec import Struct

from engine.api import EngineAPI, EngineError, UnknownModel
from engine.bench.records import FromTier, Subject
from engine.core.commands import Load
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import Plan
from engine.core.state import Resident, State


class Chosen(Struct, frozen=True):
    """Every one of `models`, or pair of them, on every one of `devices` from every one of `tiers`."""

    models: tuple[ModelName, ...]
    devices: tuple[DeviceId, ...]
    tiers: tuple[FromTier, ...]
    pairs: bool = False
    """Every model out for every other, not only for itself."""

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What there is to measure, each once; on a ready model nobody leaves for anybody."""
        switches = list(permutations(self.models, 2)) if self.pairs else [("", name) for name in self.models]
        wanted = product(switches, self.devices, self.tiers)
        every = (Subject(name, at, tier, "" if tier == "resident" else out) for (out, name), at, tier in wanted)
        return tuple(dict.fromkeys(every))


def gpus_of(state: State) -> tuple[DeviceId, ...]:
    """The devices that are measured when nobody names any: the GPUs, or the CPU where there is none."""
    return tuple(device for device in state.devices if device != CPU) or (CPU,)


def subjects_of(state: State, chosen: Chosen) -> tuple[Subject, ...]:
    """What there is to measure. Raises UnknownModel, and EngineError for a device that is not there."""
    for name in chosen.models:
        if name not in state.models:
            raise UnknownModel(f"the catalog has no model {name!r}; it has {', '.join(state.models)}")
    for device in chosen.devices:
        if device not in state.devices:
            raise EngineError(f"there is no device {device}; there are {', '.join(state.devices)}")
    return chosen.subjects


async def touched(api: EngineAPI, state: State, subjects: Sequence[Subject]) -> list[Resident]:
    """The residents that measuring takes off their devices: the subjects themselves, and who must make room for them."""
    moved = {(name, s.device) for s in subjects for name in (s.model, s.leaving) if name}
    leaving = {name for name, _ in moved}
    for name, device in sorted(moved):
        plan = await api.plan(Load(name, device))
        if isinstance(plan, Plan):
            leaving |= {victim.model for victim in plan.victims}
    return [resident for resident in state.residents if resident.model in leaving]
