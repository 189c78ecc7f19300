"""Loads and evictions through the engine's API, as the benchmark needs them: nobody leaves for them who may not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection
from typing import Final

from engine.api import Answer, Done, EngineAPI, why_not_done
from engine.bench.records import NotMeasured
from engine.core.commands import Evict, Load, Single, Submission
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan
from engine.core.records import Switch
from engine.core.state import State


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

    async def load(self, model: ModelName, device: DeviceId) -> Switch | None:
        """None when it was there already."""
        command = Load(model, device)
        plan = await self._api.plan(command)
        if not isinstance(plan, Plan):
            raise NotMeasured(plan.reason)
        others = [victim.model for victim in plan.victims if victim.model not in self._may_leave]
        if others:
            raise NotMeasured(f"{', '.join(others)} would have to leave for it, which nobody agreed to")
        return await self._carried_out(command, plan.effects)

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
