"""The rows at the edges of the dashboard: the header keeps what matters most, and a message is read whole and then goes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.flow import StatusMessage
from citadel_tui.viewmodel.dashboard.strips import header_line
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Lost, Scene
from citadel_tui.viewmodel.spans import width_of
from citadel_tui.widgets.strips import StatusLine
from citadel_tui.words.figures import count_text
from tests.scripted_plans import START_S
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console


async def header(width: int, host: str = "gpu-box-01", *, quiet: bool = False, lost: bool = False) -> str:
    engine = await busy_engine()
    snapshot = replace(await engine.snapshot(), quiet_sample_s=10.0 if quiet else None)
    gone = Lost("the engine does not answer") if lost else None
    line = header_line(
        Scene(START_S, replace(await engine.hello(), host=host), snapshot, lost=gone, silent_s=11_520 if lost else 0.0),
        Paper(width, UNICODE),
    )
    assert width_of(line) == width
    return "".join(span.text for span in line)


@pytest.mark.parametrize("width", [60, 66, 73, 74, 80, 160])
async def test_a_benchmark_is_told_of_at_every_width(width: int) -> None:
    told = await header(width, quiet=True)
    assert "benchmark" in told
    assert ("sampling every 10 s" in told) == (width >= 74)


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_however_long_the_hosts_name_the_time_and_the_line_are_told(width: int) -> None:
    name = "ip-10-0-12-34.eu-west-1.compute.internal"
    assert "● live" in await header(width, name)
    assert "disconnected 3h12m" in await header(width, name, lost=True)


async def test_a_message_that_is_longer_than_the_screen_has_up_to_three_rows() -> None:
    async with open_console(await busy_engine(), size=(60, 20)) as console:
        status = console.app.screen.query_one(StatusLine)
        reason = "rebalance: nothing to do; every model is where it serves the present demand best"
        console.app.say(StatusMessage(reason))
        await console.until(lambda: status.size.height == 2)
        assert " ".join(status.plain.split()) == reason
        console.app.say(StatusMessage("no end of words " * 40))
        await console.until(lambda: status.size.height == 3)
        assert status.plain.endswith("…")
        assert console.app.screen.query("FooterKeys").first().region.bottom == 20


@pytest.mark.parametrize("key", ["s", "g", "0"])
async def test_what_was_said_of_one_key_goes_with_the_next(key: str) -> None:
    async with open_console(await busy_engine()) as console:
        await console.select("bge-base")
        await console.press("m")
        await console.sees("Move: bge-base is on no device")
        await console.press("down")
        await console.sees("Move: bge-base is on no device")
        await console.press(key)
        status = console.app.screen_stack[0].query_one(StatusLine)
        await console.until(lambda: status.message is None)


def test_one_of_something_is_not_told_in_the_plural() -> None:
    assert [count_text(n, "switch", "switches") for n in (0, 1, 2)] == ["0 switches", "1 switch", "2 switches"]
