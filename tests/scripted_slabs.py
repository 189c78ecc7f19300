"""A scripted engine whose loads begin where its models' slabs are: one that is not prepared takes long, unless it is fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from msgspec.structs import replace

from engine.api import EngineError
from engine.core.commands import Command
from engine.core.names import ModelName
from engine.core.plans import LoadStep, Plan, Refusal
from engine.core.prediction import Prediction, Rates
from engine.core.state import State
from engine.slab_peer import SlabFetched, SlabOffer, SlabPeer
from tests.scripted_engine import ScriptedEngine

PREPARING_S = 44.0
FROM_DISK_S = 1.0
TICKET = "5" * 64


class CarryingEngine(ScriptedEngine, SlabPeer):
    """One that has these models prepared."""

    def __init__(self, prepared: Collection[ModelName] = ()) -> None:
        super().__init__()
        rates = {"source": Rates(10e6, 0.0), "disk": Rates(1e9, 0.0)}
        self.set_state(_with_prepared(replace(self.state, **rates), prepared))
        self.offered: list[tuple[ModelName, str, tuple[int, ...]]] = []
        """What, where, at which ports."""
        self.fetched: list[tuple[ModelName, str]] = []
        """What, from where."""
        self.given_up: list[ModelName] = []
        """Whose fetch was cancelled."""
        self.is_slow = False
        """Whether fetches wait until it is not."""
        self.trouble = ""
        """Why nothing can be fetched."""

    async def offer_slab(self, model: ModelName, host: str, ports: tuple[int, ...]) -> SlabOffer:
        self.offered.append((model, host, ports))
        if not self.state.models[model].prepared:
            raise EngineError(f"{model} is not prepared here")
        return SlabOffer(host, 4242, TICKET, (), "0" * 64, "float32")

    async def fetch_slab(self, model: ModelName, offer: SlabOffer) -> SlabFetched:
        self.fetched.append((model, f"{offer.host}:{offer.port}"))
        self._changed()
        try:
            await self.until(lambda: not self.is_slow)
        except asyncio.CancelledError:
            self.given_up.append(model)
            self._changed()
            raise
        if self.trouble:
            raise EngineError(self.trouble)
        came_bytes = 0 if self.state.models[model].prepared else self.state.models[model].footprint.weights_bytes
        self.set_state(_with_prepared(self.state, {model}))
        return SlabFetched(came_bytes, 0.5)

    def _planned(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        planned = super()._planned(command, now=now)
        if isinstance(planned, Refusal):
            return planned
        return replace(
            planned, steps=tuple(self._begun(step) if isinstance(step, LoadStep) else step for step in planned.steps)
        )

    def _begun(self, step: LoadStep) -> LoadStep:
        if self.state.models[step.model].prepared:
            return replace(step, tier="disk", predicted=Prediction(FROM_DISK_S, FROM_DISK_S))
        return replace(step, tier="source", predicted=Prediction(PREPARING_S, PREPARING_S))


def _with_prepared(state: State, models: Collection[ModelName]) -> State:
    known = {name: replace(one, prepared=True) for name, one in state.models.items() if name in models}
    return replace(state, models={**state.models, **known})
