"""The console over cards in each kind of trouble, as pictures; and a card's page at the sizes that operators have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from engine.api import EngineAPI
from tests.nvml.script import Fault, NvmlScript, ScriptedCard
from tests.snapshots.test_screens import SIZES, Compare
from tests.tui.consoles import NOON_S, Console
from tests.tui.scripted_cards import Breaks, cards_with

Steps: TypeAlias = Callable[[Console], Awaitable[None]]


def unharmed(script: NvmlScript, card: ScriptedCard) -> None:
    """Nothing happens."""


FAULTS: dict[str, Breaks] = {
    "none": unharmed,
    "lost": lambda script, card: card.fails(Fault.GPU_IS_LOST),
    "unsupported": lambda script, card: card.fails(Fault.NOT_SUPPORTED),
    "no-permission": lambda script, card: card.fails(Fault.NO_PERMISSION),
    "mismatch": lambda script, card: script.fails(Fault.VERSION_MISMATCH),
    "uninitialised": lambda script, card: script.fails(Fault.UNINITIALIZED),
    "one-card-less": lambda script, card: script.pull_out(card),
    "stale": lambda script, card: script.sticks("memory_v2"),
}


async def dashboard(console: Console) -> None:
    await console.sees("bge-base")


async def device_page(console: Console) -> None:
    await console.press("0")
    await console.sees("Budget, in MiB")


def compare(
    snap_compare: Compare, script: NvmlScript, breaks: Breaks, steps: Steps, size: tuple[int, int], look: Look
) -> bool:
    async def connect() -> EngineAPI:
        return await cards_with(script, breaks)

    app = CitadelApp(connect, look, read_only=False, now=lambda: NOON_S, monotonic=lambda: NOON_S)

    async def before(pilot: Pilot[int]) -> None:
        console = Console(pilot, app)
        await console.sees("live")
        await steps(console)
        await pilot.pause()

    return snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_looks_as_it_did(snap_compare: Compare, script: NvmlScript, fault: str) -> None:
    assert compare(snap_compare, script, FAULTS[fault], dashboard, (80, 24), Look(UNICODE, "citadel"))


@pytest.mark.parametrize("size", [(60, 20), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("fault", ["none", "lost", "stale"])
def test_a_fault_looks_as_it_did_on_other_screens(
    snap_compare: Compare, script: NvmlScript, fault: str, size: tuple[int, int]
) -> None:
    assert compare(snap_compare, script, FAULTS[fault], dashboard, size, Look(UNICODE, "citadel"))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_page_of_a_card_looks_as_it_did(snap_compare: Compare, script: NvmlScript, size: tuple[int, int]) -> None:
    assert compare(snap_compare, script, unharmed, device_page, size, Look(UNICODE, "citadel"))


def test_the_page_of_a_lost_card_looks_as_it_did(snap_compare: Compare, script: NvmlScript) -> None:
    assert compare(snap_compare, script, FAULTS["lost"], device_page, (80, 24), Look(UNICODE, "citadel"))


@pytest.mark.parametrize("fault", ["none", "lost"])
def test_cards_on_an_ascii_terminal_look_as_they_did(snap_compare: Compare, script: NvmlScript, fault: str) -> None:
    assert compare(snap_compare, script, FAULTS[fault], dashboard, (80, 24), Look(ASCII, "citadel-ansi"))
