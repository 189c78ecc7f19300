"""What breaks while it is painted costs a part of the screen and a line in the console's log, and not the console."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from citadel_tui.faults import Unpainted
from citadel_tui.widgets import bars, lines
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console

SAID = "a part of the screen could not be painted (ZeroDivisionError) and is left out"


def breaks(*_: object, **__: object) -> None:
    raise ZeroDivisionError("division by zero")


def taken_log(home: Path) -> str:
    """What was written down, which is what a test of this file wants."""
    log = home / "state" / "console.log"
    text = log.read_text(encoding="utf-8")
    log.unlink()
    return text


@pytest.mark.parametrize(
    ("module", "name"), [(bars, "device_rows"), (lines, "groupby")], ids=["working out", "drawing"]
)
async def test_a_view_that_breaks_is_left_out_and_the_rest_goes_on(
    module: object, name: str, citadel_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        with monkeypatch.context() as broken:
            broken.setattr(module, name, breaks)
            engine.set_state(engine.state)
            await console.pilot.resize_terminal(90, 30)
            await console.sees(SAID)
            await console.press("question_mark")
            await console.sees("Keys")
            await console.press("escape")
        await console.pilot.resize_terminal(100, 30)
        await console.sees("phi-3-mini")
        assert console.app.crash is None
    assert stat.S_IMODE((citadel_home / "state" / "console.log").stat().st_mode) == 0o600
    assert "not painted: ZeroDivisionError: division by zero (test_unpaintable.py:" in taken_log(citadel_home)


def test_the_same_fault_is_written_down_once(citadel_home: Path) -> None:
    unpainted = Unpainted()
    for _ in range(3):
        try:
            breaks()
        except ZeroDivisionError as error:
            unpainted.add(error)
    assert len(taken_log(citadel_home).splitlines()) == 1


def test_a_log_that_cannot_be_written_is_said(citadel_home: Path) -> None:
    (citadel_home / "state").write_text("no folder")
    told = Unpainted().add(ZeroDivisionError("x"))
    assert told is not None
    assert "this could not be written down: " in told
