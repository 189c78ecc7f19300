"""`citadel selftest`: real loads, a real switch and a real fallback, each line PASS or FAIL; puts back what it changed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from math import isclose
from typing import Final

from msgspec import Struct, to_builtins

from citadel_tui.cli.embed import cosine
from citadel_tui.cli.engine import at_hand, restored
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.text import clean
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.labels import labels
from engine.api import Done, EngineAPI, EngineError, Updated, why_not_done
from engine.bench.put_back import put_back
from engine.core.commands import Command, Evict, ForceCpu, Load, Move, Submission, command_text
from engine.core.models import ModelSpec
from engine.core.names import CPU, DeviceId
from engine.core.records import SWITCH_TARGET_S
from engine.core.sizes import format_size
from engine.core.state import ModelState, State
from engine.core.tasks import RunResult, TaskResult, Vectors, sample_task

_PROMPT: Final = "a cat sits on the mat"
_ALIKE: Final = 0.999
_NEAR: Final = 0.01


class TrialFailed(Exception):
    """A step did not do what it should; the text says which and why."""


def agree(one: TaskResult, other: TaskResult) -> bool:
    """Whether they are equal, figures but for the arithmetic of another device."""
    if isinstance(one, Vectors) and isinstance(other, Vectors):
        return cosine(one.rows()[0], other.rows()[0]) > _ALIKE
    return _are_near(to_builtins(one), to_builtins(other))


def _are_near(one: object, other: object) -> bool:
    match one, other:
        case float(), float():
            return isclose(one, other, rel_tol=_NEAR, abs_tol=_NEAR)
        case dict(), dict():
            return one.keys() == other.keys() and all(_are_near(value, other[key]) for key, value in one.items())
        case list() | tuple(), list() | tuple():
            return len(one) == len(other) and all(map(_are_near, one, other))
        case _:
            return one == other


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
        used_bytes = await self._used_bytes(device)
        beside = "" if used_bytes is None else f", {format_size(used_bytes)} used on the device"
        return f"{resident.footprint.total_bytes} bytes ({format_size(resident.footprint.total_bytes)}){beside}"

    async def _used_bytes(self, device: DeviceId) -> int | None:
        """What the device says of itself after what was done: a card is read once a second, and what it said before is not of
        this load. None when it can't tell."""
        done_s = (await self._api.snapshot()).at_s
        async for event in self._api.events():
            if isinstance(event, Updated):
                reading = event.snapshot.state.devices[device].reading
                if reading.health != "ok" or reading.used_bytes is None:
                    return None
                if reading.at_s >= done_s or not event.snapshot.state.devices[device].spec.on_card:
                    return reading.used_bytes
        return None

    async def answer(self) -> RunResult:
        """What the model says to a fixed text."""
        try:
            return await self._api.result(self.model, sample_task(self._spec.task, lambda _: _PROMPT, work=8))
        except EngineError as error:
            raise TrialFailed(f"{self.model} did not answer: {error}") from None

    async def _carry_out(self, command: Command) -> float:
        """Seconds that the engine says it took; 0 when there was nothing to move."""
        verb = clean(command_text(command))
        answer = await self._api.submit(Submission(f"selftest-{uuid.uuid4()}", command, "trial"))
        if not isinstance(answer, Done):
            raise TrialFailed(f"{verb}: {why_not_done(answer)}")
        return answer.switch.total_s if answer.switch else 0.0


class TrialCheck(Struct, frozen=True):
    """One line of the test."""

    passed: bool
    text: str


def add_arguments(command: CommandParser) -> None:
    command.carried_out_by(run, Arguments)


def run(arguments: Arguments) -> int:
    return asyncio.run(_selftest(arguments))


async def _selftest(arguments: Arguments) -> Exit:
    passed = True
    async with at_hand(arguments) as engine:
        async for check in selftest(engine):
            print(f"{'PASS' if check.passed else 'FAIL'}  {clean(check.text)}", flush=True)
            passed = passed and check.passed
    return Exit.DONE if passed else Exit.FAILED


async def selftest(api: EngineAPI) -> AsyncIterator[TrialCheck]:
    """The lines, as they come, once all is there that a start brings back."""
    before = (await restored(api)).state
    model = _subject(before)
    if model is None:
        yield TrialCheck(False, "the catalog has no model that can be loaded; `citadel models list` says why")
        return
    try:
        async for check in _checks(Trial(api, model.spec), before):
            yield check
    finally:
        left = await put_back(api, before)
    yield TrialCheck(not left, f"put back: {'; '.join(left) or 'every model and pin is where it was'}")


async def _checks(trial: Trial, before: State) -> AsyncIterator[TrialCheck]:
    gpus = [name for name in before.devices if name != CPU][:2]
    label = labels(before)(trial.model)
    try:
        for gpu in gpus:
            await trial.place(gpu)
            yield TrialCheck(True, f"{label} loaded on {gpu}: {await trial.holding(gpu)}")
        for gpu in gpus[-1:]:
            switch_s = await trial.out_and_in_again(gpu)
            passed = switch_s < SWITCH_TARGET_S
            yield TrialCheck(
                passed,
                f"switch: {label} out of {gpu} and in again, {seconds_text(switch_s)} (target < {SWITCH_TARGET_S:g} s)",
            )
        yield await _falls_back(trial, label, gpus)
    except TrialFailed as failure:
        yield TrialCheck(False, str(failure))


async def _falls_back(trial: Trial, label: str, gpus: list[DeviceId]) -> TrialCheck:
    """Whether the model answers on the CPU what it answers elsewhere."""
    reference = await trial.answer()
    await trial.force_cpu()
    fallen = await trial.answer()
    if fallen.device != CPU:
        return TrialCheck(False, f"CPU fallback: {label} was forced to the CPU but ran on {fallen.device}")
    same = f" and answers as on {reference.device}" if gpus else ""
    return TrialCheck(agree(fallen.result, reference.result), f"CPU fallback forced: {label} runs on cpu{same}")


def _subject(state: State) -> ModelState | None:
    """The model that disturbs least: not pinned, not in use, an embedding, small."""

    def disturbance(model: ModelState) -> tuple[bool, bool, bool, int]:
        in_use = any(resident.leases for resident in state.of(model.spec.name))
        return model.pin is not None, in_use, model.spec.task != "embedding", model.footprint.total_bytes

    return min((model for model in state.models.values() if not model.trouble), key=disturbance, default=None)
