"""Measuring through the engine's API: each subject brought to its tier, warmed up, and switched over and over.

What may be evicted is agreed on beforehand; a load whose plan has any other victim is left out, with the reason.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, Protocol, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from engine.api import Answer, Done, EngineAPI, EngineError, why_not_done
from engine.bench.records import BenchSubject, FromTier, NotMeasured, Omission, Repeat, Series, repeat_of
from engine.core.commands import Evict, Load, Single, Submission
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan, Tier
from engine.core.records import Switch
from engine.core.state import State
from engine.core.tasks import sample_task


class Switching:
    """Carries commands out one by one. Every method that moves a model raises NotMeasured when that does not happen."""

    def __init__(self, api: EngineAPI, may_leave: Collection[ModelName]) -> None:
        self._api: Final = api
        self._may_leave: Final = may_leave

    async def state(self) -> State:
        return (await self._api.snapshot()).state

    async def victims(self, model: ModelName, device: DeviceId) -> tuple[ModelName, ...] | None:
        """Who would leave for the model; None when there is no plan."""
        plan = await self._api.plan(Load(model, device))
        return tuple(victim.model for victim in plan.victims) if isinstance(plan, Plan) else None

    async def take_off(self, model: ModelName) -> Switch | None:
        """None when it was nowhere."""
        return await self._carried_out(Evict(model)) if (await self.state()).of(model) else None

    async def load(self, model: ModelName, device: DeviceId | None) -> Switch | None:
        """None when it was there already. Where it is all the same, the engine chooses the device."""
        command = Load(model, device)
        return await self._carried_out(command, (await self.agreed_plan(command)).effects)

    async def agreed_plan(self, command: Load) -> Plan:
        """What the load would do now; nobody leaves but who may."""
        plan = await self._api.plan(command)
        if not isinstance(plan, Plan):
            raise NotMeasured(plan.reason)
        others = [victim.model for victim in plan.victims if victim.model not in self._may_leave]
        if others:
            raise NotMeasured(f"{', '.join(others)} would have to leave for it, which nobody agreed to")
        return plan

    async def _carried_out(self, command: Single, confirmed: str | None = None) -> Switch | None:
        answer = await self._answer(Submission(f"bench-{uuid.uuid4()}", command, "trial", confirmed))
        if isinstance(answer, Done):
            return answer.switch
        raise NotMeasured(f"{command.__struct_config__.tag} {command.model}: {why_not_done(answer)}")

    async def _answer(self, submission: Submission) -> Answer:
        """What came of it. When nobody wants to know any more, the command is taken back."""
        try:
            return await self._api.submit(submission)
        except asyncio.CancelledError:
            # It outlives the wait for it, and must have ended before anything is put back.
            await self._api.cancel(submission.id)
            await self._api.submit(submission)
            raise


class SlabFiles(Protocol):
    """The engine's prepared slabs, as files of this machine. Both raise NotMeasured."""

    def warm(self, model: ModelName) -> None:
        """Have the whole slab in the kernel's page cache."""
        ...

    def drop(self, model: ModelName) -> None:
        """Have nothing of it there."""
        ...


async def bring_to_tier(subject: BenchSubject, switching: Switching, files: SlabFiles) -> None:
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


async def _crowd_out(subject: BenchSubject, switching: Switching) -> None:
    """Have the RAM tier let go of the subject's slab, by loading and evicting others in its place."""
    # No command drops a slab, and none should be made for this: what is measured is the engine as its operators have it.
    for name, model in (await switching.state()).models.items():
        state = await switching.state()
        if all(slab.model != subject.model for slab in state.ram.slabs):
            return
        if name == subject.model or state.of(name) or model.trouble:
            continue
        if await switching.victims(name, subject.device) == ():
            await switching.load(name, subject.device)
            await switching.take_off(name)


_TEXT: Final = "a cat sits on the mat"


class Schedule(Struct, frozen=True):
    """How often each subject is measured."""

    repeats: int
    warm_up: int


class Progress(Struct, frozen=True):
    """Where a measurement is."""

    subject: BenchSubject
    turn: str
    """Which repeat is under way: "warming up", "3 of 7"."""
    seconds: tuple[float, ...]
    """Of the repeats that are done."""


Show: TypeAlias = Callable[[Progress], None]


class Bench:
    """Measures one subject after another. Who is resident changes meanwhile; putting that back is the caller's."""

    def __init__(
        self, api: EngineAPI, schedule: Schedule, may_leave: Collection[ModelName], files: SlabFiles, show: Show
    ) -> None:
        self._api = api
        self._switching = Switching(api, may_leave)
        self._schedule = schedule
        self._files = files
        self._show = show

    async def measure(self, subject: BenchSubject) -> Series | Omission:
        """The subject's figures; its models are off their device afterwards."""
        synthetic = (await self._switching.state()).models[subject.model].synthetic
        found: Series | Omission
        try:
            found = await self._repeated(Series(subject, synthetic, 0, ()))
        except NotMeasured as reason:
            found = Omission(subject, synthetic, str(reason))
        for model in filter(None, (subject.model, subject.leaving)):
            with suppress(NotMeasured):  # the figures stand, whether it has left or not
                await self._switching.take_off(model)
        return found

    async def _repeated(self, series: Series) -> Series:
        """`series` with its repeats and requests, and the size that the first load may have corrected."""
        subject = series.subject
        # A first load, outside the repeats: it prepares, if need be, and each repeat begins with taking the model off.
        await self._switching.take_off(subject.model)
        await self._switching.load(subject.model, subject.device)
        for number in range(-self._schedule.warm_up, self._schedule.repeats):
            turn = f"{number + 1} of {self._schedule.repeats}" if number >= 0 else "warming up"
            self._show(Progress(subject, turn, series.seconds))
            once = await self._once(series)
            if number >= 0:
                series = once
        model = (await self._switching.state()).models[subject.model]
        return replace(series, weights_bytes=model.footprint.weights_bytes)

    async def _once(self, series: Series) -> Series:
        """`series` and one figure more."""
        if series.subject.tier == "resident":
            return replace(series, requests_s=(*series.requests_s, await self._request(series.subject.model)))
        return replace(series, repeats=(*series.repeats, await self._switched(series.subject)))

    async def _switched(self, subject: BenchSubject) -> Repeat:
        if subject.leaving:
            await self._switching.take_off(subject.model)
            await self._switching.load(subject.leaving, subject.device)
        evicted = await self._switching.take_off(subject.leaving or subject.model)
        if evicted is None:
            raise NotMeasured("somebody else evicted it meanwhile")
        await bring_to_tier(subject, self._switching, self._files)
        loaded = await self._switching.load(subject.model, subject.device)
        if loaded is None:
            raise NotMeasured(f"somebody else loaded {subject.model} meanwhile")
        if loaded.tier != as_the_engine_says(subject.tier):
            raise NotMeasured(f"its load started from {loaded.tier}; {advice(subject.tier)}")
        return repeat_of(evicted, loaded)

    async def _request(self, model: ModelName) -> float:
        """Seconds until the ready model has answered the shortest request that is worth one."""
        kind = (await self._switching.state()).models[model].spec.task
        try:
            return (await self._api.result(model, sample_task(kind, lambda _: _TEXT, work=1))).seconds
        except EngineError as error:
            raise NotMeasured(f"it did not answer: {error}") from None
