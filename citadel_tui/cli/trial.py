"""One model put through its paces, each step checked on the state that the engine shows afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from citadel_tui.cli.embed import cosine
from citadel_tui.text import clean
from engine.api import Done, EngineAPI, EngineError, why_not_done
from engine.core.commands import Command, Evict, ForceCpu, Load, Move, Submission, command_text
from engine.core.models import ModelSpec
from engine.core.names import DeviceId
from engine.core.sizes import format_size

_PROMPT: Final = "a cat sits on the mat"
_ALIKE: Final = 0.999


class TrialFailed(Exception):
    """A step did not do what it should; the text says which and why."""


class Outcome(Struct, frozen=True):
    """What the model said, and where it ran."""

    device: DeviceId
    vector: Sequence[float]
    text: str

    def agrees_with(self, other: Outcome) -> bool:
        """Equal text; vectors equal but for the arithmetic of another device."""
        alike = cosine(self.vector, other.vector) > _ALIKE if self.vector and other.vector else True
        return alike and self.text == other.text


class Trial:
    """Steps with `spec`'s model. Every step raises TrialFailed when the engine does not get there."""

    def __init__(self, api: EngineAPI, spec: ModelSpec) -> None:
        self._api = api
        self._spec = spec

    @property
    def model(self) -> str:
        return self._spec.name

    async def place(self, device: DeviceId) -> None:
        """Make the model ready on `device`."""
        residents = (await self._api.snapshot()).state.of(self.model)
        elsewhere = residents and all(resident.device != device for resident in residents)
        await self._carry_out(Move(self.model, device) if elsewhere else Load(self.model, device))

    async def out_and_in_again(self, device: DeviceId) -> float:
        """Take the model off and make it ready on `device` anew; the engine's seconds for both."""
        out_s = await self._carry_out(Evict(self.model))
        in_s = await self._carry_out(Load(self.model, device))
        return out_s + in_s

    async def force_cpu(self) -> None:
        await self._carry_out(ForceCpu(self.model))

    async def holding(self, device: DeviceId) -> str:
        """Bytes of the model on `device`, as the engine's state shows them."""
        state = (await self._api.snapshot()).state
        resident = state.find(self.model, device)
        if resident is None or resident.stage != "ready":
            found = ", ".join(f"{r.stage} on {r.device}" for r in state.of(self.model)) or "nowhere"
            raise TrialFailed(f"{self.model} should be ready on {device}, but is {found}")
        used_bytes = state.devices[device].reading.used_bytes
        beside = "" if used_bytes is None else f", {format_size(used_bytes)} used on the device"
        return f"{resident.footprint.total_bytes} bytes ({format_size(resident.footprint.total_bytes)}){beside}"

    async def answer(self) -> Outcome:
        """What the model says to a fixed text."""
        try:
            if self._spec.task == "embedding":
                embeddings = await self._api.embed(self.model, [_PROMPT])
                return Outcome(embeddings.device, embeddings.vectors[0], "")
            generation = await self._api.generate(self.model, _PROMPT, max_tokens=8)
        except EngineError as error:
            raise TrialFailed(f"{self.model} did not answer: {error}") from None
        return Outcome(generation.device, (), generation.text)

    async def _carry_out(self, command: Command) -> float:
        """Seconds that the engine says it took; 0 when there was nothing to move."""
        verb = clean(command_text(command))
        answer = await self._api.submit(Submission(f"selftest-{uuid.uuid4()}", command, "trial"))
        if not isinstance(answer, Done):
            raise TrialFailed(f"{verb}: {why_not_done(answer)}")
        return answer.switch.total_s if answer.switch else 0.0
