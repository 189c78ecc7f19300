"""Measuring through the engine's API: each subject brought to its tier, warmed up, and switched over and over.

What may be evicted is agreed on beforehand; a load whose plan has any other victim is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from engine.api import EngineAPI, EngineError
from engine.bench.records import NotMeasured, Omission, Repeat, Series, Subject, repeat_of
from engine.bench.switching import Switching
from engine.bench.tiers import SlabFiles, advice, as_the_engine_says, bring_to_tier
from engine.core.names import ModelName

_TEXT: Final = "a cat sits on the mat"


class Protocol(Struct, frozen=True):
    """How often each subject is measured."""

    repeats: int
    warm_up: int


class Progress(Struct, frozen=True):
    """Where a measurement is."""

    subject: Subject
    turn: str
    """Which repeat is under way: "warming up", "3 of 7"."""
    seconds: tuple[float, ...]
    """Of the repeats that are done."""


Show: TypeAlias = Callable[[Progress], None]


class Bench:
    """Measures one subject after another. Who is resident changes meanwhile; putting that back is the caller's."""

    def __init__(
        self, api: EngineAPI, protocol: Protocol, may_leave: Collection[ModelName], files: SlabFiles, show: Show
    ) -> None:
        self._api = api
        self._switching = Switching(api, may_leave)
        self._protocol = protocol
        self._files = files
        self._show = show

    async def measure(self, subject: Subject) -> Series | Omission:
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
        await self._switching.take_off(subject.model)
        await self._switching.load(subject.model, subject.device)
        for number in range(-self._protocol.warm_up, self._protocol.repeats):
            turn = f"{number + 1} of {self._protocol.repeats}" if number >= 0 else "warming up"
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

    async def _switched(self, subject: Subject) -> Repeat:
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
        task = (await self._switching.state()).models[model].spec.task
        try:
            match task:
                case "embedding":
                    return (await self._api.embed(model, [_TEXT])).seconds
                case "generation":
                    return (await self._api.generate(model, _TEXT, max_tokens=1)).seconds
                case _:
                    assert_never(task)
        except EngineError as error:
            raise NotMeasured(f"it did not answer: {error}") from None
