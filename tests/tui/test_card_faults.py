"""The console over the real engine while its cards break: words instead of figures, no model placed there, and the way back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from engine.core.commands import Load
from engine.core.plans import Plan, Refusal
from engine.core.sizes import MIB
from tests.nvml.script import Fault, NvmlScript
from tests.tui.console_on_cards import SILENT_S, Stage, two_cards

Act: TypeAlias = Callable[[Stage], object]


class Case(NamedTuple):
    """A fault, what the screen says then, and what ends it."""

    breaks: Act
    words: str
    reason: str
    ends: Act
    notice: str = "gpu0 has failed: "
    """How the log begins to tell of it."""
    again: str = "gpu0 answers again"
    """And how, when it is over."""
    whole: bool = False
    """Whether both cards have it."""


def _reload_the_driver(stage: Stage) -> None:
    """What it does not support is not asked again before that."""
    stage.first.works_again()
    stage.script.forgets()


CASES = {
    "lost": Case(
        lambda s: s.first.fails(Fault.GPU_IS_LOST),
        "✗ lost since ",
        "NVIDIA GeForce GT 1030 (GPU 0) is lost: it no longer answers the driver",
        lambda s: s.first.works_again(),
        "gpu0 is lost: ",
    ),
    "not supported": Case(
        lambda s: s.first.fails(Fault.NOT_SUPPORTED),
        "✗ unsupported, last read 12 s ago",
        "the driver does not tell how much memory NVIDIA GeForce GT 1030 (GPU 0) uses",
        _reload_the_driver,
        "gpu0 is unsupported: ",
    ),
    "no permission": Case(
        lambda s: s.first.fails(Fault.NO_PERMISSION),
        "✗ failed, last read 12 s ago",
        "this user may not read the memory of NVIDIA GeForce GT 1030 (GPU 0)",
        lambda s: s.first.works_again(),
    ),
    "driver mismatch": Case(
        lambda s: s.script.fails(Fault.VERSION_MISMATCH),
        "✗ failed, last read 12 s ago",
        "the NVIDIA library and the loaded driver are of different versions",
        lambda s: s.script.works_again(),
        notice="no card can be read: ",
        again="the cards can be read again",
        whole=True,
    ),
    "uninitialised": Case(
        lambda s: s.script.fails(Fault.UNINITIALIZED),
        "✗ failed, last read 12 s ago",
        "the NVIDIA library could not be used: Uninitialized",
        lambda s: s.script.works_again(),
        notice="no card can be read: ",
        again="the cards can be read again",
        whole=True,
    ),
    "one card less": Case(
        lambda s: s.script.pull_out(s.first),
        "✗ lost since ",
        "NVIDIA GeForce GT 1030 (GPU 0) is lost: the driver no longer finds it",
        lambda s: s.script.plug_in(s.first),
        "gpu0 is lost: ",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_fault_is_said_in_words_nothing_is_placed_there_and_it_ends_without_a_restart(
    tmp_path: Path, script: NvmlScript, case: Case
) -> None:
    async with two_cards(tmp_path, script) as stage:
        console = stage.console
        before = console.text.count(case.again)
        case.breaks(stage)
        await console.sees(case.words.partition(",")[0])
        stage.clock.passes(SILENT_S)
        await console.sees(case.words)
        await console.sees(case.reason)
        row = stage.device_row("gpu0")
        assert "–/– MiB" in row
        figures = re.sub(r"gpu0|GT 1030|12 s|lost since [0-9:]+", "", row)
        assert not set(figures) & set("0123456789·▒")
        await console.sees(case.notice)

        await _loads_elsewhere(stage, whole=case.whole)

        case.ends(stage)
        stage.clock.passes(SILENT_S)
        await console.until(lambda: console.text.count(case.again) == before + 1)
        await console.sees("▒300")
        assert isinstance(await stage.box.engine.plan(Load("all-MiniLM-L6-v2", "gpu0")), Plan)


async def _loads_elsewhere(stage: Stage, *, whole: bool) -> None:
    """The device is not offered, not taken by itself, and refused when it is asked for by name."""
    console, workers = stage.console, stage.box.spawner.workers
    await console.select("bge-base")
    await console.press("l")
    if not whole:  # with the CPU alone there is nothing to choose from
        await console.sees("on which device?")
        assert "gpu0" not in console.text
        await console.press("enter")
    await console.until(lambda: workers["cpu" if whole else "gpu1"].bound)
    await console.sees("done")
    assert workers["gpu0"].bound == {}
    assert isinstance(await stage.box.engine.plan(Load("e5-small", "gpu0")), Refusal)


async def test_a_driver_that_hangs_leaves_the_last_figures_marked_as_old(tmp_path: Path, script: NvmlScript) -> None:
    async with two_cards(tmp_path, script, call_s=0.05) as stage:
        script.sticks("memory_v2")
        await stage.console.until(lambda: script.calls()["stuck"])
        stage.clock.passes(SILENT_S)
        await stage.console.sees("✗ stale, last read 12 s ago: the NVIDIA driver has not answered")
        await stage.console.sees("! 1 alert  gpu0, gpu1 are stale")
        assert "▒300" in stage.device_row("gpu0")
        assert isinstance(await stage.box.engine.plan(Load("e5-small", "gpu0")), Refusal)
        script.comes_unstuck()
        await stage.console.until(lambda: "stale, last" not in stage.console.text)


async def test_a_library_that_forgot_that_it_was_opened_is_opened_again_before_anybody_sees_it(
    tmp_path: Path, script: NvmlScript
) -> None:
    async with two_cards(tmp_path, script) as stage:
        script.forgets()
        await stage.console.until(lambda: script.calls()["init"] == 2)
        stage.first.uses(400 * MIB)
        await stage.console.sees("▒400")
        assert "✗" not in stage.console.text


async def test_the_keys_answer_while_a_call_to_the_driver_is_held(tmp_path: Path, script: NvmlScript) -> None:
    async with two_cards(tmp_path, script) as stage:
        console = stage.console
        script.sticks("memory_v2")
        await console.until(lambda: script.calls()["stuck"])
        made = script.calls()
        for keys, words in (
            (("s",), "by name"),
            (("question_mark",), "Memory bars, table and log"),
            (("q",), "MODELS"),
        ):
            await console.press(*keys)
            await console.sees(words)
        await console.press("slash", *"bge", "enter", "l")
        await console.sees("Load bge-base: on which device?")
        assert script.calls() == made
        script.comes_unstuck()
        await console.until(lambda: script.calls()["memory_v2"] > made["memory_v2"])


async def test_a_driver_that_takes_its_time_for_every_call_changes_nothing_on_the_screen(
    tmp_path: Path, script: NvmlScript
) -> None:
    async with two_cards(tmp_path, script) as stage:
        script.takes(latency_ms=50)
        for turn in range(3):
            stage.first.uses((310 + turn) * MIB)
            await stage.console.press("s")
            await stage.console.sees(f"▒{310 + turn}")
        assert "✗" not in stage.console.text


async def test_a_digit_opens_the_page_of_its_gpu_which_follows_what_happens(tmp_path: Path, script: NvmlScript) -> None:
    async with two_cards(tmp_path, script) as stage:
        await stage.console.press("0")
        await stage.console.sees("4321     300")
        await stage.console.sees("300  ▒ held by others")
        stage.first.fails(Fault.GPU_IS_LOST)
        await stage.console.sees("lost since ")
        await stage.console.sees("budget: not known either")
        assert "4321" not in stage.console.text
        await stage.console.press("escape", "7")
        await stage.console.sees("Device: there is no gpu7")
