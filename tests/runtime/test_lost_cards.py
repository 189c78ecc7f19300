"""Engines on scripted cards of which some are lost when they start: names, rows, and who comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from engine.core.commands import Load, SetPin, Submission
from engine.core.models import Pin
from engine.core.records import Notice
from engine.core.sizes import GIB, MIB
from engine.core.state import State
from engine.devices.nvml import REOPEN_EVERY_S
from tests.devices.conftest import HeldClock
from tests.nvml.script import Fault, NvmlScript, ScriptedCard
from tests.runtime.live_engines import Box, cards_engine

MINILM, BGE = "all-MiniLM-L6-v2", "bge-base"
SIZE = 4 * GIB
READ_AGAIN_S = 15.0
"""Within which a card that answers again is used again."""


def three(script: NvmlScript) -> list[ScriptedCard]:
    return [script.card(total=SIZE, uuid=f"GPU-{letter}") for letter in "abc"]


async def settled(box: Box, when: Callable[[State], bool]) -> State:
    """The state as soon as that holds of it and nothing is under way."""
    async for _ in box.engine.events():
        snapshot = await box.engine.snapshot()
        if when(snapshot.state) and not snapshot.jobs:
            return snapshot.state
    raise AssertionError("the engine has ended")


async def after(box: Box, clock: HeldClock, seconds: float, when: Callable[[State], bool]) -> State:
    """The same, once the probe's clock has moved on by at most so long, a second at a time."""
    for _ in range(int(seconds)):
        clock.passes(1.0)
        await asyncio.sleep(0.05)  # a few samples
        if when((await box.engine.snapshot()).state):
            break
    return await settled(box, when)


def cards(state: State) -> dict[str, str]:
    return {device: known.spec.uuid or "" for device, known in state.devices.items() if known.spec.on_card}


def healths(state: State) -> dict[str, str]:
    return {device: known.reading.health for device, known in state.devices.items() if known.spec.on_card}


def places(state: State) -> set[tuple[str, str]]:
    return {(r.model, r.device) for r in state.residents if r.stage == "ready"}


async def test_a_card_that_is_lost_at_the_start_keeps_its_row_and_its_name_and_comes_back(
    script: NvmlScript,
    clock: HeldClock,
    tmp_path: Path,
) -> None:
    _, second, _ = three(script)
    async with cards_engine(tmp_path, script, clock) as box:
        names = cards((await box.engine.snapshot()).state)
        started_s = time.time()
        await box.engine.submit(Submission("1", Load(MINILM, "gpu1")))
        await box.engine.submit(Submission("2", Load(BGE, "gpu2")))
        await box.engine.submit(Submission("3", SetPin(MINILM, "gpu1")))

    second.fails(Fault.GPU_IS_LOST)
    for again in range(2):  # what is waited for outlives a start without the card
        async with cards_engine(tmp_path, script, clock) as box:
            state = await settled(box, lambda state: (BGE, "gpu2") in places(state))
            assert cards(state) == names == {"gpu0": "GPU-a", "gpu1": "GPU-b", "gpu2": "GPU-c"}
            assert healths(state) == {"gpu0": "ok", "gpu1": "lost", "gpu2": "ok"}
            assert state.devices["gpu1"].reading.at_s == pytest.approx(started_s, abs=60.0)
            assert state.devices["gpu1"].spec.bus_id == "00000000:02:00.0"
            assert state.models[MINILM].pin == Pin("gpu1")
            assert places(state) == {(BGE, "gpu2")}
            if again:
                second.works_again()
                state = await after(box, clock, READ_AGAIN_S, lambda state: (MINILM, "gpu1") in places(state))
                assert healths(state) == {"gpu0": "ok", "gpu1": "ok", "gpu2": "ok"}
                notices = [r.entry.text for r in await box.engine.records() if isinstance(r.entry, Notice)]
                assert any(text.startswith("gpu1 is lost: NVIDIA GeForce GT 1030") for text in notices)
                assert notices[-1].startswith("gpu1 answers again; it was lost for ")
                assert notices[-1].endswith(f"; loading {MINILM} again")


@pytest.mark.parametrize("away", [[n for n in range(3) if bits[n]] for bits in product((False, True), repeat=3)])
async def test_whoever_is_away_at_the_start_nobody_takes_a_name_and_all_come_back(
    script: NvmlScript,
    clock: HeldClock,
    tmp_path: Path,
    away: list[int],
) -> None:
    found = three(script)
    async with cards_engine(tmp_path, script, clock) as box:
        names = cards((await box.engine.snapshot()).state)
    for number in away:
        script.pull_out(found[number])
    async with cards_engine(tmp_path, script, clock) as box:
        state = await settled(box, lambda state: "starting" not in healths(state).values())
        assert cards(state) == names
        assert healths(state) == {f"gpu{n}": "lost" if n in away else "ok" for n in range(3)}
        for number in reversed(away):  # the driver lists them in another order than before
            script.plug_in(found[number])
        state = await after(box, clock, READ_AGAIN_S, lambda state: set(healths(state).values()) == {"ok"})
        assert cards(state) == names


async def test_requests_for_a_model_of_a_lost_card_are_answered_elsewhere_and_it_stays_there(
    script: NvmlScript,
    clock: HeldClock,
    tmp_path: Path,
) -> None:
    first, second, _ = three(script)
    async with cards_engine(tmp_path, script, clock) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu1")))
    second.fails(Fault.GPU_IS_LOST)
    async with cards_engine(tmp_path, script, clock) as box:
        await settled(box, lambda state: healths(state)["gpu1"] == "lost")
        found = await box.engine.embed(MINILM, ["a"])
        assert found.device in ("gpu0", "gpu2")
        second.works_again()
        clock.passes(REOPEN_EVERY_S)
        state = await settled(box, lambda state: healths(state)["gpu1"] == "ok")
        assert places(state) == {(MINILM, found.device)}
    assert first.uuid == "GPU-a"


async def test_the_budget_follows_the_total_and_what_is_too_much_by_then_stays_and_is_told(
    script: NvmlScript,
    clock: HeldClock,
    tmp_path: Path,
) -> None:
    first, _, _ = three(script)
    async with cards_engine(tmp_path, script, clock) as box:
        await box.engine.submit(Submission("1", Load(BGE, "gpu0")))
        first.says(total=512 * MIB)
        state = await settled(box, lambda state: state.devices["gpu0"].spec.total_bytes == 448 * MIB)
        snapshot = await box.engine.snapshot()
        assert snapshot.budgets["gpu0"] == int(448 * MIB * state.devices["gpu0"].spec.fraction)
        assert snapshot.state.devices["gpu0"].reading.external_bytes == 0
        assert (BGE, "gpu0") in places(snapshot.state)
        told = [r.entry.text for r in await box.engine.records() if isinstance(r.entry, Notice)][-1]
        assert told.startswith("gpu0 has 448 MiB of memory now, not 3.9 GiB as before; what is on it takes")
        first.says(total=SIZE)
        await settled(box, lambda state: state.devices["gpu0"].spec.total_bytes == SIZE - 64 * MIB)
