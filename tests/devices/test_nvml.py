"""What the probe reads from a driver that is well, how often it asks, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.sizes import GIB, MIB
from engine.devices.cards import GpuMemory, GpuProcess
from engine.devices.nvml import ACTIVITY_EVERY_S, NvmlProbe
from tests.devices.conftest import HeldClock
from tests.nvml.script import Fault, NvmlScript, Process
from tests.patience import crowding

# ── figures ──────────────────────────────────────────────────────────────────────────────────────


async def test_what_never_changes_is_found_when_the_library_is_opened(script: NvmlScript, probe: NvmlProbe) -> None:
    card = script.card()
    library = await probe.open()
    assert (library.state, library.driver_version, library.cuda_driver_version) == ("ok", "580.65.06", (13, 0))
    (facts,) = probe.facts
    assert (facts.index, facts.uuid, facts.name) == (0, card.uuid, "NVIDIA GeForce GT 1030")
    assert (facts.total_bytes, facts.reserved_bytes) == (2 * GIB, 64 * MIB)
    assert (facts.capability, facts.driver_version) == ((6, 1), "580.65.06")
    assert (facts.pcie_generation, facts.pcie_max_generation) == (1, 3)
    assert (facts.pcie_width, facts.pcie_max_width) == (4, 4)
    assert facts.bus_id == "00000000:01:00.0"


async def test_a_sample_holds_memory_and_activity(script: NvmlScript, probe: NvmlProbe, clock: HeldClock) -> None:
    card = script.card().uses(700 * MIB)
    card.runs(Process(os.getpid(), 500 * MIB), Process(4_194_999, None)).draws(Process(os.getpid(), 500 * MIB))
    await probe.open()
    (sample,) = await probe.sample()
    assert (sample.health, sample.reason, sample.at_s) == ("ok", "", clock.now())
    assert sample.memory == GpuMemory(2 * GIB, 700 * MIB, 2 * GIB - 764 * MIB, 64 * MIB)
    activity = sample.activity
    assert (activity.temperature_c, activity.power_w, activity.power_limit_w) == (41, 9.5, 30.0)
    assert (activity.utilization_percent, activity.clocks_mhz) == (7, (1_227, 3_004))
    assert (activity.fan_percent, activity.performance_state) == (None, None)
    ours, unseen = activity.processes or ()
    assert (ours.pid, ours.used_bytes) == (os.getpid(), 500 * MIB)
    assert ours.name
    assert unseen == GpuProcess(4_194_999, None, None)


async def test_an_old_driver_counts_what_it_reserves_as_used(script: NvmlScript, probe: NvmlProbe) -> None:
    script.card().uses(700 * MIB)
    script.fails(Fault.FUNCTION_NOT_FOUND, "memory_v2")
    await probe.open()
    await probe.sample()
    (sample,) = await probe.sample()
    assert sample.memory == GpuMemory(2 * GIB, 764 * MIB, 2 * GIB - 764 * MIB, None)
    assert script.calls()["memory_v2"] == 1


async def test_mig_devices_are_listed_with_memory_of_their_own(script: NvmlScript, probe: NvmlProbe) -> None:
    card = script.card(name="NVIDIA A30", total=24 * GIB, capability=80)
    card.is_split_into("MIG-a", "MIG-b")
    await probe.open()
    whole, first, second = probe.facts
    assert (whole.is_partitioned, whole.is_mig) == (True, False)
    assert (first.uuid, first.is_mig, first.parent_uuid, first.total_bytes) == ("MIG-a", True, card.uuid, 12 * GIB)
    assert (second.uuid, second.index, second.capability) == ("MIG-b", 0, (8, 0))
    assert [sample.health for sample in await probe.sample()] == ["ok", "ok", "ok"]


def test_the_figures_add_up_whatever_the_driver_can_tell(script: NvmlScript, clock: HeldClock) -> None:
    card, probe = script.card(), NvmlProbe(clock)

    @given(
        reserved_bytes=st.integers(0, GIB),
        used_bytes=st.integers(0, GIB),
        fault=st.sampled_from([None, *Fault]),
        call=st.sampled_from(["", "memory_v2", "memory_v1", "processes", "temperature_c"]),
    )
    def add_up(reserved_bytes: int, used_bytes: int, fault: Fault | None, call: str) -> None:
        card.works_again().says(reserved=reserved_bytes, used=used_bytes)
        script.forgets()
        if fault is not None:
            card.fails(fault, call)
        for sample in runner.run(probe.sample()):
            if sample.memory is None:
                assert sample.health != "ok"
                assert sample.reason
            else:
                memory = sample.memory
                parts_bytes = memory.used_bytes + memory.free_bytes + (memory.reserved_bytes or 0)
                assert parts_bytes == memory.total_bytes

    with asyncio.Runner() as runner:
        runner.run(probe.open())
        add_up()
        runner.run(probe.close())


# ── pace ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_card_tells_its_fan_and_its_p_state_where_it_has_them(script: NvmlScript, probe: NvmlProbe) -> None:
    script.card(fan_percent=45, performance_state=2)
    script.card(performance_state=32)
    await probe.open()
    first, second = await probe.sample()
    assert (first.activity.fan_percent, first.activity.performance_state) == (45, 2)
    assert (second.activity.fan_percent, second.activity.performance_state) == (None, None)


async def test_memory_is_read_each_time_and_activity_every_five_seconds(
    script: NvmlScript, probe: NvmlProbe, clock: HeldClock
) -> None:
    script.card()
    await probe.open()
    before = script.calls()
    for _ in range(10):
        (sample,) = await probe.sample()
        clock.passes(ACTIVITY_EVERY_S / 5)
    asked = script.calls() - before
    assert (asked["memory_v2"], asked["temperature_c"], asked["power_mw"], asked["count"]) == (10, 2, 2, 1)
    assert sample.at_s == (sample.activity_at_s or 0) + 4 * ACTIVITY_EVERY_S / 5


async def test_pcie_is_asked_only_when_a_card_is_found(script: NvmlScript, probe: NvmlProbe) -> None:
    script.card()
    await probe.open()
    for _ in range(3):
        await probe.sample()
    assert script.calls()["pcie_generation"] == 1


async def test_the_loop_runs_on_while_the_driver_does_not_answer(script: NvmlScript, probe: NvmlProbe) -> None:
    """Were the loop to wait for the driver, nobody would be left to let it go on."""
    script.card()
    await probe.open()
    script.sticks("memory_v2")
    sampling = asyncio.create_task(probe.sample())
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert not sampling.done()
    script.comes_unstuck()
    (sample,) = await sampling
    assert sample.health == "ok"


async def test_a_slow_driver_does_not_slow_the_loop(script: NvmlScript, probe: NvmlProbe) -> None:
    script.card()
    await probe.open()
    before = script.calls()
    script.takes(latency_ms=50)
    sampling = asyncio.create_task(probe.sample())
    turns = 0
    while not sampling.done():
        await asyncio.sleep(0.001)
        turns += 1
    driver_ms = 50 * (script.calls() - before).total()
    assert driver_ms >= 400
    assert turns * crowding() > driver_ms / 5, "on average the loop came round less than every 5 ms"


async def test_a_stuck_driver_makes_figures_stale_and_is_asked_nothing_more(
    script: NvmlScript, probe: NvmlProbe, clock: HeldClock, call_is_overdue: Callable[[], None]
) -> None:
    card, _ = script.card().uses(1 * GIB), script.card()
    await probe.open()
    await probe.sample()
    seen_s = clock.now()
    script.sticks("memory_v2")
    clock.passes(3.0)
    sampling = asyncio.create_task(probe.sample())
    await _begun(script, "stuck")
    call_is_overdue()
    await sampling
    for _ in range(2):
        clock.passes(3.0)
        samples = await probe.sample()
    asked = script.calls()["memory_v2"]
    assert [sample.health for sample in samples] == ["stale", "stale"]
    assert samples[0].memory is not None
    assert (samples[0].memory.used_bytes, samples[0].at_s) == (1 * GIB, seen_s)
    assert samples[0].reason == (
        "the NVIDIA driver has not answered for 6 s, asked for the memory of NVIDIA GeForce GT 1030 (GPU 0)"
    )
    await probe.sample()
    assert script.calls()["memory_v2"] == asked

    card.uses(1536 * MIB)
    script.comes_unstuck()
    sample, _ = await probe.sample()
    while sample.health == "stale":
        await asyncio.sleep(0)  # the call that was stuck is on its way back
        sample, _ = await probe.sample()
    assert sample.memory is not None
    assert (sample.health, sample.memory.used_bytes) == ("ok", 1536 * MIB)


async def test_a_caller_that_gives_up_leaves_the_probe_usable(script: NvmlScript, probe: NvmlProbe) -> None:
    script.card()
    await probe.open()
    script.sticks("memory_v2")
    sampling = asyncio.create_task(probe.sample())
    await _begun(script, "memory_v2")
    sampling.cancel()
    await asyncio.gather(sampling, return_exceptions=True)
    script.comes_unstuck()
    (sample,) = await probe.sample()
    assert sample.health == "ok"


async def test_a_driver_that_hangs_while_it_is_opened_is_not_waited_for(
    script: NvmlScript, probe: NvmlProbe, call_is_overdue: Callable[[], None]
) -> None:
    script.card()
    script.sticks("init")
    opening = asyncio.create_task(probe.open())
    await _begun(script, "stuck")
    call_is_overdue()
    library = await opening
    assert (library.state, await probe.sample()) == ("failed", ())
    assert "has not answered" in library.words
    script.comes_unstuck()
    samples = await probe.sample()
    while not samples:
        await asyncio.sleep(0)
        samples = await probe.sample()
    assert probe.library.state == "ok"


async def _begun(script: NvmlScript, call: str) -> None:
    """The driver has been asked."""
    while True:
        if script.calls()[call]:
            return
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("figure", "field"),
    [
        ("temperature_c", "temperature_c"),
        ("power_mw", "power_w"),
        ("power_limit_mw", "power_limit_w"),
        ("utilization_percent", "utilization_percent"),
        ("clock_memory_mhz", "clocks_mhz"),
    ],
)
@pytest.mark.parametrize("told", [37_100_000, 4_294_967_295])
async def test_a_figure_that_no_card_can_have_is_not_known(
    script: NvmlScript, probe: NvmlProbe, figure: str, field: str, told: int
) -> None:
    script.card(**{figure: told})
    await probe.open()
    (sample,) = await probe.sample()
    assert sample.health == "ok"
    assert getattr(sample.activity, field) is None
    assert sample.activity.processes == ()


async def test_a_link_that_can_not_be_is_not_known(script: NvmlScript, probe: NvmlProbe) -> None:
    script.card(pcie_generation=4_294_967_295, pcie_max_width=4_294_967_295)
    await probe.open()
    (facts,) = probe.facts
    assert (facts.pcie_generation, facts.pcie_max_generation) == (None, 3)
    assert (facts.pcie_width, facts.pcie_max_width) == (4, None)


@pytest.mark.parametrize("figures", [{"total": 0}, {"used": 3 * GIB}, {"reserved": 3 * GIB}, {"total": 1 << 60}])
async def test_memory_that_no_card_can_have_is_a_failure_in_words_until_it_makes_sense(
    script: NvmlScript, probe: NvmlProbe, figures: dict[str, int]
) -> None:
    card = script.card()
    await probe.open()
    card.says(**figures)
    (sample,) = await probe.sample()
    assert (sample.health, sample.memory) == ("failed", None)
    assert "could not read the memory of NVIDIA GeForce GT 1030 (GPU 0): it tells of" in sample.reason
    card.says(total=2 * GIB, used=0, reserved=64 * MIB)
    assert [sample.health for sample in await probe.sample()] == ["ok"]


async def test_the_total_is_read_with_each_sample(script: NvmlScript, probe: NvmlProbe) -> None:
    card = script.card()
    await probe.open()
    totals = []
    for total in (2 * GIB, GIB, 24 * GIB):
        card.says(total=total)
        (sample,) = await probe.sample()
        totals.append(sample.memory and sample.memory.total_bytes)
    assert totals == [2 * GIB, GIB, 24 * GIB]
