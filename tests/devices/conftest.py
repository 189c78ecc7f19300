"""A scripted driver in this process, a clock that stands still until it is moved, and a probe on both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.devices.nvml import Deadlines, NvmlProbe
from tests.nvml.library import SCRIPT_VARIABLE, NoStandIn, load_here
from tests.nvml.script import NvmlScript


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
async def probe(script: NvmlScript, clock: HeldClock) -> AsyncIterator[NvmlProbe]:
    probe = NvmlProbe(clock, Deadlines(open_s=5.0, call_s=5.0))
    yield probe
    script.comes_unstuck()
    await probe.close()
