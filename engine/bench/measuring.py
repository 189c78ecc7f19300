"""Measuring switches through the engine's API: each subject brought to its tier, warmed up, and switched over and over.

What may be evicted is agreed on beforehand; a load whose plan has any other victim is left out, with the reason.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from typing import Final, TypeAlias

from msgspec import Struct

from engine.api import Done, EngineAPI, why_not_done
from engine.bench.records import Omission, Repeat, Series, Subject, repeat_of
from engine.core.commands import Evict, Load, Single, Submission, command_text
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan
from engine.core.records import Switch
from engine.core.state import State

Show: TypeAlias = Callable[[str], None]


class Protocol(Struct, frozen=True):
    """How often each subject is switched."""

    repeats: int
    warm_up: int


class NotMeasured(Exception):
    """A subject that gives no figures; the text says why."""


class Bench:
    """Measures one subject after another. Who is resident changes meanwhile; putting that back is the caller's."""

    def __init__(self, api: EngineAPI, protocol: Protocol, may_leave: Collection[ModelName], show: Show) -> None:
        self._api = api
        self._protocol = protocol
        self._may_leave = may_leave
        self._show = show

    async def measure(self, subject: Subject) -> Series | Omission:
        """The subject's repeats; the model is off its device afterwards."""
        synthetic = (await self._state()).models[subject.model].synthetic
        try:
            repeats = await self._repeats(subject)
        except NotMeasured as reason:
            return Omission(subject, synthetic, str(reason))
        model = (await self._state()).models[subject.model]  # the first load may have corrected its size
        return Series(subject, synthetic, model.footprint.weights_bytes, repeats)

    async def _repeats(self, subject: Subject) -> tuple[Repeat, ...]:
        await self._take_off(subject.model)
        await self._load(subject.model, subject.device)
        kept: list[Repeat] = []
        for number in range(-self._protocol.warm_up, self._protocol.repeats):
            turn = f"{number + 1} of {self._protocol.repeats}" if number >= 0 else "warming up"
            self._show(f"{subject.model} on {subject.device} from {subject.tier}: {turn}")
            repeat = await self._repeat(subject)
            if number >= 0:
                kept.append(repeat)
        await self._take_off(subject.model)
        return tuple(kept)

    async def _repeat(self, subject: Subject) -> Repeat:
        evicted = await self._take_off(subject.model)
        if evicted is None:
            raise NotMeasured("somebody else evicted it meanwhile")
        if subject.tier == "disk":
            await self._crowd_out(subject)
        loaded = await self._load(subject.model, subject.device)
        if loaded.tier != subject.tier:
            raise NotMeasured(f"its load started from {loaded.tier}; {_ADVICE[subject.tier]}")
        return repeat_of(evicted, loaded)

    async def _crowd_out(self, subject: Subject) -> None:
        """Have the RAM tier let go of the subject's slab, by loading and evicting others in its place."""
        before = await self._state()
        for name, model in before.models.items():
            state = await self._state()
            if all(slab.model != subject.model for slab in state.ram.slabs):
                return
            if name == subject.model or state.of(name) or model.trouble:
                continue
            if await self._victims(name, subject.device) == ():
                await self._load(name, subject.device)
                await self._take_off(name)

    async def _victims(self, model: ModelName, device: DeviceId) -> tuple[ModelName, ...] | None:
        """Who would leave for the model; None when there is no plan."""
        plan = await self._api.plan(Load(model, device))
        return tuple(victim.model for victim in plan.victims) if isinstance(plan, Plan) else None

    async def _take_off(self, model: ModelName) -> Switch | None:
        """None when it was nowhere."""
        return await self._carried_out(Evict(model)) if (await self._state()).of(model) else None

    async def _load(self, model: ModelName, device: DeviceId) -> Switch:
        command = Load(model, device)
        plan = await self._api.plan(command)
        if not isinstance(plan, Plan):
            raise NotMeasured(plan.reason)
        others = [victim.model for victim in plan.victims if victim.model not in self._may_leave]
        if others:
            raise NotMeasured(f"{', '.join(others)} would have to leave for it, which nobody agreed to")
        switch = await self._carried_out(command, plan.effects)
        if switch is None:
            raise NotMeasured(f"somebody else loaded {model} meanwhile")
        return switch

    async def _carried_out(self, command: Single, confirmed: str | None = None) -> Switch | None:
        answer = await self._api.submit(Submission(f"bench-{uuid.uuid4()}", command, "trial", confirmed))
        if isinstance(answer, Done):
            return answer.switch
        raise NotMeasured(f"{command_text(command)}: {why_not_done(answer)}")

    async def _state(self) -> State:
        return (await self._api.snapshot()).state


_ADVICE: Final = {
    "ram": "the RAM tier has no room to keep it: raise ram_tier.budget",
    "disk": "too few other models fit beside it to crowd it out of the RAM tier: lower ram_tier.max_models",
}
