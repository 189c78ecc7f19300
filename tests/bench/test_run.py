"""An engine that is kept quiet while something is measured, and is not forgotten."""

from __future__ import annotations

import asyncio

import pytest

from engine.bench.run import kept_quiet
from tests.scripted_engine import ScriptedEngine


async def test_the_engine_is_quiet_inside_and_not_behind() -> None:
    engine = ScriptedEngine()
    async with kept_quiet(engine) as sample_s:
        assert engine.quiet
        assert sample_s == 10
    assert not engine.quiet


async def test_it_is_not_forgotten_when_what_is_measured_breaks() -> None:
    engine = ScriptedEngine()
    with pytest.raises(ZeroDivisionError):
        async with kept_quiet(engine):
            raise ZeroDivisionError
    assert not engine.quiet


async def test_it_is_not_forgotten_when_whoever_measures_is_cancelled() -> None:
    engine = ScriptedEngine()

    async def measure() -> None:
        async with kept_quiet(engine):
            await asyncio.Event().wait()

    measuring = asyncio.create_task(measure())
    await engine.until(lambda: engine.quiet)
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    assert not engine.quiet


async def test_it_is_asked_for_again_and_again() -> None:
    class Forgetful(ScriptedEngine):
        async def keep_quiet(self, for_s: float) -> float:
            asked.append(for_s)
            return await super().keep_quiet(for_s)

    asked: list[float] = []
    engine = Forgetful()
    async with kept_quiet(engine, renewal_s=0.0):
        await engine.until(lambda: len(asked) > 3)
    assert asked[-1] == 0
    assert set(asked[:-1]) == {15.0}


async def test_an_engine_that_has_gone_is_no_second_error() -> None:
    engine = ScriptedEngine()
    async with kept_quiet(engine):
        await engine.stop()
