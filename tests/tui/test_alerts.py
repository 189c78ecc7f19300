"""Alerts on the screen stay announced until somebody has read them."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.devices import Reading
from engine.core.records import Notice
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console


async def test_an_alert_stays_above_the_keys_until_it_has_been_read() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.sees("! 1 alert  gpu1: the worker was killed by SIGKILL")
        await console.press("down", "escape")
        assert "! 1 alert" in console.text
        await console.press("exclamation_mark")
        await console.sees("Alerts")
        await console.press("escape")
        await console.until(lambda: "1 alert" not in console.text)
        engine.add_notice("the journal can't be written: the disk is full", "error")
        await console.sees("! 1 alert  the journal can't be written")


async def test_a_device_that_is_lost_twice_is_announced_twice() -> None:
    engine = await busy_engine()
    well = engine.state
    gpu1 = replace(well.devices["gpu1"], reading=Reading("lost", "gone"))
    ill = replace(well, devices={**well.devices, "gpu1": gpu1})
    async with open_console(engine) as console:
        for _ in range(2):
            engine.set_state(ill)
            await console.sees("gpu1 is lost: gone")
            await console.press("exclamation_mark")
            await console.sees("[Close]")
            await console.press("escape")
            await console.until(lambda: "alert" not in console.text)
            engine.set_state(well)
            await console.until(lambda: "lost" not in console.text)


async def test_an_alert_that_is_over_goes_by_itself_and_stays_on_the_page() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.press("exclamation_mark")
        await console.sees("[Close]")
        await console.press("escape")
        engine.add_entry(Notice(engine.now_s, "error", "the disk is full", condition="files"))
        await console.sees("! 1 alert  the disk is full")
        engine.add_entry(Notice(engine.now_s, "info", "it was full for 3 s", condition="files", over=True))
        await console.until(lambda: "alert" not in console.text)
        await console.press("exclamation_mark")
        await console.sees("it was full for 3 s")
        assert "Over" in console.text
