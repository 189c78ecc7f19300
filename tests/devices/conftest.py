"""A scripted driver in this process, a clock that stands still until it is moved, and a probe on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest

from engine.devices.nvml import Deadlines, NvmlProbe
from tests.nvml.library import SCRIPT_VARIABLE, NoStandIn, load_here
from tests.nvml.script import NvmlScript

DEADLINES: Final = Deadlines(open_s=300.0, call_s=300.0)
"""The driver's: so long that none passes by itself."""


class HeldClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> float:
        return 1_700_000_000.0 + self.passed_s

    def monotonic(self) -> float:
        return 5_000.0 + self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.passes(seconds)

    def passes(self, seconds: float) -> None:
        self.passed_s += seconds


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvmlScript:
    """What the driver that this process finds answers."""
    try:
        load_here()
    except NoStandIn as why:
        pytest.skip(str(why))
    written = NvmlScript(tmp_path / "nvml-script")
    monkeypatch.setenv(SCRIPT_VARIABLE, str(written.path))
    return written


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
async def call_is_overdue(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Puts the event loop's own clock forward, past the deadline of the call that is waited for."""
    loop, ahead_s = asyncio.get_running_loop(), [0.0]
    time_s = loop.time
    monkeypatch.setattr(loop, "time", lambda: time_s() + sum(ahead_s))
    return lambda: ahead_s.append(DEADLINES.open_s + DEADLINES.call_s)


@pytest.fixture
async def probe(script: NvmlScript, clock: HeldClock) -> AsyncIterator[NvmlProbe]:
    probe = NvmlProbe(clock, DEADLINES)
    yield probe
    script.comes_unstuck()
    await probe.close()
