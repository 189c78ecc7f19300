"""`citadel selftest`: real loads, a real switch and a real fallback, each line PASS or FAIL; puts back what it changed."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator

from msgspec import Struct

from citadel_tui.cli.exits import Exit
from citadel_tui.cli.engine import at_hand
from citadel_tui.cli.trial import Trial, TrialFailed
from citadel_tui.text import clean
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.labels import labels
from engine.api import EngineAPI
from engine.bench.put_back import put_back
from engine.core.names import CPU, DeviceId
from engine.core.insight.reference_box import SWITCH_TARGET_S
from engine.core.state import ModelState, State


class Check(Struct, frozen=True):
    """One line of the test."""

    passed: bool
    text: str


def run(arguments: Namespace) -> int:
    return asyncio.run(_selftest(arguments))


async def _selftest(arguments: Namespace) -> Exit:
    passed = True
    async with at_hand(arguments) as engine:
        async for check in selftest(engine):
            print(f"{'PASS' if check.passed else 'FAIL'}  {clean(check.text)}", flush=True)
            passed = passed and check.passed
    return Exit.DONE if passed else Exit.FAILED


async def selftest(api: EngineAPI) -> AsyncIterator[Check]:
    """The lines, as they come."""
    before = (await api.snapshot()).state
    model = _subject(before)
    if model is None:
        yield Check(False, "the catalog has no model that can be loaded; `citadel models list` says why")
        return
    try:
        async for check in _checks(Trial(api, model.spec), before):
            yield check
    finally:
        left = await put_back(api, before)
    yield Check(not left, f"put back: {'; '.join(left) or 'every model and pin is where it was'}")


async def _checks(trial: Trial, before: State) -> AsyncIterator[Check]:
    gpus = [name for name in before.devices if name != CPU][:2]
    label = labels(before)(trial.model)
    try:
        for gpu in gpus:
            await trial.place(gpu)
            yield Check(True, f"{label} loaded on {gpu}: {await trial.holding(gpu)}")
        for gpu in gpus[-1:]:
            switch_s = await trial.out_and_in_again(gpu)
            passed = switch_s < SWITCH_TARGET_S
            yield Check(
                passed,
                f"switch: {label} out of {gpu} and in again, {seconds_text(switch_s)} (target < {SWITCH_TARGET_S:g} s)",
            )
        yield await _falls_back(trial, label, gpus)
    except TrialFailed as failure:
        yield Check(False, str(failure))


async def _falls_back(trial: Trial, label: str, gpus: list[DeviceId]) -> Check:
    """Whether the model answers on the CPU what it answers elsewhere."""
    reference = await trial.answer()
    await trial.force_cpu()
    fallen = await trial.answer()
    if fallen.device != CPU:
        return Check(False, f"CPU fallback: {label} was forced to the CPU but ran on {fallen.device}")
    same = f" and answers as on {reference.device}" if gpus else ""
    return Check(fallen.agrees_with(reference), f"CPU fallback forced: {label} runs on cpu{same}")


def _subject(state: State) -> ModelState | None:
    """The model that disturbs least: not pinned, not in use, an embedding, small."""

    def disturbance(model: ModelState) -> tuple[bool, bool, bool, int]:
        in_use = any(resident.leases for resident in state.of(model.spec.name))
        return model.pin is not None, in_use, model.spec.task != "embedding", model.footprint.total_bytes

    return min((model for model in state.models.values() if not model.trouble), key=disturbance, default=None)
