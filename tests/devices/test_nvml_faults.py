"""What the probe says when the driver or a card is in trouble, and that it finds its way back by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.sizes import GIB, MIB
from engine.devices.nvml import REOPEN_EVERY_S, NvmlProbe
from engine.devices.troubles import NvmlState
from tests.devices.conftest import HeldClock
from tests.nvml.script import Fault, NvmlScript

# ── the library ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fault", "state", "words", "advice"),
    [
        (Fault.DRIVER_NOT_LOADED, "driver_not_loaded", "has not loaded the driver", "modprobe nvidia"),
        (Fault.VERSION_MISMATCH, "version_mismatch", "different versions", "Reboot"),
        (Fault.NO_PERMISSION, "no_permission", "may not talk to the NVIDIA driver", "/dev/nvidia"),
        (Fault.UNKNOWN, "failed", "could not be used: Unknown Error", "nvidia-smi"),
    ],
)
async def test_a_library_that_can_not_be_opened_says_why_and_what_to_do(
    script: NvmlScript, probe: NvmlProbe, fault: Fault, state: NvmlState, words: str, advice: str
) -> None:
    script.card()
    script.fails(fault, "init")
    library = await probe.open()
    assert library.state == state
    assert words in library.words
    assert advice in library.advice
    assert probe.facts == ()
    assert await probe.sample() == ()


async def test_a_driver_without_a_card_says_so(script: NvmlScript, probe: NvmlProbe) -> None:
    library = await probe.open()
    assert (library.state, library.driver_version) == ("no_devices", "580.65.06")
    assert "finds no card" in library.words
    assert "lspci" in library.advice


def test_a_missing_library_is_a_state_of_its_own(tmp_path: Path) -> None:
    """In a process of its own: in this one the stand-in has been loaded."""
    program = """if True:
        import asyncio, time
        from engine.devices.nvml import NvmlProbe

        class Clock:
            now, monotonic = staticmethod(time.time), staticmethod(time.monotonic)

        async def main():
            probe = NvmlProbe(Clock())
            library = await probe.open()
            print(library.state, await probe.sample(), library.words)
            await probe.close()

        asyncio.run(main())
    """
    finds_no_library = "import ctypes.util, sys; sys.exit(ctypes.util.find_library('nvidia-ml') is not None)"
    if subprocess.run([sys.executable, "-c", finds_no_library]).returncode:
        pytest.skip("NVIDIA's own library is installed here")
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("library_missing () no NVIDIA driver is present")


async def test_the_engine_goes_on_when_the_driver_is_loaded_later(
    script: NvmlScript, probe: NvmlProbe, clock: HeldClock
) -> None:
    script.card()
    script.fails(Fault.DRIVER_NOT_LOADED)
    assert (await probe.open()).state == "driver_not_loaded"
    script.works_again()
    assert await probe.sample() == ()
    clock.passes(REOPEN_EVERY_S)
    (sample,) = await probe.sample()
    assert (probe.library.state, sample.health) == ("ok", "ok")


async def test_a_driver_that_is_unloaded_takes_its_cards_figures_along(
    script: NvmlScript, probe: NvmlProbe, clock: HeldClock
) -> None:
    script.card().uses(1 * GIB)
    await probe.open()
    await probe.sample()
    seen_s = clock.now()
    script.fails(Fault.DRIVER_NOT_LOADED)
    clock.passes(1.0)
    (sample,) = await probe.sample()
    assert (sample.health, sample.memory, sample.at_s) == ("failed", None, seen_s)
    assert "has not loaded the driver" in sample.reason
    assert "modprobe" in sample.reason


async def test_a_library_that_forgot_that_it_was_opened_is_opened_again_at_once(
    script: NvmlScript, probe: NvmlProbe
) -> None:
    script.card().uses(1 * GIB)
    await probe.open()
    script.forgets()
    (sample,) = await probe.sample()
    assert (sample.health, script.calls()["init"]) == ("ok", 2)


# ── a card ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fault", "health", "words"),
    [
        (Fault.GPU_IS_LOST, "lost", "NVIDIA GeForce GT 1030 (GPU 0) is lost"),
        (Fault.RESET_REQUIRED, "failed", "must be reset: sudo nvidia-smi --gpu-reset -i 0"),
        (Fault.NOT_SUPPORTED, "unsupported", "does not tell how much memory NVIDIA GeForce GT 1030 (GPU 0) uses"),
        (Fault.NO_PERMISSION, "failed", "this user may not read the memory"),
        (Fault.UNKNOWN, "failed", "Unknown Error. It is tried again"),
    ],
)
async def test_a_card_in_trouble_says_so_shows_no_figure_and_comes_back(
    script: NvmlScript, probe: NvmlProbe, clock: HeldClock, fault: Fault, health: str, words: str
) -> None:
    broken, whole = script.card().uses(300 * MIB), script.card().uses(500 * MIB)
    await probe.open()
    await probe.sample()
    seen_s = clock.now()
    broken.fails(fault)
    clock.passes(1.0)
    troubled, unharmed = await probe.sample()
    assert (troubled.uuid, troubled.health, troubled.memory, troubled.at_s) == (broken.uuid, health, None, seen_s)
    assert troubled.activity.temperature_c is None
    assert words in troubled.reason
    assert unharmed.uuid == whole.uuid
    assert unharmed.memory is not None
    assert (unharmed.health, unharmed.memory.used_bytes, unharmed.at_s) == ("ok", 500 * MIB, clock.now())

    broken.works_again()
    script.forgets()  # what is not supported is not asked again before the library is opened anew
    troubled, _ = await probe.sample()
    assert (troubled.health, troubled.reason, troubled.at_s) == ("ok", "", clock.now())


async def test_a_lost_card_is_tried_again_by_opening_the_library_anew(
    script: NvmlScript, probe: NvmlProbe, clock: HeldClock
) -> None:
    card = script.card()
    await probe.open()
    card.fails(Fault.GPU_IS_LOST)
    (sample,) = await probe.sample()
    clock.passes(REOPEN_EVERY_S)
    (sample,) = await probe.sample()
    assert (sample.health, script.calls()["init"], probe.facts) == ("lost", 2, ())
    assert "did not answer when it was looked for: GPU is lost" in probe.library.silent_cards[0]
    card.works_again()
    clock.passes(REOPEN_EVERY_S)
    (sample,) = await probe.sample()
    assert (sample.health, len(probe.facts), probe.library.silent_cards) == ("ok", 1, ())


async def test_a_card_that_is_lost_from_the_start_is_named(script: NvmlScript, probe: NvmlProbe) -> None:
    script.card().fails(Fault.GPU_IS_LOST)
    script.card()
    library = await probe.open()
    assert library.state == "ok"
    assert library.silent_cards == ("GPU 0 did not answer when it was looked for: GPU is lost",)
    assert [card.index for card in probe.facts] == [1]


async def test_cards_may_come_and_go_while_the_engine_runs(
    script: NvmlScript, probe: NvmlProbe, clock: HeldClock
) -> None:
    first, second = script.card(), script.card()
    await probe.open()
    await probe.sample()
    script.pull_out(first)
    clock.passes(REOPEN_EVERY_S)
    assert [sample.health for sample in await probe.sample()] == ["lost", "ok"]
    assert [(card.index, card.uuid) for card in probe.facts] == [(0, second.uuid)]

    script.plug_in(first)
    third = script.card()
    clock.passes(REOPEN_EVERY_S)
    assert [(s.uuid, s.health) for s in await probe.sample()] == [
        (first.uuid, "ok"),
        (second.uuid, "ok"),
        (third.uuid, "ok"),
    ]


async def test_a_sensor_that_is_missing_leaves_its_figure_out_and_is_not_asked_again(
    script: NvmlScript, probe: NvmlProbe, clock: HeldClock
) -> None:
    script.card().lacks("power_mw", "clock_memory_mhz", "compute_processes")
    await probe.open()
    for _ in range(3):
        (sample,) = await probe.sample()
        clock.passes(5.0)
    assert sample.health == "ok"
    activity = sample.activity
    assert (activity.power_w, activity.clocks_mhz, activity.processes) == (None, None, None)
    assert (activity.temperature_c, activity.power_limit_w) == (41, 30.0)
    calls = script.calls()
    assert (calls["power_mw"], calls["clock_memory_mhz"], calls["temperature_c"]) == (1, 1, 3)


async def test_a_card_whose_parts_may_not_be_seen_is_named_and_the_others_are_used(
    script: NvmlScript, probe: NvmlProbe
) -> None:
    card, whole = script.card(name="NVIDIA A30"), script.card()
    card.is_split_into("MIG-a")
    card.fails(Fault.NO_PERMISSION, "mig_parts")
    library = await probe.open()
    assert [facts.uuid for facts in probe.facts] == [whole.uuid]
    assert library.silent_cards == ("GPU 0 did not answer when it was looked for: Insufficient Permissions",)
